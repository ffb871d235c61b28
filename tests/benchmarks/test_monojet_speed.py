"""The mono-jet search end to end against the raw read of its columns, and against ROOT's RDataFrame, in CPU seconds.

Run with: pytest tests/benchmarks/test_monojet_speed.py --benchmark-only --benchmark-json FILE (ratios
stand in its extra_info). The file has 500 k made-up events and 49
branches in ten baskets per branch (``tests/monojet_sample.py``). End to end is all that a worker does for its chunks:
opening, reading, selecting with three variations (nominal, jet energy scale up and down), 20 observables in three regions,
cutflow, plots without one cut, and packing the result of each of the two chunks of 250 k events. What a run costs once,
whatever its length, such as hashing the sources, is in ``whole_run_s``. Raw is ``uproot``'s ``TTree.arrays(library="ak")`` of the same columns and ranges:
with ``library="np"`` uproot makes an object of each list, which is ten times slower. The rounds alternate; the ratio is
that of the medians. Compiling is not in the ratio: it is measured by itself.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from pytest_benchmark.fixture import BenchmarkFixture
from ruamel.yaml import YAML

from darkop_dist.config import DatasetRecord
from darkop_dist.events.event_columns import EventColumns
from darkop_dist.events.read import open_events
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.split import SplitRule
from darkop_dist.execution import DatasetFiles, Task, execute, plan_chunks
from darkop_dist.execution.chunk import attempt_chunk
from darkop_dist.histograms import slice_of
from darkop_dist.stages.search import load_module

EVENTS, CHUNK, ROUNDS = 500_000, 250_000, 7
RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))
NO_SPLIT = SplitRule(seed=1, train_fraction=0.0, train_datasets=(), check_fraction=0.5)
VARIATIONS = ("nominal", "jet_energy_scale_up", "jet_energy_scale_down")
REGIONS = ("signal", "dimuon", "single_muon")


@dataclass(frozen=True)
class Search:
    """The search over one file.

    Attributes:
        path: the file.
        processor: the mono-jet processor.
        run: does the chunks one by one, as a worker does.
        whole_run: runs the search from plan to output.
        columns: names of the branches that it reads.
    """

    path: str
    processor: Any
    run: Callable[[], list[Any]]
    whole_run: Callable[[], dict[str, Any]]
    columns: tuple[str, ...]


@pytest.fixture(scope="module", params=["lz4", "zstd"])
def search(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    repository: Path,
    write_nanoaod: Callable[..., Path],
) -> Search:
    path = str(write_nanoaod(tmp_path_factory.mktemp("sample") / "a.root", EVENTS, compression=request.param))
    module = load_module(repository / "processors" / "monojet.py")
    parameters = YAML(typ="safe").load(repository / "jobs" / "quickstart.yml")["parameters"]
    settings = SearchSettings(
        module.MonoJetParameters.model_validate(parameters), ("jet_energy_scale",), None, NO_SPLIT, 10
    )
    processor = module.MonoJet(settings)
    assert len(processor.observables) == 20
    plan = plan_chunks([DatasetFiles(RECORD, (path,))], chunk_events=CHUNK, whole_files=False)
    tasks = [Task(chunk, RECORD, 0, None) for chunk in plan]
    wanted = processor.wanted(EventColumns(open_events(path, RECORD, 0, 10)))
    columns = tuple(name.replace(".", "_") for name in wanted)
    return Search(
        path,
        processor,
        lambda: [attempt_chunk(task, processor) for task in tasks],
        lambda: execute(tasks, processor).output,
        columns,
    )


def raw_read(search: Search) -> float:
    with uproot.open(search.path) as file:
        tree, total = file["Events"], 0.0
        for start in range(0, EVENTS, CHUNK):
            arrays = tree.arrays(list(search.columns), entry_start=start, entry_stop=start + CHUNK, library="ak")
            total += float(arrays["genWeight"][0])
    return total


def cpu_s(function: Callable[[], Any]) -> float:
    begin = time.process_time()
    function()
    return time.process_time() - begin


@pytest.mark.benchmark(group="mono-jet, 500 k events", timer=time.process_time)
def test_end_to_end_against_the_raw_read(benchmark: BenchmarkFixture, search: Search) -> None:
    first = cpu_s(search.run)
    output = search.whole_run()
    whole = float(np.median([cpu_s(search.whole_run) for _ in range(3)]))
    raw = [cpu_s(lambda: raw_read(search))]
    attempts = benchmark.pedantic(
        search.run, setup=lambda: raw.append(cpu_s(lambda: raw_read(search))), rounds=ROUNDS, iterations=1
    )
    assert [attempt.kind for attempt in attempts] == ["done", "done"]
    steps = output["cutflow"]["mc"]["signal"]
    assert sum(attempt.entry.selected["signal"] for attempt in attempts) == list(steps.values())[-1][0]
    assert steps["events read"][0] == EVENTS
    selected = list(steps.values())[-1][0]
    assert 0.02 * EVENTS < selected < 0.1 * EVENTS
    assert slice_of(output["histograms"]["recoil"], "mc", "signal")[0].sum() == pytest.approx(
        list(steps.values())[-1][1]
    )
    ours, theirs = float(benchmark.stats.stats.median), float(np.median(raw[1:]))
    benchmark.extra_info |= {
        "columns": len(search.columns),
        "first_run_s": first,
        "whole_run_s": whole,
        "raw_s": theirs,
        "ratio": theirs / ours,
    }


@pytest.mark.benchmark(group="mono-jet, 500 k events", timer=time.process_time)
def test_end_to_end_against_rdataframe(benchmark: BenchmarkFixture, search: Search) -> None:
    if importlib.util.find_spec("ROOT") is None:
        pytest.skip("ROOT is not installed: pip install ROOT")
    edges = json.dumps([[float(edge) for edge in observable.edges] for observable in search.processor.observables])
    script = Path(__file__).with_name("rdataframe_monojet.py")
    done = subprocess.run(
        [sys.executable, str(script), search.path, "3"], input=edges, capture_output=True, text=True, check=True
    )
    root = json.loads(done.stdout.splitlines()[-1])
    search.run()
    benchmark.pedantic(search.run, rounds=ROUNDS, iterations=1)
    output = search.whole_run()
    compared = 0
    for variation in VARIATIONS:
        for number, region in enumerate(REGIONS, start=1):
            label = f"{variation}/{number}"
            if variation == "nominal":
                assert list(output["cutflow"]["mc"][region].values())[-1][0] == root["content"][label][0]
            for name, histogram in output["histograms"].items():
                expected = root["content"].get(f"{label}/{name}")
                if expected is not None:
                    # The sums run in another order where ROOT reads in other ranges.
                    np.testing.assert_allclose(slice_of(histogram, "mc", region, variation)[0], expected, rtol=1e-12)
                    compared += 1
    assert compared == 3 * (15 + 19 + 18)
    ours, theirs = float(benchmark.stats.stats.median), float(np.median(root["cpu_s"]))
    benchmark.extra_info |= {"root_s": theirs, "root_compile_s": root["compile_cpu_s"], "times": theirs / ours}


@pytest.mark.benchmark(group="mono-jet, compiling")
def test_compiling_once_per_machine(benchmark: BenchmarkFixture, search: Search, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from ruamel.yaml import YAML\n"
        "from darkop_dist.config import DatasetRecord\n"
        "from darkop_dist.events.read import open_events\n"
        "from darkop_dist.events.settings import SearchSettings\n"
        "from darkop_dist.events.split import SplitRule\n"
        "from darkop_dist.stages.search import load_module\n"
        "root, path = Path(sys.argv[1]), sys.argv[2]\n"
        "module = load_module(root / 'processors' / 'monojet.py')\n"
        "found = YAML(typ='safe').load(root / 'jobs' / 'quickstart.yml')['parameters']\n"
        "split = SplitRule(seed=1, train_fraction=0.0, train_datasets=(), check_fraction=0.5)\n"
        "settings = SearchSettings(module.MonoJetParameters.model_validate(found), ('jet_energy_scale',), None, split, 10)\n"
        "events = open_events(path, DatasetRecord(name='mc', kind='simulation', files=('x',)), 0, 1000)\n"
        "begin = time.process_time()\n"
        "module.MonoJet(settings).process(events)\n"
        "print(time.process_time() - begin)\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def run() -> float:
        command = [sys.executable, "-W", "ignore", "-c", script, str(root), search.path]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1])

    compiled = run()
    cached = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info |= {"compile_cpu_s": compiled, "from_cache_cpu_s": cached}
    assert cached < compiled


def test_the_raw_read_of_the_benchmark_reads_what_the_search_reads(search: Search) -> None:
    arrays = uproot.open(search.path)["Events"].arrays(list(search.columns), entry_stop=100, library="ak")
    events = EventColumns(open_events(search.path, RECORD, 0, 100))
    assert len(search.columns) == 32
    assert ak.flatten(arrays["Jet_pt"]).to_list() == events.per_object("Jet.pt").tolist()
