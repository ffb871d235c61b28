"""Bunch crossings as a zero-bias trigger reads them, drawn in strata of their hardest collision.

In a crossing with a mean of mu collisions, the number of collisions of each slice of `generation.collisions` is a
Poisson number of its own with mean mu_k = mu sigma_k / sigma. A crossing belongs to the stratum of its highest slice,
so the strata are disjoint, complete and of known probability:

    P_j = (1 - exp(-mu_j)) prod_{k > j} exp(-mu_k),

and within a stratum n_j is Poisson above 0, n_k for k < j Poisson, and n_k = 0 for k > j. Crossings without any
collision have a probability of exp(-mu) and count as crossings that no trigger accepts. Drawing as many crossings in
each stratum as one likes samples zero bias exactly, with weights P_j / N_j: a rate of 1 kHz among 28 MHz comes from
thousands of crossings rather than from a handful.

Assumptions:
    One mean number of collisions for all bunches and all the time; in-time pile-up only. The collisions of a slice are
    drawn with replacement, turned about the beam and mirrored at random: the number of different hard collisions is
    that of the slice, and intervals that take every crossing as new are too short where crossings share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.generation.collisions import Particles, Slice
from darkop_dist.trigger.detector import Drawn, Seen, observe

CROSSINGS_PER_BLOCK = 2000
MOST_MEAN = 300.0


@dataclass(frozen=True)
class Strata:
    """Probabilities of the strata of crossings.

    Attributes:
        means: mean number of collisions of each slice in a crossing, shape (slices,).
        probabilities: of each stratum, shape (slices,); they add up to 1 - exp(-mu).
    """

    means: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Crossings:
    """Simulated crossings.

    Attributes:
        seen: inputs of the trigger.
        stratum: of each crossing, shape (crossings,).
        collisions: how many met, shape (crossings,).
        weight: probability that a crossing stands for, shape (crossings,); the sum is 1 - exp(-mu).
    """

    seen: Seen
    stratum: npt.NDArray[np.int8]
    collisions: npt.NDArray[np.int16]
    weight: npt.NDArray[np.float64]


def strata(slices: Sequence[Slice], mean_collisions: float) -> Strata:
    """Means and probabilities of the strata.

    Args:
        slices: from soft to hard.
        mean_collisions: mu, the mean number of inelastic collisions in a crossing.

    Raises:
        InputValueError: the mean is not between 0 and 300.
    """
    if not 0.0 < mean_collisions <= MOST_MEAN:
        raise InputValueError(
            "mean collisions", f"{mean_collisions} is no mean number of a crossing", f"Use 0 to {MOST_MEAN:g}"
        )
    sections = np.array([piece.xsec_mb for piece in slices])
    means = mean_collisions * sections / sections.sum()
    above = np.concatenate((np.cumsum(means[::-1])[::-1][1:], [0.0]))
    return Strata(means, -np.expm1(-means) * np.exp(-above))


def draw_crossings(
    slices: Sequence[Slice],
    mean_collisions: float,
    crossings: int,
    least: int,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> Crossings:
    """Simulate zero-bias crossings.

    Args:
        slices: from soft to hard.
        mean_collisions: mu.
        crossings: of zero bias without strata; a stratum gets its share of them,
        least: but so many if that is more.
        rng: source of random numbers.
        progress: told how many of how many crossings are done.
    """
    found = strata(slices, mean_collisions)
    pool = _pool(slices)
    if crossings < 1 or least < 1:
        raise InputValueError("crossings", f"{crossings}, and {least} in a stratum", "Ask for one or more of each")
    sizes = np.maximum(np.rint(found.probabilities * crossings).astype(np.int64), least)
    stratum = np.repeat(np.arange(len(slices)), sizes)
    counts = np.concatenate([_counts(found.means, level, int(size), rng) for level, size in enumerate(sizes)])
    weight = np.repeat(found.probabilities / sizes, sizes)
    seen = _observed(pool, slices, counts, None, rng, progress)
    return Crossings(seen, stratum.astype(np.int8), counts.sum(axis=1).astype(np.int16), weight)


def lay_over(
    hard: Particles,
    slices: Sequence[Slice],
    mean_collisions: float,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> Crossings:
    """Simulate crossings with one event of a signal each, and pile-up beside it.

    Args:
        hard: particles of the signal's events.
        slices: pile-up, from soft to hard.
        mean_collisions: mu of the pile-up.
        rng: source of random numbers.
        progress: told how many of how many crossings are done.
    """
    means = strata(slices, mean_collisions).means
    counts = rng.poisson(means, size=(len(hard), len(slices)))
    seen = _observed(_pool(slices, hard), slices, counts, hard, rng, progress)
    size = len(hard)
    return Crossings(
        seen, np.full(size, -1, np.int8), counts.sum(axis=1).astype(np.int16), np.full(size, 1.0 / max(size, 1))
    )


def _counts(
    means: npt.NDArray[np.float64], level: int, crossings: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """How many collisions of each slice meet in the crossings of a stratum, shape (crossings, slices)."""
    counts = np.zeros((crossings, len(means)), dtype=np.int64)
    counts[:, :level] = rng.poisson(means[:level], size=(crossings, level))
    counts[:, level] = _above_zero(means[level], crossings, rng)
    return counts


def _above_zero(mean: float, size: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Poisson numbers that are not 0: the first arrival is uniform in exp(-t), the others follow."""
    first = -np.log1p(rng.random(size) * math.expm1(-mean))
    return 1 + rng.poisson(np.maximum(mean - first, 0.0))


def _pool(slices: Sequence[Slice], *more: Particles) -> Particles:
    parts = [*(piece.particles for piece in slices), *more]
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return Particles(
        pt=np.concatenate([part.pt for part in parts]),
        eta=np.concatenate([part.eta for part in parts]),
        phi=np.concatenate([part.phi for part in parts]),
        charge=np.concatenate([part.charge for part in parts]),
        kind=np.concatenate([part.kind for part in parts]),
        offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
    )


def _observed(
    pool: Particles,
    slices: Sequence[Slice],
    counts: npt.NDArray[np.int64],
    hard: Particles | None,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None,
) -> Seen:
    sizes = np.array([len(piece.particles) for piece in slices])
    begins = np.concatenate(([0], np.cumsum(sizes)))
    found: list[Seen] = []
    for start in range(0, len(counts), CROSSINGS_PER_BLOCK):
        block = counts[start : start + CROSSINGS_PER_BLOCK]
        which = np.repeat(np.tile(np.arange(len(sizes)), len(block)), block.ravel())
        collision = begins[which] + (rng.random(len(which)) * sizes[which]).astype(np.int64)
        totals = block.sum(axis=1)
        if hard is not None:  # the event of the signal comes first in its crossing
            places = np.concatenate(([0], np.cumsum(totals)))[:-1]
            collision = np.insert(collision, places, begins[-1] + start + np.arange(len(block)))
            totals = totals + 1
        drawn = Drawn(
            collision,
            rng.uniform(0.0, 2 * np.pi, len(collision)),
            rng.choice((-1.0, 1.0), len(collision)),
            np.concatenate(([0], np.cumsum(totals))).astype(np.int64),
        )
        found.append(observe(pool, drawn, rng))
        if progress is not None:
            progress(min(start + len(block), len(counts)), len(counts))
    return Seen(np.concatenate([part.inputs for part in found]), np.concatenate([part.regions for part in found]))
