"""Which model to take when no event is labelled: ARGOS, the improvement of data against a background template."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.calibration import from_counts
from darkop_dist.errors import StatisticsError, UnknownNameError

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Argos:
    """Largest value of eps_SR/sqrt(eps_BT) - sqrt(eps_BT) over thresholds on the score.

    Attributes:
        value: the metric; 0 on average for data that are background like the template, at a fixed threshold.
        uncertainty: from the two counts at this threshold; that of the search for the maximum is not in it.
        threshold: the score, a bin edge, above which it is reached.
        data_fraction: eps_SR, fraction of the data of the signal region above the threshold.
        template_fraction: eps_BT, fraction of the background template above it.
    """

    value: float
    uncertainty: float
    threshold: float
    data_fraction: float
    template_fraction: float


@dataclass(frozen=True)
class ModelChoice:
    """The model with the largest metric, and all that were tried: the choice is part of the analysis.

    Attributes:
        best: its name.
        tried: the metric of each by name, in the order given.
    """

    best: str
    tried: Mapping[str, Argos]


def argos(
    data: npt.ArrayLike, template: npt.ArrayLike, edges: npt.ArrayLike, *, fewest_template_events: int = 100
) -> Argos:
    """Rate a model without labels (arXiv:2511.14832).

    If a fraction f of the data is signal and the template is the background, the metric at a threshold is
    f (SIC - sqrt(eps_B)) with the significance improvement SIC = eps_S/sqrt(eps_B): it ranks models as the labelled
    improvement does, with neither f nor a label known. Count only events that calibrate nothing: a model chosen with
    the calibration's events voids its guarantee.

    Args:
        data: scores of the data of the signal region, integers, shape (bins + 2,): underflow, bins, overflow.
        template: scores of the background template in the same bins.
        edges: increasing bin edges.
        fewest_template_events: thresholds with fewer template events above them are left out, since eps_BT in the
            denominator fluctuates most there.

    Raises:
        StatisticsError: counts are weighted or of another shape, one sample is empty, or the template too small.
    """
    if fewest_template_events < 1:
        raise StatisticsError("a threshold needs at least one template event above it")
    bins = np.asarray(edges, dtype=np.float64)
    found, known = (
        from_counts(counts, bins.tolist(), name, "")
        for counts, name in ((data, "the data"), (template, "the template"))
    )
    if found.n == 0 or known.n < fewest_template_events:
        raise StatisticsError(
            f"{found.n} data events and {known.n} template events rate no model: data are needed, and at least "
            f"{fewest_template_events} template events"
        )
    above_data, above = (sample.reached[1:] for sample in (found, known))  # of each edge
    usable = above >= fewest_template_events
    if not usable.any():
        raise StatisticsError(
            f"no edge has {fewest_template_events} template events above it: take finer or lower edges"
        )
    passed, template_passed = above_data[usable] / found.n, above[usable] / known.n
    values = passed / np.sqrt(template_passed) - np.sqrt(template_passed)
    place = int(np.argmax(values))
    p, q = float(passed[place]), float(template_passed[place])
    data_variance, template_variance = p * (1 - p) / found.n, q * (1 - q) / known.n
    slope = -(p / q + 1) / (2 * math.sqrt(q))
    return Argos(
        value=float(values[place]),
        uncertainty=math.sqrt(data_variance / q + slope**2 * template_variance),
        threshold=float(bins[usable][place]),
        data_fraction=p,
        template_fraction=q,
    )


def choose_model(
    samples: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]], *, fewest_template_events: int = 100
) -> ModelChoice:
    """The model with the largest metric.

    Args:
        samples: data counts, template counts and edges of each model's scores, see `argos`.
        fewest_template_events: see `argos`.

    Raises:
        UnknownNameError: there is no model.
        StatisticsError: a model cannot be rated; it is named.
    """
    if not samples:
        raise UnknownNameError("model", "none", (), "Name at least one.")
    tried = {}
    for name, (data, template, edges) in samples.items():
        try:
            tried[name] = argos(data, template, edges, fewest_template_events=fewest_template_events)
        except StatisticsError as error:
            raise StatisticsError(f"model {name}: {error}") from error
    return ModelChoice(max(tried, key=lambda name: tried[name].value), tried)
