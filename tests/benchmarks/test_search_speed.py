"""Speed of the main parts, each with its result checked. Run with: pytest tests/benchmarks --benchmark-only."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.config import DatasetRecord
from darkop_dist.conformal import from_scores
from darkop_dist.events.representations import represent
from darkop_dist.execution import DatasetFiles, Task, execute, plan_chunks
from darkop_dist.generation.sample import generate
from darkop_dist.histograms import Observable, OutputBuilder
from darkop_dist.scoring.resolve import resolve

EVENTS = 200_000
RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))


class Masses:
    """Reads two columns and fills one histogram."""

    def process(self, events: ak.Array) -> dict[str, Any]:
        builder = OutputBuilder(events.metadata["dataset"], [Observable("mass", (0.0, 0.5, 1.0), "$m$", "GeV")])
        weights = np.asarray(events.genWeight, dtype=np.float64)
        builder.fill("mass", "signal", "nominal", np.asarray(events.mass), weights)
        return builder.output()


@pytest.fixture(scope="module")
def masses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "masses.root"
    rng = np.random.default_rng(1)
    with uproot.recreate(path) as file:
        file["Events"] = {"mass": rng.uniform(size=EVENTS), "genWeight": np.ones(EVENTS)}
    return path


@pytest.mark.benchmark(group="read and fill 200 k events")
def test_raw_uproot_read_is_the_anchor(benchmark: BenchmarkFixture, masses: Path) -> None:
    def read() -> float:
        with uproot.open(masses) as file:
            columns = file["Events"].arrays(["mass", "genWeight"], library="np")
        return float(columns["genWeight"].sum())

    assert benchmark(read) == EVENTS


@pytest.mark.benchmark(group="read and fill 200 k events")
def test_execution_reads_and_fills(benchmark: BenchmarkFixture, masses: Path) -> None:
    plan = plan_chunks([DatasetFiles(RECORD, (str(masses),))], chunk_events=100_000, whole_files=False)
    tasks = [Task(chunk, RECORD, 0, None) for chunk in plan]
    found = benchmark(lambda: execute(tasks, Masses()))
    assert found.output["histograms"]["mass"].sum(flow=True).value == EVENTS


@pytest.mark.benchmark(group="score 500 events with cylinder-fno-v1")
def test_scores(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    from darkop_dist.events.read import open_events

    generate("z-nunu-jets", 500, tmp_path / "z.root", seed=5, settings={"mpi": "off", "pthat_min": 200.0})
    events = open_events(str(tmp_path / "z.root"), RECORD)
    scorer = resolve("cylinder-fno-v1")
    batch = {spec.name: represent(events, spec.representation, spec.settings) for spec in scorer.inputs}
    scores = benchmark(lambda: scorer.score(batch))
    assert scores.shape == (500,)
    assert np.isfinite(scores).all()


@pytest.mark.benchmark(group="p-values of 10^6 scores")
def test_p_values(benchmark: BenchmarkFixture) -> None:
    rng = np.random.default_rng(2)
    calibration = from_scores(
        rng.uniform(size=EVENTS), edges=tuple(np.linspace(0, 1, 201)), source="toys", fingerprint="none"
    )
    scores = rng.uniform(size=1_000_000)
    p_values = benchmark(lambda: calibration.p_values(scores))
    assert np.mean(p_values <= 0.1) == pytest.approx(0.1, abs=0.006)
