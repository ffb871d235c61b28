"""Do the events of some runs or files score differently? A test of exchangeability between groups of events.

Assumptions:
    Under the hypothesis, every event of every group is exchangeable with every other: given how many lie in each bin of
    the score, all ways of dealing them out to groups of the given sizes are as probable. The p-value compares the
    groups found with groups dealt out at random (multivariate hypergeometric), so P(p <= a) <= a holds exactly in
    finite samples, whatever the bins, ties and sizes (Phipson and Smyth, arXiv:1603.05766, section 2). A change of the
    scores that leaves their mean rank where it was is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError, StatisticsError

Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.int64]

CALIBRATION = "calibration"
PERMUTATIONS = 1999
_MOST_EVENTS = 400_000_000  # numpy deals from fewer than 10^9


@dataclass(frozen=True)
class Group:
    """How one group scores among all.

    Attributes:
        name: of the run, of the file, or of what calibrates.
        events: number of its events.
        mean: mean fraction of all events that score higher, ties counted by half: 1/2 on average, less if it scores
            higher than the rest.
        sigma: its standard deviation over all ways of dealing out; ties and the finite number of events are in it.
        p_value: probability that any group deviates by as many standard deviations as this one.
    """

    name: str
    events: int
    mean: float
    sigma: float
    p_value: float

    @property
    def deviation(self) -> float:
        """Standard deviations from 1/2; 0 where all events have one score."""
        return (self.mean - 0.5) / self.sigma if self.sigma else 0.0


@dataclass(frozen=True)
class Exchangeability:
    """Whether groups of events can be told apart by their scores.

    Attributes:
        p_value: probability of a deviation as large as the largest of these, over all groups: 1/(permutations + 1) at
            least.
        groups: in the order given, without those that hold no event.
        permutations: how often the events were dealt out.
    """

    p_value: float
    groups: tuple[Group, ...]
    permutations: int

    @property
    def largest(self) -> Group:
        """The group that deviates most."""
        return max(self.groups, key=lambda group: abs(group.deviation))

    def to_dict(self) -> dict[str, object]:
        """As JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, origin: str = "drift") -> Exchangeability:
        """Read what `to_dict` wrote.

        Raises:
            InputFileError: the values are no such test.
        """
        try:
            values = dict(content)
            groups = tuple(Group(**group) for group in values.pop("groups"))
            return cls(groups=groups, **values)
        except (KeyError, TypeError) as error:
            raise InputFileError(origin, f"is no test of drift ({error})", "Run the calibration again.") from error


