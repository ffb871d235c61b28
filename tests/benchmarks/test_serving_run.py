"""What scores from a pool add to a run.

The mono-jet search on one Dask worker without scores, with scores from a pool over HTTP and over Ray, and with scores in
the worker, in turns; the histograms with scores are compared.

    pytest tests/benchmarks/test_serving_run.py --benchmark-only -s

The worker has the first core to itself and the pool the second one, so that neither takes time from the other, as where
they are on different machines; the replica's share of its core is printed, for the pool must not be what the run waits
for. Events are those of ``tests/monojet_sample.py``; how many of them are scored is printed too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import pytest

from darkop_dist.config import DatasetRecord, Execution, check_parameters, load_document
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.split import SplitRule
from darkop_dist.execution import DatasetFiles, Task, execute, plan_chunks
from darkop_dist.execution.sites import open_client
from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.checkpoint import save_checkpoint
from darkop_dist.operators.training import Provenance, fit_density
from darkop_dist.scoring.resolve import resolve
from darkop_dist.stages.search import load_processor

EVENTS = int(os.environ.get("DARKOP_BENCHMARK_EVENTS", "250000"))
CHUNK, ROUNDS = 250_000, 5
FILES = {"zstd": 16, "lzma": 4}
MODEL, COLUMNS = "mixture-met", ("MET.pt", "MET.phi")
MAIN = "from darkop_dist.cli import main; main()"
RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))


@pytest.fixture(scope="module", params=["zstd", "lzma"])
def files(request: Any, write_nanoaod: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The same events twice: as quick to read as they can be, and as slow as CMS's PFNano, which is LZMA."""
    made, copies = tmp_path_factory.mktemp("made") / "0.root", FILES[request.param]
    first = write_nanoaod(made, EVENTS, compression=request.param)
    for number in range(1, copies):
        os.link(first, first.with_name(f"{number}.root"))
    return tuple(str(path) for path in sorted(first.parent.iterdir()))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture on the missing momentum: it takes some 15 us of an event, the Fourier operator 200 us."""
    spec = ModelInput(
        name="columns",
        shape=(len(COLUMNS),),
        meaning="missing momentum",
        representation="columns",
        settings={"columns": list(COLUMNS), "transforms": {}},
    )
    drawn = np.random.default_rng(2).exponential(200.0, size=(4000, len(COLUMNS))).astype(np.float32)
    provenance = Provenance(datasets=("exponential numbers",), selection="none")
    fitted = fit_density(drawn, input_spec=spec, name=MODEL, provenance=provenance, seed=1)
    return save_checkpoint(fitted, tmp_path_factory.mktemp("checkpoints") / MODEL)


@pytest.fixture(scope="module")
def pool(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A pool whose processes all run on the second core."""
    folder = tmp_path_factory.mktemp("pool")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    began = time.monotonic()
    with (folder / "said").open("w") as said, (folder / "told").open("w") as told:
        command = ["taskset", "-c", "1", sys.executable, "-c", MAIN, "serve", str(checkpoint), "--port", "0", "--json"]
        process = subprocess.Popen(command, stdout=said, stderr=told, env=environment, start_new_session=True)
    try:
        while not (folder / "said").read_text().endswith("}\n"):
            assert process.poll() is None, (folder / "told").read_text()
            assert time.monotonic() < began + 120
            time.sleep(0.1)
        yield json.loads((folder / "said").read_text())
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()


def replica_s() -> float:
    """Processor seconds of the replica."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "ServeReplica:darkop" in " ".join(process.cmdline()):
                times = process.cpu_times()
                return times.user + times.system
    raise RuntimeError("there is no replica")


def bits(found: Any, names: Any) -> bytes:
    histograms = found.output["histograms"]
    return b"".join(histograms[name].view(flow=True).tobytes() for name in sorted(names))


@pytest.mark.benchmark(group="mono-jet with and without scores, in turns")
def test_what_scores_add(
    benchmark: Any, files: tuple[str, ...], checkpoint: Path, pool: dict[str, Any], repository: Path
) -> None:
    loaded = load_document(repository / "jobs" / "quickstart.yml")
    processor_class: Any = load_processor(loaded)
    settings = SearchSettings(
        parameters=check_parameters(loaded, processor_class.Parameters),
        systematics=("jet_energy_scale", "jet_energy_resolution"),
        signal_region=loaded.document.signal_region,
        split=SplitRule(seed=1, train_fraction=0.0, train_datasets=(), check_fraction=0.5),
        candidates=20,
    )
    plan = plan_chunks([DatasetFiles(RECORD, files)], chunk_events=CHUNK, whole_files=False)
    addresses = {"http": pool["http"], "ray": f"ray://{pool['ray']}", "process": "local"}
    scorers: dict[str, Any] = {"without": None} | {way: resolve(checkpoint, at) for way, at in addresses.items()}
    taken: dict[str, list[float]] = {way: [] for way in scorers}
    replica: dict[str, list[float]] = {way: [] for way in scorers}
    outputs: dict[str, Any] = {}
    where = Execution(where="dask", workers=1)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})  # the driver and, as its children, the worker
    try:
        with open_client(where) as site:
            site.client.wait_for_workers(1, timeout=60)

            def turn() -> None:
                for way, scorer in scorers.items():
                    fingerprint = None if scorer is None else scorer.fingerprint
                    tasks = [Task(chunk, RECORD, 0, fingerprint) for chunk in plan]
                    used, began = replica_s(), time.perf_counter()
                    outputs[way] = execute(
                        tasks,
                        processor_class(settings, scorer),
                        where,
                        client=site.client,
                        waits=way in ("http", "ray"),
                    )
                    taken[way].append(time.perf_counter() - began)
                    replica[way].append(replica_s() - used)

            turn()
            benchmark.pedantic(turn, rounds=ROUNDS, iterations=1)
    finally:
        os.sched_setaffinity(0, before)
    with_scores = outputs["process"].output["histograms"]
    for way in ("http", "ray"):
        assert bits(outputs[way], with_scores) == bits(outputs["process"], with_scores)
    alone = median(taken["without"][1:])
    scored = sum(outputs["http"].ledger.scored_by.values())
    told = f"\n{len(files) * EVENTS} events, {scored} scored; without scores {alone:.2f} s\n"
    for way in addresses:
        ratios = [one / other for one, other in zip(taken[way][1:], taken["without"][1:], strict=True)]
        share = median(replica[way][1:]) / median(taken[way][1:])
        target = "" if way == "process" else " (target 1.10)"
        told += (
            f"{way:8} {median(taken[way][1:]):.2f} s, {median(ratios):.3f} of that{target}; replica busy {share:.2f}\n"
        )
        benchmark.extra_info[way] = round(median(ratios), 3)
    sys.stdout.write(told)
