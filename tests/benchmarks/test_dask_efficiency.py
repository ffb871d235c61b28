"""What Dask costs: one worker against a plain process in CPU seconds, two workers against one on the clock.

Run alone on a quiet machine: ``pytest tests/benchmarks/test_dask_efficiency.py --benchmark-only``. The work is the
mono-jet search of jobs/quickstart.yml, with its jet variations, over 16 files of 500 k made events (one file under
16 names) in chunks of 250 k. Everything that is compared runs in turns, so that a change of the machine's load meets all of it; first each does the work once
unmeasured, for imports and compilation.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.config import DatasetRecord, Execution, check_parameters, load_document
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.split import SplitRule
from darkop_dist.execution import DatasetFiles, Task, execute, plan_chunks
from darkop_dist.execution.sites import open_client
from darkop_dist.stages.search import load_processor

EVENTS = int(os.environ.get("DARKOP_BENCHMARK_EVENTS", "500000"))
ROUNDS = int(os.environ.get("DARKOP_BENCHMARK_ROUNDS", "5"))
CHUNKS = 2  # of each file
FILES = 16
RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))
COLLECTIONS = {
    "Jet": (3.5, 20.0, 60.0, ("mass", "chHEF", "neHEF", "btagDeepFlavB"), ()),
    "Muon": (0.25, 5.0, 25.0, ("mass", "pfRelIso04_all"), ("charge", "looseId", "tightId")),
    "Electron": (0.2, 5.0, 25.0, ("mass",), ("charge", "cutBased")),
    "Photon": (0.25, 10.0, 20.0, (), ("cutBased",)),
    "Tau": (0.2, 18.0, 20.0, ("mass",), ("charge", "idDeepTau2017v2p1VSjet")),
}


@dataclass(frozen=True)
class Spent:
    """One pass over the events: ``cpu_s`` of the workers, ``driver_s`` of the process that drives and merges."""

    cpu_s: float
    wall_s: float
    faults: int
    result: bytes
    driver_s: float = 0.0


def collection(rng: np.random.Generator, events: int, name: str) -> ak.Array:
    mean, threshold, scale, fractions, integers = COLLECTIONS[name]
    counts = rng.poisson(mean, events)
    total = int(counts.sum())
    columns = {
        "pt": threshold + rng.exponential(scale, total),
        "eta": rng.normal(0.0, 1.6, total),
        "phi": rng.uniform(-np.pi, np.pi, total),
    }
    columns |= {column: rng.beta(2.0, 3.0, total) for column in fractions}
    plain = {column: values.astype(np.float32) for column, values in columns.items()}
    plain |= {column: rng.integers(0, 5, total, dtype=np.int32) for column in integers}
    return ak.zip({column: ak.unflatten(values, counts) for column, values in plain.items()})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "monojet.root"
    rng, events = np.random.default_rng(3), EVENTS // CHUNKS
    with uproot.recreate(path) as file:
        for part in range(CHUNKS):
            content: dict[str, Any] = {
                "genWeight": rng.normal(1.0, 0.1, events).astype(np.float32),
                "Pileup_nTrueInt": rng.uniform(5.0, 60.0, events).astype(np.float32),
                "MET_pt": (50.0 + rng.exponential(150.0, events)).astype(np.float32),
                "MET_phi": rng.uniform(-np.pi, np.pi, events).astype(np.float32),
            }
            content |= {name: collection(rng, events, name) for name in COLLECTIONS}
            if part == 0:
                types = {name: v.dtype if isinstance(v, np.ndarray) else v.type for name, v in content.items()}
                file.mktree("Events", types, counter_name=lambda name: "n" + name)
            file["Events"].extend(content)
    for number in range(1, FILES):
        os.link(path, path.with_name(f"monojet-{number}.root"))
    return path.parent


@pytest.fixture(scope="module")
def processor(repository: Path) -> Any:
    loaded = load_document(repository / "jobs" / "quickstart.yml")
    found = load_processor(loaded)
    settings = SearchSettings(
        parameters=check_parameters(loaded, found.Parameters),
        systematics=("jet_energy_scale", "jet_energy_resolution"),
        signal_region=loaded.document.signal_region,
        split=SplitRule(seed=1, train_fraction=0.0, train_datasets=(), check_fraction=0.5),
        candidates=20,
    )
    return found(settings, None)


@pytest.fixture(scope="module")
def tasks(made: Path) -> list[Task]:
    paths = tuple(str(path) for path in sorted(made.iterdir()))
    plan = plan_chunks([DatasetFiles(RECORD, paths)], chunk_events=EVENTS // CHUNKS, whole_files=False)
    return [Task(chunk, RECORD, 0, None) for chunk in plan]


def used() -> tuple[float, int]:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime, found.ru_minflt


def bits(execution: Any) -> bytes:
    return b"".join(found.view(flow=True).tobytes() for _, found in sorted(execution.output["histograms"].items()))


def in_this_process(tasks: list[Task], payload: bytes) -> Spent:
    from darkop_dist.execution.backend import unpacked

    before, began = used(), time.perf_counter()
    execution = execute(tasks, unpacked(payload))
    after = used()
    return Spent(after[0] - before[0], time.perf_counter() - began, after[1] - before[1], bits(execution))


@contextmanager
def plain_process(tasks: list[Task], payload: bytes) -> Iterator[Callable[[], Spent]]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda: pool.submit(in_this_process, tasks, payload).result()


@contextmanager
def dask_workers(tasks: list[Task], processor: Any, workers: int) -> Iterator[Callable[[], Spent]]:
    settings = Execution(where="dask", workers=workers)
    with open_client(settings) as site:
        site.client.wait_for_workers(workers, timeout=60)

        def work() -> Spent:
            before, driver, began = site.client.run(used), time.process_time(), time.perf_counter()
            execution = execute(tasks, processor, settings, client=site.client)
            wall, driver = time.perf_counter() - began, time.process_time() - driver
            after = site.client.run(used)
            cpu = sum(after[worker][0] - before[worker][0] for worker in after)
            faults = sum(after[worker][1] - before[worker][1] for worker in after)
            return Spent(cpu, wall, faults, bits(execution), driver)

        yield work


@contextmanager
def two_processes(tasks: list[Task], payload: bytes) -> Iterator[Callable[[], Spent]]:
    """Halves of the work side by side, without Dask: what the machine itself can give."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:

        def work() -> Spent:
            began = time.perf_counter()
            halves = [numbered(tasks[: len(tasks) // 2]), numbered(tasks[len(tasks) // 2 :])]
            found = [future.result() for future in [pool.submit(in_this_process, half, payload) for half in halves]]
            cpu, faults = sum(spent.cpu_s for spent in found), sum(spent.faults for spent in found)
            return Spent(cpu, time.perf_counter() - began, faults, b"")

        yield work


def numbered(tasks: list[Task]) -> list[Task]:
    import dataclasses

    chunks = [dataclasses.replace(task.chunk, index=index) for index, task in enumerate(tasks)]
    return [dataclasses.replace(task, chunk=chunk) for task, chunk in zip(tasks, chunks, strict=True)]


@pytest.mark.benchmark(group="mono-jet over 8 million events, four ways in turns")
def test_dask_wastes_no_core(
    benchmark: BenchmarkFixture, tasks: list[Task], processor: Any, capsys: pytest.CaptureFixture
) -> None:
    from darkop_dist.execution.backend import by_value

    payload = by_value(processor)
    spent: dict[str, list[Spent]] = {}
    with ExitStack() as stack:
        ways = {
            "plain process": stack.enter_context(plain_process(tasks, payload)),
            "one worker": stack.enter_context(dask_workers(tasks, processor, 1)),
            "two workers": stack.enter_context(dask_workers(tasks, processor, 2)),
            "two processes": stack.enter_context(two_processes(tasks, payload)),
        }
        for work in ways.values():
            work()

        def turn() -> None:
            names = list(ways) if len(spent.get("plain process", ())) % 2 == 0 else list(reversed(ways))
            for name in names:
                spent.setdefault(name, []).append(ways[name]())

        benchmark.pedantic(turn, rounds=ROUNDS, iterations=1)
    expected = spent["plain process"][0].result
    assert all(one.result == expected for name in list(ways)[:3] for one in spent[name])
    numbers = summary(spent)
    benchmark.extra_info.update(numbers)
    with capsys.disabled():
        sys.stdout.write("\n" + table(spent) + "".join(f"{what}: {number:.3f}\n" for what, number in numbers.items()))


def table(spent: dict[str, list[Spent]]) -> str:
    lines = []
    for name, values in spent.items():
        faults = median(one.faults for one in values) / 1000
        lines.append(
            f"{name:14s} CPU {best(values, 'cpu_s'):.2f} s, wall {best(values, 'wall_s'):.2f} s, "
            f"this process CPU {best(values, 'driver_s'):.2f} s, {faults:.0f} k page faults\n"
        )
    return "".join(lines)


def best(values: list[Spent], what: str) -> float:
    return min(float(getattr(one, what)) for one in values)


def summary(spent: dict[str, list[Spent]]) -> dict[str, float]:
    pairs = zip(spent["plain process"], spent["one worker"], strict=True)
    return {
        "CPU efficiency of one worker (best of each; target 0.95)": best(spent["plain process"], "cpu_s")
        / best(spent["one worker"], "cpu_s"),
        "the same, median of the turns": median(plain.cpu_s / one.cpu_s for plain, one in pairs),
        "two workers over one (best wall; target 1.8)": best(spent["one worker"], "wall_s")
        / best(spent["two workers"], "wall_s"),
        "two plain processes over one (what the machine gives)": best(spent["plain process"], "wall_s")
        / best(spent["two processes"], "wall_s"),
    }