@dataclass(frozen=True)
class Drift:
    """Tests of the runs, or of the files, of one search.

    Attributes:
        by: ``run`` or ``file``.
        tested: which events are in the groups.
        against_calibration: of all groups taken together and what calibrates; None if the p-values do not promise that
            these are exchangeable (weights, categories).
        among: of the groups among themselves; None if there is one only.
        drawn: of the groups and of what calibrates as one more: for the plot, since a shift that all groups share
            drowns in the search over many.
    """

    by: str
    tested: str
    against_calibration: Exchangeability | None
    among: Exchangeability | None
    drawn: Exchangeability

    def to_dict(self) -> dict[str, object]:
        """As JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, origin: str = "drift") -> Drift:
        """Read what `to_dict` wrote.

        Raises:
            InputFileError: the values are no such tests.
        """
        try:
            against, among = (
                None if found is None else Exchangeability.from_dict(found, origin=origin)
                for found in (content["against_calibration"], content["among"])
            )
            drawn = Exchangeability.from_dict(content["drawn"], origin=origin)
            return cls(str(content["by"]), str(content["tested"]), against, among, drawn)
        except KeyError as error:
            raise InputFileError(origin, f"is no test of drift ({error})", "Run the calibration again.") from error


def exchangeability(
    groups: Mapping[str, npt.ArrayLike], rng: np.random.Generator, *, permutations: int = PERMUTATIONS
) -> Exchangeability:
    """Test whether the events of all groups are exchangeable.

    The statistic is the largest deviation of a group's mean rank from that of all events, in its own standard
    deviations (that of Wilcoxon's rank sum with mid-ranks: Lehmann, Nonparametrics, 1975, section 1.4).

    Args:
        groups: events per bin of the score by name, integers, underflow first, each of shape (bins + 2,). Calibration
            and data may be groups: name what calibrates `CALIBRATION`.
        rng: deals the events out. Of more than 4e8 events a random part is taken, all with one probability.
        permutations: how often. Each takes a draw per group and bin.

    Raises:
        StatisticsError: fewer than two groups hold events, bins differ or counts are not whole numbers.
    """
    if permutations < 1:
        raise StatisticsError(f"{permutations} permutations test nothing: take at least 99")
    table, names = _checked(groups)
    if table.sum() > _MOST_EVENTS:
        table = rng.binomial(table, _MOST_EVENTS / table.sum())
    sizes, pooled = table.sum(axis=1), table.sum(axis=0)
    ranks = _mid_ranks(pooled)
    sigmas = _sigmas(sizes, pooled, ranks)
    means = table @ ranks / sizes
    deviations = _deviations(means, sigmas)
    dealt = _largest_when_dealt(sizes, pooled, ranks, sigmas, rng, permutations)
    reached = np.array([np.sum(dealt >= found * (1 - 1e-12)) for found in deviations])
    p_values = (1 + reached) / (permutations + 1)
    rows = zip(names, sizes, means, sigmas, p_values, strict=True)
    found = tuple(Group(name, int(n), float(mean), float(sigma), float(p)) for name, n, mean, sigma, p in rows)
    return Exchangeability(float(p_values.min()), found, permutations)


def _checked(groups: Mapping[str, npt.ArrayLike]) -> tuple[Table, list[str]]:
    given = {name: np.asarray(counts) for name, counts in groups.items()}
    shapes = {counts.shape for counts in given.values()}
    if len(shapes) > 1:
        raise StatisticsError(f"groups have score counts of different shapes, {sorted(shapes)}: use one score axis")
    for name, counts in given.items():
        if counts.dtype.kind not in "iu" or counts.ndim != 1 or np.any(counts < 0):
            raise StatisticsError(f"the score counts of {name} are no numbers of unweighted events in bins")
    filled = {name: counts for name, counts in given.items() if counts.sum()}
    if len(filled) < 2:
        raise StatisticsError(f"{len(filled)} of {len(given)} groups hold events: it takes two to compare")
    return np.array(list(filled.values()), dtype=np.int64), list(filled)


def _mid_ranks(pooled: Table) -> Floats:
    """Fraction of the pooled events above each bin, with half of its own, shape (bins + 2,)."""
    above = np.cumsum(pooled[::-1])[::-1] - pooled
    return np.asarray((above + pooled / 2) / pooled.sum(), dtype=np.float64)


def _sigmas(sizes: Table, pooled: Table, ranks: Floats) -> Floats:
    """Standard deviation of the mean rank of n events drawn without replacement."""
    total = pooled.sum()
    variance = pooled @ (ranks - 0.5) ** 2 / total
    return np.asarray(np.sqrt(variance / sizes * (total - sizes) / max(total - 1, 1)), dtype=np.float64)


def _deviations(means: Floats, sigmas: Floats) -> Floats:
    return np.abs(np.divide(means - 0.5, sigmas, out=np.zeros_like(means), where=sigmas > 0))


def _largest_when_dealt(
    sizes: Table, pooled: Table, ranks: Floats, sigmas: Floats, rng: np.random.Generator, permutations: int
) -> Floats:
    """The largest deviation of any group for events dealt out at random, shape (permutations,).

    One group after the other draws from what is left, bin by bin; the largest takes the rest.
    """
    order = np.argsort(sizes)
    left = np.tile(pooled, (permutations, 1))
    largest = np.zeros(permutations)
    for group in order[:-1]:
        drawn = _draw(left, int(sizes[group]), rng)
        left -= drawn
        means = drawn @ ranks / sizes[group]
        largest = np.maximum(largest, _deviations(means, np.full(permutations, sigmas[group])))
    means = left @ ranks / sizes[order[-1]]
    return np.asarray(np.maximum(largest, _deviations(means, np.full(permutations, sigmas[order[-1]]))))


def _draw(left: Table, size: int, rng: np.random.Generator) -> Table:
    """Draw events without replacement, shape (permutations, bins + 2): bin by bin, each hypergeometric."""
    drawn = np.zeros_like(left)
    rest, wanted = left.sum(axis=1), np.full(len(left), size)
    for place in range(left.shape[1] - 1):
        rest = rest - left[:, place]
        drawn[:, place] = rng.hypergeometric(left[:, place], rest, wanted)
        wanted = wanted - drawn[:, place]
    drawn[:, -1] = wanted
    return drawn
