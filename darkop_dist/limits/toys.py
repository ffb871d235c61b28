"""CLs from pseudo-experiments, in batches that can be computed anywhere and in any order.

Counts are drawn from Poisson laws and auxiliary measurements from their constraints, with the nuisance parameters at
the values that the data prefer for the strength under test and for no signal. A batch depends on its task alone (the
strengths, the number of toys and the seed), so that the same batches give the same limit on one core or on many, and
those that are there already need not be computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from darkop_dist.errors import FitError, StatisticsError
from darkop_dist.limits.likelihood import Data, Likelihood, likelihood_of
from darkop_dist.limits.parameters import Floats
from darkop_dist.limits.profile import Profile
from darkop_dist.limits.workspace import Workspace

POINTS = 8
BATCH = 100
MOST_FAILED = 0.01  # of a point's toys
MOST_DRAWN = 1e18  # auxiliary counts: NumPy draws no more, and what fluctuates by 1e-9 of itself need not
ROUNDING = 1e-6  # of a test statistic: toys with the data's counts reach them


@dataclass(frozen=True)
class ToyTask:
    """A batch of toys.

    Attributes:
        truth: signal strength at which they are drawn.
        tested: strengths at which their test statistic is wanted.
        toys: how many.
        seed: seed of the scan.
        stream: position of the batch in the scan; with the seed it fixes the random numbers.
        negative: whether the strength may be fitted below zero (statistic q).
    """

    truth: float
    tested: tuple[float, ...]
    toys: int
    seed: int
    stream: tuple[int, int]
    negative: bool


@dataclass(frozen=True)
class ToyBatch:
    """What a task gave.

    Attributes:
        task: the task.
        q: the test statistic, one row per toy that could be fitted and one column per strength tested.
        failures: why the others could not.
        discovery: for toys without signal, q0 and the goodness-of-fit statistic of the fit without signal, per toy.
        lost: why the whole batch could not be computed, such as a worker that died; it can be tried again.
    """

    task: ToyTask
    q: tuple[tuple[float, ...], ...]
    failures: tuple[str, ...]
    discovery: tuple[tuple[float, float], ...] = ()
    lost: str = ""


Runner = Callable[[Workspace, Sequence[ToyTask]], Iterable[ToyBatch]]


@dataclass(frozen=True)
class ToyScan:
    """A scan of CLs by toys and the limits interpolated in it.

    Attributes:
        mu: signal strengths, shape (points,).
        cls_obs: observed CLs, shape (points,).
        cls_obs_error: their binomial standard deviations, shape (points,).
        cls_exp: expected CLs, shape (points, 5), in the order of the bands that were asked for.
        observed: the limit.
        observed_error: its standard deviation from the number of toys.
        expected: expected limits, in the same order.
        p0: share of toys without signal whose q0 is as large, (1 + reached)/(1 + toys).
        goodness_p: share of toys without signal that a fit without signal describes as badly, counted likewise.
        failures: toys and points that were left out, and why.
    """

    mu: tuple[float, ...]
    cls_obs: tuple[float, ...]
    cls_obs_error: tuple[float, ...]
    cls_exp: tuple[tuple[float, ...], ...]
    observed: float
    observed_error: float
    expected: tuple[float, ...]
    p0: float
    goodness_p: float
    failures: tuple[str, ...]


def run_here(workspace: Workspace, tasks: Sequence[ToyTask]) -> Iterable[ToyBatch]:
    """Compute tasks one after the other in this process."""
    return (run_task(workspace, task) for task in tasks)


def run_task(workspace: Workspace, task: ToyTask) -> ToyBatch:
    """Draw and fit the toys of one task. A toy whose fit fails is reported, and the others go on.

    Raises:
        FitError: the fit of the data failed.
    """
    likelihood = likelihood_of(workspace, negative=task.negative)
    truth = Profile.of_data(likelihood, likelihood.data).at(task.truth).parameters
    rng = np.random.default_rng(np.random.SeedSequence(task.seed, spawn_key=task.stream))
    found, discovery, failures = [], [], []
    for _ in range(task.toys):
        data = draw(likelihood, truth, rng)
        try:
            profile = Profile.of_data(likelihood, data, truth)
            row = tuple(profile.q(mu) for mu in task.tested)
            if task.truth == 0.0:
                discovery.append(_discovery(profile))
            found.append(row)
        except FitError as error:
            failures.append(str(error))
    return ToyBatch(task, tuple(found), tuple(failures), tuple(discovery))


def _discovery(profile: Profile) -> tuple[float, float]:
    """q0, and how far the fit without signal lies from the saturated model."""
    return profile.q0(), profile.at(0.0).twice_nll - profile.likelihood.saturated(profile.data)


def scan_with_toys(
    workspace: Workspace,
    observed: Profile,
    around: Sequence[float],
    *,
    alpha: float,
    toys: int,
    sigmas: Sequence[float],
    seed: int,
    runner: Runner = run_here,
) -> ToyScan:
    """Scan CLs with toys from below the smallest to above the largest of the asymptotic limits.

    Args:
        workspace: the model and the data.
        observed: the profile likelihood of the data.
        around: asymptotic limits.
        alpha: 1 - confidence level.
        toys: pseudo-experiments per hypothesis and point.
        sigmas: fluctuations of the background for the expected bands; 2 is an unusually background-like one.
        seed: of the random numbers.
        runner: computes the batches; they may come in any order.

    Raises:
        FitError: more than 1% of the toys failed in all but one point or in the background's.
        StatisticsError: the observed CLs does not cross the level: more toys are needed. An expected limit that
            does not is given as the scan's edge, with a sentence among the failures.
    """
    strengths = np.geomspace(0.5 * min(around), 2.0 * max(around), POINTS).tolist()
    negative = observed.likelihood.lowest < 0
    tasks = plan_toys(strengths, toys, seed, negative=negative)
    batches = sorted(runner(workspace, tasks), key=lambda batch: batch.task.stream)
    samples, failures = _collected(batches, strengths)
    background = samples[0]
    if len(background) < (1 - MOST_FAILED) * toys:
        raise FitError(
            f"{toys - len(background)} of {toys} toys of the background could not be fitted: change the model or use "
            f"toys: 0. {failures[0]}"
        )
    points = []
    for number, strength in enumerate(strengths):
        signal = samples[number + 1]
        if len(signal) < (1 - MOST_FAILED) * toys:
            failures.append(f"the point mu = {strength:.4g} is left out: {toys - len(signal)} of {toys} toys failed")
            continue
        points.append((strength, *_cls_of(observed.q(strength), signal[:, 0], background[:, number], sigmas)))
    if len(points) < 2:
        raise FitError(f"toys failed at {POINTS - len(points)} of {POINTS} signal strengths: {failures[-1]}")
    kept = np.array([point[0] for point in points])
    cls, errors = (np.array([point[column] for point in points]) for column in (1, 2))
    bands = np.array([point[3] for point in points])
    p0, goodness_p = _shares(observed, batches)
    limit = _crossing(kept, cls, alpha, toys)
    if limit is None:
        raise StatisticsError(
            f"the observed CLs from {toys} toys does not cross {alpha:g} between mu = {kept[0]:.4g} and "
            f"{kept[-1]:.4g}; use more toys"
        )
    expected = [_crossing(kept, bands[:, band], alpha, toys) for band in range(len(sigmas))]
    for sigma, found, edge in zip(sigmas, expected, np.where(bands[0] < alpha, kept[0], kept[-1]), strict=True):
        if found is None:
            side = "at most" if edge == kept[0] else "at least"
            failures.append(
                f"the expected limit at {-sigma:+g} sigma is {side} {edge:.4g}: the toys do not cross there"
            )
    return ToyScan(
        mu=tuple(kept.tolist()),
        cls_obs=tuple(cls.tolist()),
        cls_obs_error=tuple(errors.tolist()),
        cls_exp=tuple(tuple(row) for row in bands.tolist()),
        observed=limit,
        observed_error=_error_of_crossing(kept, cls, errors, limit, toys),
        expected=tuple(
            (float(kept[0]) if bands[0, band] < alpha else float(kept[-1])) if found is None else found
            for band, found in enumerate(expected)
        ),
        p0=p0,
        goodness_p=goodness_p,
        failures=tuple(failures),
    )


def plan_toys(strengths: Sequence[float], toys: int, seed: int, *, negative: bool) -> list[ToyTask]:
    """The tasks of a scan: toys without signal, tested at all strengths, and toys at each strength."""
    hypotheses = [(0.0, tuple(strengths)), *((strength, (strength,)) for strength in strengths)]
    sizes = [min(BATCH, toys - start) for start in range(0, toys, BATCH)]
    return [
        ToyTask(truth, tested, size, seed, (number, batch), negative)
        for number, (truth, tested) in enumerate(hypotheses)
        for batch, size in enumerate(sizes)
    ]


def draw(likelihood: Likelihood, truth: Floats, rng: np.random.Generator) -> Data:
    """One pseudo-experiment: counts and auxiliary data. The constraints of constants do not fluctuate.

    Args:
        likelihood: the model.
        truth: the parameters to draw at, shape (parameters,).
        rng: random numbers.
    """
    expected, parameters = likelihood.expected(truth), likelihood.model.parameters
    split = len(parameters.normal)
    normal = rng.normal(expected.auxiliary[:split], parameters.sigma)
    means = expected.auxiliary[split:]
    poisson = np.where(means > MOST_DRAWN, means, rng.poisson(np.minimum(means, MOST_DRAWN)))
    counts = rng.poisson(expected.counts).astype(np.float64)
    held = parameters.held[np.concatenate([parameters.normal, parameters.poisson])]
    auxiliary = np.where(held, likelihood.data.auxiliary, np.concatenate([normal, poisson]))
    return Data(counts, auxiliary)


def _shares(observed: Profile, batches: Sequence[ToyBatch]) -> tuple[float, float]:
    """Share of the toys without signal with an excess, and with a misfit, as large as that of the data."""
    toys = np.array([row for batch in batches for row in batch.discovery]).reshape(-1, 2)
    reached = np.sum(toys >= np.array(_discovery(observed)) - ROUNDING, axis=0)
    p0, goodness = (1 + reached) / (1 + len(toys))
    return float(p0), float(goodness)


def _collected(ordered: Sequence[ToyBatch], strengths: Sequence[float]) -> tuple[list[Floats], list[str]]:
    """The test statistics per hypothesis, and what was left out."""
    samples, failures = [], []
    for number in range(len(strengths) + 1):
        rows = [row for batch in ordered if batch.task.stream[0] == number for row in batch.q]
        width = len(strengths) if number == 0 else 1
        samples.append(np.array(rows, dtype=np.float64).reshape(len(rows), width))
    for batch in ordered:
        where = f"at mu = {batch.task.truth:.4g}"
        failures += [f"a toy {where} was left out: {reason}" for reason in batch.failures]
        if batch.lost:
            failures.append(f"a batch of {batch.task.toys} toys {where} was lost: {batch.lost}")
    return samples, failures


def _cls_of(
    observed: float, signal: Floats, background: Floats, sigmas: Sequence[float]
) -> tuple[float, float, list[float]]:
    """CLs of the data with its binomial error, and of the background's quantiles."""
    bands = np.quantile(background, special.ndtr(np.asarray(sigmas)), method="inverted_cdf")
    above = int(np.sum(signal >= observed - ROUNDING))
    below = max(int(np.sum(background >= observed - ROUNDING)), 1)
    cls = _cls(observed, signal, background)
    relative = np.sqrt((1 - above / len(signal)) / max(above, 1) + max(1 - below / len(background), 0.0) / below)
    return cls, float(max(cls, 1.0 / len(signal)) * relative), [_cls(float(q), signal, background) for q in bands]


