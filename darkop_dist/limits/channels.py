"""The regions of a fit while the workspace is being built: their samples, templates and modifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from darkop_dist.errors import StatisticsError, UnknownNameError
from darkop_dist.limits.samples import Floats, Template

Modifier = dict[str, Any]
"""A modifier in pyhf's JSON: name, type, data."""

Parameter = dict[str, Any]
"""Settings of a parameter in a measurement of pyhf's JSON: name, inits, bounds, ..."""


@dataclass(frozen=True, eq=False)
class ChannelSample:
    """A sample in one region.

    Attributes:
        name: name of the sample.
        template: expected events, none negative.
        modifiers: what changes them.
    """

    name: str
    template: Template
    modifiers: tuple[Modifier, ...]

    @property
    def spec(self) -> dict[str, Any]:
        """The sample in pyhf's JSON."""
        return {"name": self.name, "data": self.template.values.tolist(), "modifiers": list(self.modifiers)}

    @property
    def is_free(self) -> bool:
        """Whether a factor without constraint multiplies it already."""
        return any(modifier["type"] in {"normfactor", "shapefactor"} for modifier in self.modifiers)


@dataclass(frozen=True, eq=False)
class Channel:
    """One region.

    Attributes:
        name: the region.
        edges: bin edges, shape (bins + 1,).
        observed: data, shape (bins,); None without a data sample.
        backgrounds: the backgrounds that have events here.
        signal: the signal; None without events here.
        expected: sum of the background's weights, negative bins included, shape (bins,).
    """

    name: str
    edges: Floats
    observed: Floats | None
    backgrounds: tuple[ChannelSample, ...]
    signal: ChannelSample | None
    expected: Floats

    @property
    def background_values(self) -> Floats:
        """Expected background events, none negative, shape (bins,)."""
        return sum((sample.template.values for sample in self.backgrounds), np.zeros(len(self.edges) - 1))

    @property
    def samples(self) -> tuple[ChannelSample, ...]:
        """Backgrounds, then the signal."""
        return (*self.backgrounds, *([] if self.signal is None else [self.signal]))

    @property
    def counts(self) -> Floats:
        """What stands for the observation: data, or the expected background."""
        return self.background_values if self.observed is None else self.observed

    def background(self, name: str) -> ChannelSample:
        """A background by name.

        Raises:
            UnknownNameError: no background of this name has events here.
        """
        names = [sample.name for sample in self.backgrounds]
        if name not in names:
            what_to_do = f"The backgrounds with events in region {self.name} are {', '.join(names) or 'none'}."
            raise UnknownNameError("background", name, names, what_to_do)
        return self.backgrounds[names.index(name)]

    def bins(self, chosen: np.typing.NDArray[np.bool_]) -> list[tuple[float, float]]:
        """Lower and upper edge of the chosen bins."""
        return [(float(self.edges[i]), float(self.edges[i + 1])) for i in np.flatnonzero(chosen)]

    def with_backgrounds(self, backgrounds: Sequence[ChannelSample]) -> Channel:
        """The channel with other backgrounds, each without negative bins."""
        changed = replace(self, backgrounds=tuple(backgrounds))
        return replace(changed, expected=changed.background_values)


@dataclass(frozen=True, eq=False)
class Draft:
    """A workspace before it is written down.

    Attributes:
        channels: the regions, in the order of the fit.
        parameters: settings of parameters beside the signal strength.
        notes: what was left out, merged or clipped, in sentences.
    """

    channels: tuple[Channel, ...]
    parameters: tuple[Parameter, ...] = ()
    notes: tuple[str, ...] = ()

    def channel(self, region: str) -> Channel:
        """A channel by its region.

        Raises:
            UnknownNameError: the region is not in the fit.
        """
        names = [channel.name for channel in self.channels]
        if region not in names:
            raise UnknownNameError("region", region, names, f"The fit's regions are {', '.join(names)}.")
        return self.channels[names.index(region)]

    def changed(
        self, channels: Mapping[str, Channel], parameters: Sequence[Parameter] = (), notes: Sequence[str] = ()
    ) -> Draft:
        """The draft with some channels replaced, and more parameters and notes."""
        return Draft(
            tuple(channels.get(channel.name, channel) for channel in self.channels),
            (*self.parameters, *parameters),
            (*self.notes, *notes),
        )


class BackgroundMethod(Protocol):
    """Another source of the background than its simulation: takes the simulated draft, gives its own."""

    def applied(self, draft: Draft) -> Draft:
        """The draft with this method's background.

        Raises:
            UnknownNameError: a region or sample that takes no part in the fit.
            StatisticsError: the counts do not allow the method.
        """
        ...


def check_channels(draft: Draft, regions: Sequence[str], signal: str) -> Iterator[str]:
    """Refuse what cannot be fitted; call it when all backgrounds are there.

    Yields:
        Notes on what takes no part.

    Raises:
        StatisticsError: no signal, no background, or data or signal where no background is expected.
    """
    channels, where = draft.channels, ", ".join(regions)
    for channel in channels:
        _require_background(channel)
    if all(channel.signal is None for channel in channels):
        raise StatisticsError(
            f"the signal {signal} has no selected events in the regions {where}; "
            "check its datasets and the selection, or fit other regions"
        )
    if not any(channel.backgrounds for channel in channels):
        raise StatisticsError(f"no background has selected events in the regions {where}; add simulated backgrounds")
    for channel in channels:
        if not channel.samples:
            yield f"region {channel.name} has neither background nor signal nor data; left out"
        for low, high in channel.bins(channel.background_values <= 0):
            yield f"region {channel.name}, {low:g} to {high:g}: neither background nor signal was simulated there"
        if channel.signal is not None:
            # A bin with signal and no background would exclude any signal with a handful of events.
            _require_expected(channel, channel.background_values, channel.signal.template.values, "signal")


def _require_background(channel: Channel) -> None:
    if channel.observed is None:
        return
    if np.any(channel.observed < 0):
        raise StatisticsError(
            f"region {channel.name}: the data have negative counts; fill data with weight 1 and scale 1"
        )
    _require_expected(channel, channel.expected, channel.observed, "data")


def _require_expected(channel: Channel, expected: Floats, counts: Floats, what: str) -> None:
    impossible = channel.bins((expected <= 0) & (counts > 0))
    if impossible:
        shown = ", ".join(f"{low:g} to {high:g}" for low, high in impossible)
        raise StatisticsError(
            f"region {channel.name}: {what} but no expected background in the bins {shown}; merge these bins with "
            "their neighbours (limits.bins in the document) or simulate more background"
        )
