"""How a score bears what changes in a run: pile-up, and parts of the detector that are dead or noisy (`faults`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.operators.checkpoint import Checkpoint
from darkop_dist.trigger.conditions import Conditions, find_conditions
from darkop_dist.trigger.distil import score_sample
from darkop_dist.trigger.estimate import scored_sample
from darkop_dist.trigger.faults import FAULTS
from darkop_dist.trigger.sample import Level1Sample
from darkop_dist.trigger.weighted import SampledRate, sampled_rate, weights_at

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Changed:
    """A score after a change.

    Attributes:
        change: what was changed, in words.
        mean_collisions: of a crossing.
        mean_score: mean score of zero bias; None where the sample cannot say.
        rate: at the threshold of the unchanged sample; None where the sample cannot say.
        refused: why it cannot, and what would do.
        is_fault: whether a part of the detector was changed, not the pile-up.
    """

    change: str
    mean_collisions: float
    mean_score: float | None
    rate: SampledRate | None
    refused: str = ""
    is_fault: bool = False


@dataclass(frozen=True)
class Stability:
    """A score against pile-up and faults of the detector, at one threshold.

    Attributes:
        model: name of the checkpoint.
        conditions: of the LHC, unchanged.
        sample_mean_collisions: of the sample.
        sample_energy_tev: of the sample's collisions.
        threshold: lowest accepted score, in all rows.
        nothing: the unchanged row.
        changes: the others: pile-up in the order that was asked for, then faults.
    """

    model: str
    conditions: Conditions
    sample_mean_collisions: float
    sample_energy_tev: float
    threshold: float
    nothing: Changed
    changes: tuple[Changed, ...]

    def ratio(self, changed: Changed) -> float | None:
        """Rate of a row over that of the unchanged one; None if a rate is absent or the unchanged one is zero."""
        if changed.rate is None or self.nothing.rate is None or self.nothing.rate.rate_hz == 0:
            return None
        return changed.rate.rate_hz / self.nothing.rate.rate_hz


def estimate_stability(
    operator: str | Path | Checkpoint,
    *,
    sample: str | Path | Level1Sample,
    conditions: str = "run3-high-pileup",
    luminosity: float = 2e34,
    rate_hz: float | None = 1000.0,
    threshold: float | None = None,
    mean_collisions: Sequence[float] = (),
) -> Stability:
    """Score and rate against pile-up, and with parts of the detector dead or noisy.

    Pile-up: the luminosity changes with the bunches as they are, and the sample is weighted to it; where it cannot say,
    the row says so. Faults: those of `faults`, each alone. One that fires in a share of the crossings counts every
    crossing with the probability that it is accepted: nothing is drawn at random.

    Args:
        operator: a checkpoint, its name or its directory.
        sample: zero-bias crossings, or their file.
        conditions: of the LHC, by name.
        luminosity: in 1/(cm2 s).
        rate_hz: find the threshold for this rate of the unchanged sample; not used with a threshold.
        threshold: lowest accepted score.
        mean_collisions: other pile-up.

    Raises:
        UnknownNameError: there is no such checkpoint, or there are no such conditions.
        InputFileError: the sample cannot be read.
        InputValueError: the sample is one of a signal, neither rate nor threshold is given, or a pile-up is no number
            of collisions.
        StatisticsError: the sample cannot say something of the unchanged conditions.
    """
    for mean in mean_collisions:
        if not (np.isfinite(mean) and mean > 0):
            raise InputValueError("collisions", f"{mean:g} is no mean number of collisions", "Give one above 0")
    given = scored_sample(operator, sample, conditions, luminosity, rate_hz=rate_hz, threshold=threshold)
    at, scores, cut, events = given.conditions, given.scores, given.threshold, given.events
    found = [_with_pileup(events, scores, at, cut, mean) for mean in mean_collisions]
    for fault in FAULTS:
        crossings = replace(events.crossings, seen=fault.apply(events.crossings.seen))
        damaged = score_sample(given.checkpoint, replace(events, crossings=crossings))
        parts = [(1.0 - fault.share, scores), (fault.share, damaged)]
        found.append(replace(_changed(fault.change, parts, given.weight, at, cut), is_fault=True))
    return Stability(
        model=given.checkpoint.card.name,
        conditions=at,
        sample_mean_collisions=events.about.mean_collisions,
        sample_energy_tev=events.about.energy_tev,
        threshold=cut,
        nothing=_changed("nothing", [(1.0, scores)], given.weight, at, cut),
        changes=tuple(found),
    )


def _with_pileup(
    events: Level1Sample, scores: npt.NDArray[np.float32], at: Conditions, threshold: float, mean: float
) -> Changed:
    change = f"{mean:g} collisions"
    try:
        there = find_conditions(at.name, at.luminosity * mean / at.mean_collisions)
        weight = weights_at(events, there)
    except (StatisticsError, InputValueError) as error:
        return Changed(change, mean, None, None, refused=str(error))
    return replace(_changed(change, [(1.0, scores)], weight, there, threshold), mean_collisions=mean)


def _changed(
    change: str,
    parts: Sequence[tuple[float, npt.NDArray[np.float32]]],
    weight: Floats,
    at: Conditions,
    threshold: float,
) -> Changed:
    """A row of scores that hold with some probability each."""
    mean = sum(share * float(np.average(scores.astype(np.float64), weights=weight)) for share, scores in parts)
    accepted = np.sum([share * (scores >= threshold) for share, scores in parts], axis=0)
    return Changed(change, at.mean_collisions, mean, sampled_rate(accepted, weight, at.crossings_hz))
