"""Super-uniformity from 1e-1 to 1e-6: unweighted, weighted and by category, on fine bins and on ten tied levels.

Calibrations are drawn as counts from known bin probabilities, so that P(p <= a | calibration) is a sum without error;
only the mean over calibrations fluctuates, and four of its standard errors are allowed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darkop_dist.conformal import MondrianCalibration, from_counts, weighted_from_histogram

LEVELS = 10.0 ** -np.arange(1, 7)
EVENTS, CALIBRATIONS = 3_000_000, 300
WEIGHTS, SHARES = np.array([0.3, 1.7]), np.array([0.7, 0.3])


def fine() -> np.ndarray:
    """Probabilities of 4000 bins, log-spaced in the tail: at most 0.4% of what lies above in each, as good as continuous."""
    tail = np.append(np.geomspace(1.0, 1e-8, 4001)[:-1], 0.0)
    return np.concatenate([[0.0], -np.diff(tail), [0.0]])


def tied() -> np.ndarray:
    """Ten levels of falling probability."""
    tail = np.append(np.geomspace(1.0, 3e-7, 11)[:-1], 0.0)
    return np.concatenate([[0.0], -np.diff(tail), [0.0]])


def mean_rates(probabilities: np.ndarray, draw: Callable[[], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """P(p <= a) over calibrations with its standard error; draw gives the p-values of the bins."""
    rates = np.array([[probabilities[p <= a].sum() for a in LEVELS] for p in (draw() for _ in range(CALIBRATIONS))])
    return rates.mean(axis=0), rates.std(axis=0, ddof=1) / np.sqrt(CALIBRATIONS)


@pytest.mark.parametrize("bins", [fine, tied])
def test_unweighted(bins: Callable[[], np.ndarray]) -> None:
    rng, q = np.random.default_rng(1), bins()
    edges = np.arange(len(q) - 1.0)

    def draw() -> np.ndarray:
        return from_counts(rng.multinomial(EVENTS, q / q.sum()), edges.tolist(), "b", "f").bin_p_values

    mean, error = mean_rates(q, draw)
    assert np.all(mean <= LEVELS + 4 * error)
    if bins is fine:
        assert np.all(mean[:5] >= 0.95 * LEVELS[:5])  # and no more careful than it must be


@pytest.mark.parametrize("bins", [fine, tied])
def test_weighted(bins: Callable[[], np.ndarray]) -> None:
    """The share of heavy events rises with the score, so that weights and scores are not independent."""
    rng, q = np.random.default_rng(2), bins()
    heavy = np.linspace(0.1, 0.6, len(q))
    cells = np.stack([q * (1 - heavy), q * heavy])
    target = (cells * WEIGHTS[:, None]).sum(axis=0) / (cells * WEIGHTS[:, None]).sum()
    edges = np.arange(len(q) - 1.0).tolist()

    def draw() -> np.ndarray:
        counts = rng.multinomial(EVENTS, cells.ravel() / cells.sum()).reshape(cells.shape)
        sums, squares = WEIGHTS @ counts, WEIGHTS**2 @ counts
        return weighted_from_histogram(
            counts.sum(axis=0), sums, squares, edges=edges, source="b", fingerprint="f", largest=1.7
        ).bin_p_values

    mean, error = mean_rates(target, draw)
    assert np.all(mean <= LEVELS + 4 * error)
    if bins is fine:
        assert np.all(mean[:4] >= 0.95 * LEVELS[:4])
        # without weights the same events would break their promise
        unweighted, _ = mean_rates(
            target, lambda: from_counts(rng.multinomial(EVENTS, q / q.sum()), edges, "b", "f").bin_p_values
        )
        assert unweighted[2] > 1.2 * LEVELS[2]


@pytest.mark.parametrize("bins", [fine, tied])
def test_by_category(bins: Callable[[], np.ndarray]) -> None:
    """Each category keeps its promise, where its share in data is another; pooled, the one with harder scores does not."""
    rng, soft = np.random.default_rng(3), bins()
    hard = soft * np.linspace(0.2, 3.0, len(soft))
    laws = {"two jets": soft / soft.sum(), "three jets": hard / hard.sum()}
    edges, scores = np.arange(len(soft) - 1.0).tolist(), np.arange(-1, len(soft) - 1) + 0.5

    def draw(category: str) -> np.ndarray:
        counts = {name: rng.multinomial(EVENTS, law) for name, law in laws.items()}
        mondrian = MondrianCalibration({name: from_counts(c, edges, name, "f") for name, c in counts.items()})
        return mondrian.p_values(scores, np.full(len(scores), category))

    for category, law in laws.items():
        mean, error = mean_rates(law, lambda category=category: draw(category))
        assert np.all(mean <= LEVELS + 4 * error), category

    def pooled() -> np.ndarray:
        counts = sum(rng.multinomial(EVENTS, law) for law in laws.values())
        return from_counts(counts, edges, "both", "f").bin_p_values

    if bins is fine:
        assert mean_rates(laws["three jets"], pooled)[0][2] > 1.2 * LEVELS[2]


def test_leaving_out_the_own_bin_breaks_ten_levels() -> None:
    """The defect that this test would find: ties counted for the event and not against it."""
    rng, q = np.random.default_rng(4), np.full(12, 0.1)
    q[[0, -1]] = 0.0
    edges = np.arange(11.0).tolist()

    def wrong() -> np.ndarray:
        counts = rng.multinomial(EVENTS, q)
        above = np.cumsum(counts[::-1])[::-1] - counts
        return (1 + above) / (EVENTS + 1)

    def right() -> np.ndarray:
        return from_counts(rng.multinomial(EVENTS, q), edges, "b", "f").bin_p_values

    assert mean_rates(q, wrong)[0][1] > 0.09  # at a = 0.01
    assert mean_rates(q, right)[0][1] == 0.0
