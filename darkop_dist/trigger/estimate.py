"""What a score costs: rate against threshold at stated conditions, total and pure against a menu, and its stability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.operators.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from darkop_dist.trigger.conditions import Conditions, find_conditions
from darkop_dist.trigger.distil import score_sample
from darkop_dist.trigger.sample import Level1Sample, read_sample, require_zero_bias
from darkop_dist.trigger.seeds import accepted, load_menu
from darkop_dist.trigger.standard import standard_zero_bias
from darkop_dist.trigger.weighted import SampledRate, sampled_rate, threshold_for, weights_at

POINTS = 60


@dataclass(frozen=True)
class RateEstimate:
    """Rates of a score.

    Attributes:
        model: name of the checkpoint.
        conditions: of the LHC.
        mean_collisions: of a crossing, at these conditions.
        sample_mean_collisions: of the sample, which was weighted to it.
        sample_energy_tev: of the sample's collisions; the conditions have `Conditions.energy_tev`.
        crossings: of the sample.
        threshold: lowest accepted score.
        total: rate of all accepted crossings.
        pure: rate of those that no seed of the menu accepts.
        menu: rate of each seed.
        curve: thresholds and rates.
    """

    model: str
    conditions: Conditions
    mean_collisions: float
    sample_mean_collisions: float
    sample_energy_tev: float
    crossings: int
    threshold: float
    total: SampledRate
    pure: SampledRate
    menu: dict[str, SampledRate]
    curve: tuple[tuple[float, SampledRate], ...]


def estimate_trigger_rates(
    operator: str | Path | Checkpoint,
    *,
    sample: str | Path | Level1Sample | None = None,
    conditions: str = "run3-high-pileup",
    luminosity: float = 2e34,
    rate_hz: float | None = 1000.0,
    threshold: float | None = None,
    confidence_level: float = 0.68,
) -> RateEstimate:
    """Rates of a score from zero-bias crossings.

    A rate is the weight of the accepted crossings times the crossings per second, n_b x 11245.6 Hz; see `weighted` for
    its interval. The sample is weighted to the pile-up of the luminosity where it can say something of it.

    Args:
        operator: a checkpoint, its name or its directory.
        sample: zero-bias crossings, or their file; by default those of `standard.standard_zero_bias`, which are made at
            the first call and kept.
        conditions: of the LHC, by name.
        luminosity: in 1/(cm2 s).
        rate_hz: find the threshold for this rate; not used with a threshold.
        threshold: lowest accepted score.
        confidence_level: of the intervals.

    Raises:
        UnknownNameError: there is no such checkpoint, or there are no such conditions.
        InputFileError: the sample cannot be read.
        InputValueError: the sample is one of a signal, or neither rate nor threshold is given.
        StatisticsError: the sample cannot say: its pile-up is too far away, or too few crossings would be accepted.
    """
    checkpoint = operator if isinstance(operator, Checkpoint) else load_checkpoint(find_checkpoint(operator))
    at = find_conditions(conditions, luminosity)
    if isinstance(sample, Level1Sample):
        events = sample
    else:
        events = read_sample(sample) if sample else standard_zero_bias(at.mean_collisions)
    require_zero_bias(events)
    weight, scores = weights_at(events, at), score_sample(checkpoint, events)
    if threshold is None:
        if rate_hz is None:
            raise InputValueError("rate", "neither a rate nor a threshold is given", "Give one of them")
        threshold = threshold_for(scores, weight, at.crossings_hz, rate_hz)

    def rate(passed: npt.NDArray[np.bool_]) -> SampledRate:
        return sampled_rate(passed, weight, at.crossings_hz, confidence_level)

    by_seed = accepted(events, load_menu())
    any_seed = np.logical_or.reduce(list(by_seed.values()))
    passed = scores >= threshold
    return RateEstimate(
        model=checkpoint.card.name,
        conditions=at,
        mean_collisions=at.mean_collisions,
        sample_mean_collisions=events.about.mean_collisions,
        sample_energy_tev=events.about.energy_tev,
        crossings=len(events),
        threshold=float(threshold),
        total=rate(passed),
        pure=rate(passed & ~any_seed),
        menu={name: rate(found) for name, found in by_seed.items()},
        curve=tuple((float(cut), rate(scores >= cut)) for cut in _cuts(scores, weight)),
    )


@dataclass(frozen=True)
class Stability:
    """How a score bears a change.

    Attributes:
        change: what was changed, in words.
        mean_score: mean score of zero bias.
        rate: at the threshold of the unchanged sample.
    """

    change: str
    mean_score: float
    rate: SampledRate


def stability(
    checkpoint: Checkpoint,
    sample: Level1Sample,
    conditions: Conditions,
    threshold: float,
    mean_collisions: Sequence[float],
) -> tuple[Stability, ...]:
    """Score and rate against pile-up, and with parts of the detector dead or noisy.

    Pile-up: the sample is weighted. Dead: objects in 60 degrees of azimuth are lost; electrons and photons are lost.
    Noisy: one tower fires in one of a thousand crossings and makes a jet and an electron of 50 GeV there. Missing
    momentum is left as it is, so a dead part shows only what the objects say.

    Args:
        checkpoint: the score.
        sample: zero bias.
        conditions: of the LHC.
        threshold: lowest accepted score.
        mean_collisions: other pile-up.

    Raises:
        StatisticsError: the sample cannot say something of a pile-up.
    """
    scores = score_sample(checkpoint, sample)
    weight = weights_at(sample, conditions)
    found = [_stability("nothing", scores, weight, conditions, threshold)]
    for mean in mean_collisions:
        there = find_conditions(conditions.name, conditions.luminosity * mean / conditions.mean_collisions)
        found.append(_stability(f"{mean:g} collisions", scores, weights_at(sample, there), conditions, threshold))
    for change, inputs in _damaged(sample).items():
        seen = sample.crossings.seen
        damaged = Level1Sample(
            sample.about, type(sample.crossings)(**{**vars(sample.crossings), "seen": type(seen)(inputs, seen.regions)})
        )
        found.append(_stability(change, score_sample(checkpoint, damaged), weight, conditions, threshold))
    return tuple(found)


def _stability(
    change: str, scores: npt.NDArray[np.float32], weight: npt.NDArray[np.float64], at: Conditions, threshold: float
) -> Stability:
    mean = float(np.average(scores.astype(np.float64), weights=weight))
    return Stability(change, mean, sampled_rate(scores >= threshold, weight, at.crossings_hz))


def _damaged(sample: Level1Sample) -> dict[str, npt.NDArray[np.int16]]:
    inputs = sample.crossings.seen.inputs
    objects = inputs.reshape(len(inputs), 19, 3)
    steps = np.array([144] + [144] * 4 + [576] * 4 + [144] * 10)
    wedge = objects.copy()
    wedge[:, 1:][objects[:, 1:, 2] < steps[1:] // 6] = 0
    electrons = objects.copy()
    electrons[:, 1:5] = 0
    noisy = objects.copy()
    fired = np.arange(len(inputs)) % 1000 == 0
    noisy[fired, 9:] = np.concatenate([np.full((fired.sum(), 1, 3), (100, 10, 36)), objects[fired, 9:18]], axis=1)
    noisy[fired, 1:5] = np.concatenate([np.full((fired.sum(), 1, 3), (100, 10, 36)), objects[fired, 1:4]], axis=1)
    return {
        "60 degrees of azimuth dead": _ordered(wedge).reshape(len(inputs), 57),
        "no electrons and photons": electrons.reshape(len(inputs), 57),
        "a tower fires in 0.1%": _ordered(noisy).reshape(len(inputs), 57),
    }


def _ordered(objects: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Objects of each kind in order of falling transverse momentum again."""
    for part in (slice(1, 5), slice(5, 9), slice(9, 19)):
        order = np.argsort(-objects[:, part, 0], axis=1, kind="stable")
        objects[:, part] = np.take_along_axis(objects[:, part], order[..., None], axis=1)
    return objects


def _cuts(scores: npt.NDArray[np.float32], weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Thresholds from the bulk to the tail, even in the logarithm of the rate."""
    order = np.argsort(-scores, kind="stable")
    share = np.cumsum(weight[order])
    if share[-1] <= 0:
        raise StatisticsError("the crossings of the sample have no weight. Make it again")
    places = np.searchsorted(share, np.geomspace(share[0], share[-1], POINTS))
    return np.unique(scores[order][np.minimum(places, len(scores) - 1)].astype(np.float64))
