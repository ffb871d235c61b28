"""Histograms of scores as histograms of conformal p-values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import hist
import numpy as np
import numpy.typing as npt

from darkop_dist.config import P_VALUE
from darkop_dist.conformal import Calibration
from darkop_dist.errors import StatisticsError


def p_value_histogram(scores: hist.Hist, calibration: Calibration, edges: Sequence[float]) -> hist.Hist:
    """The weights of a histogram of scores, in bins of p-values.

    Bin k holds the p-values in (a_(k-1), a_k], unlike hist's own bins, with a_0 = 0 and a last bin up to 1: the most
    anomalous events come first. A score's own bin counts in its p-value, so nothing is lost and nothing is split.

    Args:
        scores: axes dataset, region, variation, score; Weight storage.
        calibration: with the same score bins.
        edges: a_1 < ... < a_K, between 0 and 1 exclusively.

    Raises:
        StatisticsError: other score bins, or edges that `p_value_ranks` refuses.
    """
    p_value_ranks(calibration, edges)
    axis = scores.axes[3]
    if not np.array_equal(np.asarray(axis.edges), calibration.edges):
        raise StatisticsError(
            f"the scores have other bins than the calibration with {calibration.source}; fill both with the score axis "
            "of one checkpoint"
        )
    result = hist.Hist(
        *scores.axes[:3],
        hist.axis.Variable(
            [0.0, *edges, 1.0], name=P_VALUE, label="conformal p-value", underflow=False, overflow=False
        ),
        storage=hist.storage.Weight(),
    )
    place = np.searchsorted(np.asarray(edges), calibration.bin_p_values, side="left")
    old, new = scores.view(flow=True), result.view(flow=True)
    for k in range(len(edges) + 1):
        new.value[..., k] = old.value[..., place == k].sum(axis=-1)
        new.variance[..., k] = old.variance[..., place == k].sum(axis=-1)
    return result


def p_value_ranks(calibration: Calibration, edges: Sequence[float]) -> npt.NDArray[np.int64]:
    """For each edge a_k the largest number of calibration events r_k, with r_k/(n + 1) a p-value of at most a_k.

    Coarse score bins reach fewer p-values than n: r_k is that of the bins, at most floor(a_k (n + 1)).

    Returns:
        r_1 < ... < r_K, shape (K,).

    Raises:
        StatisticsError: edges that do not increase between 0 and 1, that lie below the floor 1/(n + 1), or between
            which no score bin has a p-value.
    """
    if not edges or not all(0.0 < a < 1.0 for a in edges) or any(a >= b for a, b in pairwise(edges)):
        raise StatisticsError(
            f"the edges of p-value bins are {list(edges)}; they must increase between 0 and 1, both exclusive"
        )
    calibration.require_alpha(edges[0])
    p_values, ranks = calibration.bin_p_values, 1 + calibration.reached
    found = np.array([np.max(ranks[p_values <= edge], initial=0) for edge in edges], dtype=np.int64)
    for low, high, before, after in zip([0.0, *edges], edges, [0, *found], found, strict=False):
        if before == after:
            nearest = p_values[p_values > low].min()
            raise StatisticsError(
                f"no score bin has a p-value above {low:g} and up to {high:g}: the nearest is {nearest:.4g}; choose "
                "other edges (limits.p_value_bins), or a finer score axis"
            )
    return found