def _cls(q: float, signal: Floats, background: Floats) -> float:
    """P(q or larger | s + b) / P(q or larger | b); a denominator without toys counts as one toy.

    Toys with the same counts have the same q but for rounding, and all of them count.
    """
    passed = max(float(np.mean(background >= q - ROUNDING)), 1.0 / len(background))
    return float(np.mean(signal >= q - ROUNDING)) / passed


def _crossing(strengths: Floats, cls: Floats, alpha: float, toys: int) -> float | None:
    """Where CLs first falls below alpha, interpolated in its logarithm; no toys count as half a toy."""
    below = np.flatnonzero(cls < alpha)
    if len(below) == 0 or below[0] == 0:
        return None
    pair = [below[0], below[0] - 1]
    return float(np.interp(np.log(alpha), np.log(np.maximum(cls[pair], 0.5 / toys)), strengths[pair]))


def _error_of_crossing(strengths: Floats, cls: Floats, errors: Floats, limit: float, toys: int) -> float:
    """The error of ln CLs, interpolated between two points with toys of their own, over its slope."""
    after = int(np.clip(np.searchsorted(strengths, limit), 1, len(strengths) - 1))
    pair = [after - 1, after]
    logs = np.log(np.maximum(cls[pair], 0.5 / toys))
    slope = abs(float(np.diff(logs)[0] / np.diff(strengths[pair])[0]))
    relative = errors[pair] / np.maximum(cls[pair], 0.5 / toys)
    share = float(np.clip((limit - strengths[pair[0]]) / np.diff(strengths[pair])[0], 0.0, 1.0))
    return float(np.hypot((1.0 - share) * relative[0], share * relative[1])) / max(slope, 1e-300)
