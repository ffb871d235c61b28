"""Scores per second and core that are filled and looked up, and the time of a merge, beside numpy in the same run.

Run with: pytest tests/benchmarks/test_conformal_speed.py --benchmark-only -s. 20 million float32 scores in memory, one core;
"numpy" is searchsorted and bincount. Each result is compared with numpy's, number by number.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.conformal import Calibration, from_counts, from_scores, propose_edges
from darkop_dist.scoring import resolve

EVENTS, ROUNDS = 20_000_000, 7
AXES: dict[str, Callable[[], np.ndarray]] = {
    "checkpoint, 200 bins": lambda: np.array(resolve("cylinder-fno-v1").score_axis.edges),
    "regular, 200 bins": lambda: np.linspace(0.0, 20.0, 201),
    "regular, 100 000 bins": lambda: np.linspace(0.0, 20.0, 100_001),
    "proposed on a million events": lambda: propose_edges(np.random.default_rng(2).exponential(size=1_000_000)),
    "100 000 quantiles": lambda: np.unique(np.sort(draw()[::5].astype(float))[::40]),
}


def draw() -> np.ndarray:
    return np.random.default_rng(1).standard_exponential(EVENTS, dtype=np.float32)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def report(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture, name: str, numpy_s: float, edges: np.ndarray
) -> None:
    speeds = {"million_per_s": EVENTS / benchmark.stats.stats.median / 1e6, "numpy": EVENTS / numpy_s / 1e6}
    benchmark.extra_info.update(speeds, bins=len(edges) - 1)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{name} ({len(edges) - 1} bins): {speeds['million_per_s']:.0f} M/s, numpy {speeds['numpy']:.0f} M/s\n"
        )


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.benchmark(group="fill", timer=time.process_time)
def test_fill(axis: str, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture) -> None:
    scores, edges = draw(), AXES[axis]()
    named = {"edges": edges, "source": "b", "fingerprint": "f"}
    found = benchmark.pedantic(from_scores, (scores,), named, rounds=ROUNDS, warmup_rounds=1)
    bins = len(edges) + 1
    wanted, numpy_s = timed(lambda: np.bincount(np.searchsorted(edges, scores, side="right"), minlength=bins))
    assert np.array_equal(found.counts, wanted)
    report(benchmark, capsys, f"fill, {axis}", numpy_s, edges)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.benchmark(group="look-up", timer=time.process_time)
def test_look_up(axis: str, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture) -> None:
    scores, edges = draw(), AXES[axis]()
    calibration = from_scores(scores[::7], edges=edges, source="b", fingerprint="f")
    found = benchmark.pedantic(calibration.p_values, (scores,), rounds=ROUNDS, warmup_rounds=1)
    of_bins = calibration.bin_p_values
    wanted, numpy_s = timed(lambda: of_bins[np.searchsorted(edges, scores, side="right")])
    assert np.array_equal(found, wanted)
    report(benchmark, capsys, f"look-up, {axis}", numpy_s, edges)


@pytest.mark.parametrize("axes", ["one axis", "axes of two files"])
@pytest.mark.benchmark(group="merge of 100 000 bins")
def test_merge(axes: str, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture) -> None:
    """Calibrations from different files hold their edges each for itself, and these are compared."""
    rng, edges = np.random.default_rng(3), np.linspace(0.0, 20.0, 100_001)
    one, two = (from_counts(rng.integers(0, 1000, 100_002), edges.tolist(), name, "f") for name in ("first", "second"))
    if axes == "one axis":
        two = one + two

    def add() -> Calibration:
        return one + two

    found = benchmark.pedantic(add, rounds=500, warmup_rounds=20)
    numpy_ms = 1e3 * min(timed(lambda: one.counts + two.counts)[1] for _ in range(500))
    assert np.array_equal(found.counts, one.counts + two.counts)
    assert np.array_equal(found.edges, edges)
    assert not found.counts.flags.writeable
    milliseconds = benchmark.stats.stats.median * 1e3
    benchmark.extra_info.update(milliseconds=milliseconds, numpy_ms=numpy_ms)
    with capsys.disabled():
        sys.stdout.write(f"\nmerge of 100 000 bins, {axes}: {milliseconds:.3f} ms, addition alone {numpy_ms:.3f} ms\n")
