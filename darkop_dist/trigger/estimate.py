"""What a score costs: rate against threshold at stated conditions, total and pure against a menu."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.operators.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from darkop_dist.trigger.conditions import Conditions, find_conditions
from darkop_dist.trigger.curve import RateCurve, rate_curve
from darkop_dist.trigger.distil import score_sample
from darkop_dist.trigger.sample import Level1Sample, read_sample, require_zero_bias
from darkop_dist.trigger.seeds import accepted, load_menu
from darkop_dist.trigger.standard import standard_zero_bias
from darkop_dist.trigger.weighted import SampledRate, sampled_rate, threshold_for, weights_at


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
        asked_hz: the rate that gave the threshold; None where the threshold was given.
        curve: rate of all accepted crossings against threshold.
        pure_curve: of those that no seed of the menu accepts.
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
    asked_hz: float | None
    curve: RateCurve
    pure_curve: RateCurve


@dataclass(frozen=True)
class Scored:
    """A sample with scores, at conditions.

    Attributes:
        checkpoint: the score.
        events: zero bias.
        conditions: of the LHC.
        weight: of the crossings at these conditions, shape (crossings,).
        scores: shape (crossings,).
        threshold: lowest accepted score.
    """

    checkpoint: Checkpoint
    events: Level1Sample
    conditions: Conditions
    weight: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]
    threshold: float


def scored_sample(
    operator: str | Path | Checkpoint,
    sample: str | Path | Level1Sample | None,
    conditions: str,
    luminosity: float,
    *,
    rate_hz: float | None,
    threshold: float | None,
) -> Scored:
    """Read, weight and score a sample, and find the threshold of a rate if none is given; see `estimate_trigger_rates`.

    Raises:
        UnknownNameError: there is no such checkpoint, or there are no such conditions.
        InputFileError: the sample cannot be read.
        InputValueError: the sample is one of a signal, neither rate nor threshold is given, or it is no number.
        StatisticsError: the sample cannot say.
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
    if not np.isfinite(threshold):
        raise InputValueError("threshold", f"{threshold:g} is no score", "Give a number, or a rate instead")
    return Scored(checkpoint, events, at, weight, scores, float(threshold))


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
        InputValueError: the sample is one of a signal, neither rate nor threshold is given, or it is no number.
        StatisticsError: the sample cannot say: its pile-up is too far away, or too few crossings would be accepted.
    """
    given = scored_sample(operator, sample, conditions, luminosity, rate_hz=rate_hz, threshold=threshold)
    events, at, weight, scores = given.events, given.conditions, given.weight, given.scores

    def rate(passed: npt.NDArray[np.bool_]) -> SampledRate:
        return sampled_rate(passed, weight, at.crossings_hz, confidence_level)

    by_seed = accepted(events, load_menu())
    any_seed = np.logical_or.reduce(list(by_seed.values()))
    passed = scores >= given.threshold
    return RateEstimate(
        model=given.checkpoint.card.name,
        conditions=at,
        mean_collisions=at.mean_collisions,
        sample_mean_collisions=events.about.mean_collisions,
        sample_energy_tev=events.about.energy_tev,
        crossings=len(events),
        threshold=given.threshold,
        total=rate(passed),
        pure=rate(passed & ~any_seed),
        menu={name: rate(found) for name, found in by_seed.items()},
        asked_hz=rate_hz if threshold is None else None,
        curve=rate_curve(scores, weight, at.crossings_hz, confidence_level=confidence_level),
        pure_curve=rate_curve(scores, weight, at.crossings_hz, among=~any_seed, confidence_level=confidence_level),
    )
