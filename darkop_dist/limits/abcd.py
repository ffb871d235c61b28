"""A background from the counts of three neighbouring regions: N_A = N_B N_C / N_D (the ABCD method).

Assumptions:
    Two cuts that are independent for this background span the regions: A passes both, B and C one each, D none. Each
    region is one bin. The counts enter the likelihood as they are: the background of D is n, of B n b, of C n c and of
    A n b c, with n, b and c free, so that signal and other backgrounds in B, C and D are part of the fit. How well the
    cuts are independent is no result of it: ``closure`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darkop_dist.errors import StatisticsError
from darkop_dist.limits.channels import Channel, ChannelSample, Draft, Modifier, Parameter
from darkop_dist.limits.modifiers import normsys, require_sizes
from darkop_dist.limits.samples import Template

HIGHEST = 100.0


@dataclass(frozen=True)
class Abcd:
    """The background of region A from B, C and D.

    Attributes:
        regions: A (the signal region), B, C, D; D is opposite of A.
        name: of the sample.
        replaces: simulated backgrounds that it stands for: they are left out in these regions. Without data they give
            the counts of B, C and D.
        closure: relative uncertainty of N_B N_C / N_D as the background of A: one size, or (down, up).
    """

    regions: tuple[str, str, str, str]
    name: str = "abcd"
    replaces: Sequence[str] = ()
    closure: float | tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if len(set(self.regions)) != 4:
            raise StatisticsError(
                f"ABCD needs four different regions A, B, C, D; got {', '.join(self.regions) or 'none'}"
            )
        if self.closure is not None:
            require_sizes(f"the closure of {self.name}", self._closure_sizes)

    def applied(self, draft: Draft) -> Draft:
        """The draft with this background in the four regions.

        Raises:
            UnknownNameError: a region that takes no part in the fit.
            StatisticsError: a region of several bins, or B, C or D without events beside the other backgrounds.
        """
        channels = [draft.channel(region) for region in self.regions]
        for channel in channels:
            _require_usable(channel, self.name)
        b, c, d = (self._left(channel) for channel in channels[1:])
        expected = (b * c / d, b, c, d)
        changed = {
            channel.name: self._with_sample(channel, count, factors)
            for channel, count, factors in zip(channels, expected, self._factors(), strict=True)
        }
        names = ", ".join(dict.fromkeys(s.name for c in channels for s in c.backgrounds if s.name in self.replaces))
        notes = [f"{self.name} stands for the simulated {names} in {', '.join(self.regions)}"] if names else []
        return draft.changed(changed, self._parameters(), notes)

    @property
    def _closure_sizes(self) -> tuple[float, float]:
        size = self.closure if self.closure is not None else 0.0
        return (size[0], size[1]) if isinstance(size, Sequence) else (size, size)

    def _factors(self) -> tuple[tuple[Modifier, ...], ...]:
        """Modifiers in A, B, C, D; each factor is 1 where the counts alone put it."""
        n, b, c = ({"name": name, "type": "normfactor", "data": None} for name in self._names)
        down, up = self._closure_sizes
        closure = [] if self.closure is None else [normsys(f"{self.name}_closure", 1.0 - down, 1.0 + up)]
        return (n, b, c, *closure), (n, b), (n, c), (n,)

    @property
    def _names(self) -> tuple[str, str, str]:
        return f"{self.name}_d", f"{self.name}_b_over_d", f"{self.name}_c_over_d"

    def _parameters(self) -> list[Parameter]:
        return [{"name": name, "inits": [1.0], "bounds": [[0.0, HIGHEST]]} for name in self._names]

    def _left(self, channel: Channel) -> float:
        """Events of B, C or D that the other backgrounds leave to this one."""
        kept = sum(float(s.template.values[0]) for s in channel.backgrounds if s.name not in self.replaces)
        count = float(channel.counts[0])
        if not count > kept:
            raise StatisticsError(
                f"ABCD has no events in region {channel.name}: {count:g} are counted and the other backgrounds expect "
                f"{kept:g}. Without any, N_B N_C / N_D is zero or undefined; loosen the cuts of this region"
            )
        return count - kept

    def _with_sample(self, channel: Channel, count: float, factors: tuple[Modifier, ...]) -> Channel:
        others = [sample for sample in channel.backgrounds if sample.name not in self.replaces]
        template = Template(np.array([count]), np.zeros(1))
        return channel.with_backgrounds([*others, ChannelSample(self.name, template, factors)])


def _require_usable(channel: Channel, name: str) -> None:
    if len(channel.edges) != 2:
        raise StatisticsError(
            f"ABCD counts one bin in each region, and {channel.name} has {len(channel.edges) - 1}; merge them "
            "(limits.bins in the document: lowest and highest edge)"
        )
    if name in [sample.name for sample in channel.samples]:
        raise StatisticsError(f"there is a sample {name} in region {channel.name} already; name ABCD's otherwise")
