"""How well a score tells signal from background."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.operators.card import Auc


def evaluate_auc(
    background_scores: npt.ArrayLike,
    signal_scores: npt.ArrayLike,
    *,
    background_weights: npt.ArrayLike | None = None,
    signal_weights: npt.ArrayLike | None = None,
) -> Auc:
    """Area under the ROC curve with its standard error.

    The value is the Mann-Whitney statistic, ties counted one half. The error is that of Hanley and McNeil, Radiology
    143 (1982) 29, eq. 1, which assumes exponentially distributed scores for the variance only. With weights the sizes
    of the samples are the effective ones, (sum w)^2 / sum w^2, an approximation; negative weights may push the
    statistic out of [0, 1], where it is clipped.

    Args:
        background_scores: shape (n_background,).
        signal_scores: shape (n_signal,).
        background_weights: event weights of the background; 1 by default.
        signal_weights: event weights of the signal; 1 by default.

    Raises:
        InputValueError: a sample is empty, not finite, or has a total weight that is not positive.
    """
    background, weight_b = _sample("background", background_scores, background_weights)
    signal, weight_s = _sample("signal", signal_scores, signal_weights)
    order = np.argsort(background, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weight_b[order])])
    left = np.searchsorted(background[order], signal, side="left")
    right = np.searchsorted(background[order], signal, side="right")
    wins = 0.5 * (below[left] + below[right])
    value = float(np.clip((weight_s * wins).sum() / (weight_s.sum() * weight_b.sum()), 0.0, 1.0))
    n_b = weight_b.sum() ** 2 / (weight_b**2).sum()
    n_s = weight_s.sum() ** 2 / (weight_s**2).sum()
    q1, q2 = value / (2.0 - value), 2.0 * value**2 / (1.0 + value)
    variance = value * (1.0 - value) + (n_s - 1.0) * (q1 - value**2) + (n_b - 1.0) * (q2 - value**2)
    return Auc(
        value=value,
        uncertainty=math.sqrt(max(variance, 0.0) / (n_b * n_s)),
        n_background=background.size,
        n_signal=signal.size,
    )


def _sample(
    name: str, scores: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    values = np.asarray(scores, dtype=np.float64)
    weight = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or weight.shape != values.shape:
        raise InputValueError(
            f"{name} scores", f"shape {values.shape} with weights {weight.shape}", "Give one score per event"
        )
    if not (np.isfinite(values).all() and np.isfinite(weight).all()) or weight.sum() <= 0.0:
        raise InputValueError(
            f"{name} scores", "scores or weights are not finite or the total weight is not positive", "Check the sample"
        )
    return values, weight
