"""Searches whose events are scored in the process, over HTTP and over Ray: the same histograms, to the last bit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from darkop_dist.execution.ledger import load_ledger
from darkop_dist.runs import has_results, partial_run
from darkop_dist.scoring.remote.fallback import FALLBACK
from darkop_dist.stages.pipeline import Request, run_search

Run = Callable[..., Any]
RUN = "from darkop_dist.cli import main; import sys; sys.exit(main())"
REAL = ("Run2012B_SingleMu_1000.root", "nanoAOD_2015_CMS_Open_Data_ttbar.root")
SELECT = """
import sys
from pathlib import Path
from darkop_dist.runs import RunDirectory
from darkop_dist.scoring.resolve import resolve
from darkop_dist.stages.run_events import run_events
from darkop_dist.stages.search import prepare_search
document, folder, serve = sys.argv[1:]
Path(folder).mkdir()
run_events(prepare_search(Path(document)), RunDirectory(Path(folder)), resolve("cylinder-fno-v1", serve))
"""

SCORE = """
import hashlib, sys
import numpy as np
from darkop_dist.scoring.resolve import resolve
checkpoint, *ways = sys.argv[1:]
for way in ways:
    scorer = resolve(checkpoint, way)
    rng = np.random.default_rng(8)
    batch = {one.name: rng.exponential(300.0, (100_000, *one.shape)).astype(one.dtype) for one in scorer.inputs}
    scores = scorer.score(batch)
    print(scores.shape, len(np.unique(scores)) > 50_000, hashlib.sha256(scores.tobytes()).hexdigest())
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def zprime(write_search: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained its model and scored in the process."""
    folder = tmp_path_factory.mktemp("zprime")
    run_search(Request(write_search(folder), folder / "local", page=False))
    return folder


@pytest.fixture(scope="module")
def served(zprime: Path, start_pool: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    models = (f"trained={zprime / 'local' / 'operator'}", "cylinder-fno-v1")
    if not (zprime / "local" / "operator").exists():
        models = (f"trained={checkpoint_of(zprime / 'local')}", "cylinder-fno-v1")
    with start_pool(*models, folder=tmp_path_factory.mktemp("pool")) as pool:
        yield pool


def checkpoint_of(run: Path) -> Path:
    return next(path.parent for path in run.rglob("card.json"))


def found(run: Path) -> Mapping[str, Any]:
    """Everything that scores decide: histograms and counts, candidates, cutflow, the digest of the ledger."""
    histograms = json.loads((run / "histograms.json").read_text())
    histograms.pop("written_by", None)
    return {
        "histograms": histograms,
        "candidates": pq.read_table(run / "candidates.parquet").to_pydict(),
        "cutflow": json.loads((run / "cutflow.json").read_text()),
        "ledger": load_ledger(run / "ledger.json").digest,
    }


def darkop(*arguments: str, served: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RAY_ADDRESS": served.ray}
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=240,
    )


def rewritten(document: Path, name: str, operator: Mapping[str, Any]) -> Path:
    body: Any = YAML(typ="safe").load(document)
    path = document.with_name(name)
    path.write_text(json.dumps({**body, "operator": operator}))
    return path


@pytest.mark.parametrize("way", ["http", "ray"])
def test_the_zprime_search(zprime: Path, served: Any, way: str) -> None:
    operator = {"checkpoint": str(checkpoint_of(zprime / "local")), "serve": served.http if way == "http" else "ray"}
    local = rewritten(document_in(zprime), "checkpoint.yml", {**operator, "serve": "local"})
    document = rewritten(document_in(zprime), f"{way}.yml", operator)
    if not (zprime / "by-checkpoint").exists():
        run_search(Request(local, zprime / "by-checkpoint", page=False))
    done = darkop("run", str(document), "--output", str(zprime / way), served=served)
    assert done.returncode == 0, done.stderr
    assert found(zprime / way) == found(zprime / "by-checkpoint")
    ways = load_ledger(zprime / way / "ledger.json").scored_by
    assert set(ways) == {served.http if way == "http" else "ray"}
    assert ways == {next(iter(ways)): sum(load_ledger(zprime / "by-checkpoint" / "ledger.json").scored_by.values())}


def test_a_hundred_thousand_events(zprime: Path, served: Any) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ways = ("local", served.http, f"ray://{served.ray}")
    command = [sys.executable, "-c", SCORE, str(checkpoint_of(zprime / "local")), *ways]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    local, http, ray = done.stdout.splitlines()
    assert local.startswith("(100000,) True ")
    assert http == local
    assert ray == local
    assert "Traceback" not in done.stderr, "Ray leaves without complaints"


def test_a_model_that_the_run_trains_is_served_before_it_goes_on(zprime: Path, served: Any) -> None:
    body: Any = YAML(typ="safe").load(document_in(zprime))
    operator = {"train": {**body["operator"]["train"], "seed": 4}, "serve": served.http}
    document, output = rewritten(document_in(zprime), "train.yml", operator), zprime / "trained-and-served"
    stopped = darkop("run", str(document), "--output", str(output), served=served)
    assert stopped.returncode == 2
    said = re.search(r"the run's own model, .* is not served at http://127.*darkop serve (\S+), then", stopped.stderr)
    assert said is not None, stopped.stderr
    checkpoint = said[1]
    updated = darkop("serve", f"own={checkpoint}", "--update", served.ray, served=served)
    assert updated.returncode == 0, updated.stderr
    done = darkop("run", str(document), "--output", str(output), "--resume", served=served)
    assert done.returncode == 0, done.stderr
    assert set(load_ledger(output / "ledger.json").scored_by) == {served.http}
    alone = rewritten(document_in(zprime), "alone.yml", {**operator, "serve": "local"})
    run_search(Request(alone, zprime / "alone", page=False))
    assert found(output) == found(zprime / "alone")


def test_the_mono_jet_selection_on_real_files_and_made_up_ones(
    served: Any, shared_data: Path, repository: Path, write_nanoaod: Run, tmp_path: Path
) -> None:
    body: Any = YAML(typ="safe").load(repository / "jobs" / "monojet_cms.yml")
    files = [*(shared_data / "cms" / name for name in REAL), write_nanoaod(tmp_path / "made.root", 4000)]
    body["datasets"] = [{"name": path.stem, "kind": "data", "files": [str(path)]} for path in files]
    body |= {"systematics": [], "execution": {"workers": 1, "chunk_events": 300}}
    body |= {"processor": f"{repository}/processors/monojet.py:MonoJet", "report": {}}
    for key in ("limits", "anomaly_detection", "backgrounds"):
        body.pop(key, None)
    document = tmp_path / "monojet.yml"
    document.write_text(json.dumps(body))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RAY_ADDRESS": served.ray}
    results = {}
    for way, serve in (("local", "local"), ("http", served.http), ("ray", "ray")):
        command = [sys.executable, "-c", SELECT, str(document), str(tmp_path / way), serve]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        results[way] = found(tmp_path / way)
    assert results["http"] == results["local"]
    assert results["ray"] == results["local"]
    assert load_ledger(tmp_path / "http" / "ledger.json").scored_by[served.http] > 100


def document_in(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.suffix in (".yml", ".yaml") and "search" in path.name)


PARTS = 8
PATIENT = {"deadline_s": 120.0, "tries": 60}


@pytest.fixture
def harmed(zprime: Path, start_pool: Run, tmp_path: Path) -> Iterator[Any]:
    """Two replicas that take few events at a time, so that a run is long enough for what happens to them."""
    limits = ("--replicas", "2", "--cpus", "0.5", "--max-events", "10")
    with start_pool(f"trained={checkpoint_of(zprime / 'local')}", *limits, folder=tmp_path) as pool:
        yield pool


@pytest.fixture
def in_parts(zprime: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes documents of the search with the background in several files, and so in several chunks."""
    body: Any = YAML(typ="safe").load(document_in(zprime))
    (background,) = (one for one in body["datasets"] if one["name"] == "background")
    head, *lines = (zprime / "background.csv").read_text().splitlines()
    background["files"] = [str(tmp_path / f"background-{part}.csv") for part in range(PARTS)]
    for part, name in enumerate(background["files"]):
        Path(name).write_text("\n".join([head, *lines[part::PARTS]]) + "\n")
    for dataset in body["datasets"]:
        dataset["files"] = [str(zprime / name) for name in dataset["files"]]

    def write(name: str, serve: Any) -> Path:
        operator = {"checkpoint": str(checkpoint_of(zprime / "local")), "serve": serve}
        path = tmp_path / name
        path.write_text(json.dumps({**body, "operator": operator, "execution": {"workers": 1}}))
        return path

    return write


def begin(document: Path, output: Path, served: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RAY_ADDRESS": served.ray}
    command = [sys.executable, "-c", RUN, "run", str(document), "--output", str(output)]
    with output.with_suffix(".err").open("w") as told:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told, env=environment)


def ended(process: subprocess.Popen[str], output: Path) -> tuple[int, str]:
    return process.wait(300), " ".join(output.with_suffix(".err").read_text().split())


def have_begun(*outputs: Path) -> bool:
    """Each of the runs has the result of a chunk; the others are still to come."""
    return all(has_results(partial_run(output)) for output in outputs)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_histograms_when_replicas_and_the_proxy_are_killed(
    harmed: Any, in_parts: Callable[..., Path], tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    run_search(Request(in_parts("alone.json", "local"), alone, page=False))
    ways = {"http": harmed.http, "ray": "ray"}
    runs = {
        way: begin(in_parts(f"{way}.json", {"at": at, **PATIENT}), tmp_path / way, harmed) for way, at in ways.items()
    }
    until(lambda: have_begun(*(tmp_path / way for way in runs)))
    for kind in ("ServeReplica:darkop", "ProxyActor"):
        harmed.processes(kind)[0].kill()
        assert all(one.poll() is None for one in runs.values()), "the fault came too late"
    for way, process in runs.items():
        status, told = ended(process, tmp_path / way)
        assert status == 0, told
        assert found(tmp_path / way) == found(alone)
        assert set(load_ledger(tmp_path / way / "ledger.json").scored_by) == {ways[way]}


def test_histograms_when_the_whole_pool_is_killed(harmed: Any, in_parts: Callable[..., Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    run_search(Request(in_parts("alone.json", "local"), alone, page=False))
    hasty = {"at": harmed.http, "deadline_s": 15.0, "tries": 3}
    bridged = begin(in_parts("bridged.json", {**hasty, "fallback": "local"}), tmp_path / "bridged", harmed)
    strict = begin(in_parts("strict.json", hasty), tmp_path / "strict", harmed)
    until(lambda: have_begun(tmp_path / "bridged", tmp_path / "strict"))
    kinds = ("gcs_server", "raylet/raylet", "ServeReplica", "ProxyActor", "ServeController")
    for process in [one for kind in kinds for one in harmed.processes(kind)]:  # they lose their parent with the raylet
        process.kill()
    assert bridged.poll() is None
    assert strict.poll() is None
    status, told = ended(strict, tmp_path / "strict")
    assert status != 0
    assert "no scores: http://127.0.0.1" in told
    assert "fallback: local" in told
    status, told = ended(bridged, tmp_path / "bridged")
    assert status == 0, told
    assert found(tmp_path / "bridged") == found(alone)
    ways = load_ledger(tmp_path / "bridged" / "ledger.json").scored_by
    assert set(ways) == {harmed.http, FALLBACK}
    assert sum(ways.values()) == sum(load_ledger(alone / "ledger.json").scored_by.values())
    resumed = in_parts("strict.json", "local")  # what was lost is scored here, what was kept is taken up
    done = darkop("run", str(resumed), "--output", str(tmp_path / "strict"), "--resume", served=harmed)
    assert done.returncode == 0, done.stderr
    assert found(tmp_path / "strict") == found(alone)
