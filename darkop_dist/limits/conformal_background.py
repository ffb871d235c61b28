"""The background in bins of conformal p-values, from calibration events alone: no simulation of the scores enters.

Assumptions:
    Background events under test are exchangeable with the n calibration events. The shares of background in the bins
    (0, a_1], ..., (a_K, 1] then follow Dirichlet(d_1, ..., d_(K+1)) with d_1 + ... + d_k = r_k, the largest number with
    r_k/(n + 1) a p-value of at most a_k: the share beyond one threshold is Beta(r, n + 1 - r), and the number of m
    events there Beta-Binomial (`darkop_dist.conformal.discovery`). Ties and coarse bins can only lower it.

    In HistFactory: bin k expects phi m d_k/(n + 1) events, with a factor of Poisson constraint d_k (shapesys) and one
    free factor phi for all bins. Independent Gamma variables of shapes d_k, divided by their sum, are
    Dirichlet(d_1, ..., d_(K+1)); the free phi is that division. So the model has the exact structure, and what is
    approximate is the profile likelihood instead of the average over the shares. Against the exact p-value of one
    threshold, asymptotic significances between 2 and 4 sigma are off by at most 0.11 where at least 10 calibration
    events and 3 expected events lie beyond it (tests/limits/test_conformal_background.py, n from 1e3 to 1e6); the error
    is -0.18 with 3 calibration events, and +0.25 with 0.1 expected events, as for every count of so few. There, trust
    `conformal.excess`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darkop_dist.conformal import Calibration
from darkop_dist.errors import StatisticsError
from darkop_dist.limits.channels import Channel, ChannelSample, Draft, Modifier, Parameter
from darkop_dist.limits.p_value_bins import p_value_ranks
from darkop_dist.limits.samples import Template


@dataclass(frozen=True, eq=False)
class ConformalBackground:
    """All background of a region whose observable is the conformal p-value.

    Attributes:
        calibration: the background's scores; none of its events may be among those under test.
        edges: a_1 < ... < a_K of the p-value bins; the last bin goes up to 1.
        name: of the sample.
    """

    calibration: Calibration
    edges: tuple[float, ...]
    name: str = "conformal_background"

    def applied(self, draft: Draft) -> Draft:
        """The draft with this as the only background; simulated backgrounds stand for data where there are none.

        Raises:
            StatisticsError: more than one region, other bins than these, no event under test, or edges that the
                calibration cannot have.
        """
        if len(draft.channels) != 1:
            raise StatisticsError(
                "the conformal background has one region, since a calibration is used up by its first; the fit has "
                f"{', '.join(channel.name for channel in draft.channels)}"
            )
        channel = draft.channels[0]
        if not np.array_equal(channel.edges, [0.0, *self.edges, 1.0]):
            raise StatisticsError(
                f"region {channel.name} has the edges {channel.edges.tolist()}; the conformal background needs those "
                f"of its p-values, {[0.0, *self.edges, 1.0]}"
            )
        total = float(channel.counts.sum())
        if not total > 0:
            raise StatisticsError(
                f"no event is under test in region {channel.name}: neither data nor, in their place, simulated "
                "background"
            )
        free: Parameter = {"name": f"{self.name}_total", "inits": [1.0], "bounds": [[0.0, 10.0]]}
        changed = channel.with_backgrounds([self._sample(channel, total)])
        return draft.changed({channel.name: changed}, [free], [self._note(channel, total)])

    @property
    def effective_counts(self) -> tuple[int, ...]:
        """d_k of each bin, adding up to n + 1, shape (K + 1,)."""
        ranks = p_value_ranks(self.calibration, self.edges)
        return tuple(int(count) for count in np.diff([0, *ranks, self.calibration.n + 1]))

    def _sample(self, channel: Channel, total: float) -> ChannelSample:
        counts = np.array(self.effective_counts, dtype=np.float64)
        expected = total * counts / (self.calibration.n + 1)
        modifiers: Sequence[Modifier] = (
            {"name": f"{self.name}_total", "type": "normfactor", "data": None},
            {
                "name": f"{self.name}_shares_{channel.name}",
                "type": "shapesys",
                "data": (expected / np.sqrt(counts)).tolist(),
            },
        )
        return ChannelSample(self.name, Template(expected, np.zeros_like(expected)), tuple(modifiers))

    def _note(self, channel: Channel, total: float) -> str:
        what = "data events" if channel.observed is not None else "expected background events in place of data"
        counts = ", ".join(str(count) for count in self.effective_counts)
        simulated = ", ".join(sample.name for sample in channel.backgrounds)
        unused = f"; the simulated {simulated} take no part" if simulated and channel.observed is not None else ""
        return (
            f"region {channel.name}: the background of {total:g} {what} is shared out by {self.calibration.n} "
            f"calibration events of {self.calibration.source}; they stand in the bins of p-values with the counts "
            f"{counts} (one is the event under test){unused}"
        )
