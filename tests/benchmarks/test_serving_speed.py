"""Scores from a pool against scores in the process: call by call in turn, the same events, the scores compared.

    pytest tests/benchmarks/test_serving_speed.py --benchmark-only -s

Starts ``darkop serve`` with two models: the Fourier neural operator on fields and a mixture on 57 columns. Ratios are
medians of the calls in the process over medians of the calls to the pool; in the process, a batch is scored in the same
slices as the client sends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.checkpoint import save_checkpoint
from darkop_dist.operators.training import Provenance, fit_density
from darkop_dist.scoring.contract import Batch, Scorer
from darkop_dist.scoring.remote.scorer import RemoteScorer, pieces_of
from darkop_dist.scoring.resolve import resolve

FNO, MIXTURE = "cylinder-fno-v1", "mixture-57"
COLUMNS = 57
CALLS = 15
MAIN = "from darkop_dist.cli import main; main()"
TARGETS = {
    ("ray", MIXTURE, 100_000): 0.90, ("ray", MIXTURE, 10_000): 0.60, ("http", MIXTURE, 100_000): 0.60,
    ("ray", FNO, 256): 0.90, ("http", FNO, 256): 0.90,
}  # fmt: skip


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a mixture on columns of which nobody knows the meaning."""
    return density_checkpoint(tmp_path_factory.mktemp("checkpoints") / MIXTURE)


@pytest.fixture(scope="module")
def pool(mixture: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("pool")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    began = time.monotonic()
    with (folder / "said").open("w") as said, (folder / "told").open("w") as told:
        command = [sys.executable, "-c", MAIN, "serve", FNO, f"{MIXTURE}={mixture}", "--port", "0", "--json"]
        process = subprocess.Popen(command, stdout=said, stderr=told, env=environment, start_new_session=True)
    try:
        while not (folder / "said").read_text().endswith("}\n"):
            assert process.poll() is None, (folder / "told").read_text()
            assert time.monotonic() < began + 90
            time.sleep(0.05)
        found = json.loads((folder / "said").read_text())
        yield {**found, "began": began, "pid": process.pid}
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()


def density_checkpoint(folder: Path) -> Path:
    spec = ModelInput(
        name="columns",
        shape=(COLUMNS,),
        meaning="numbers of no meaning",
        representation="columns",
        settings={"columns": [f"c{number}" for number in range(COLUMNS)], "transforms": ["identity"] * COLUMNS},
    )
    drawn = np.random.default_rng(2).exponential(size=(4000, COLUMNS)).astype(np.float32)
    provenance = Provenance(datasets=("exponential numbers",), selection="none")
    fitted = fit_density(drawn, input_spec=spec, name=MIXTURE, provenance=provenance, seed=1)
    return save_checkpoint(fitted, folder)


@pytest.mark.parametrize(
    ("model", "events"), [(FNO, 16), (FNO, 64), (FNO, 256), (MIXTURE, 1000), (MIXTURE, 10_000), (MIXTURE, 100_000)]
)
def test_ratio(benchmark: Any, pool: dict[str, Any], mixture: Path, model: str, events: int) -> None:
    checkpoint = FNO if model == FNO else mixture
    local, remote = resolve(checkpoint), resolve(checkpoint, pool["http"])
    assert isinstance(remote, RemoteScorer)
    ways: dict[str, Callable[[Batch], Any]] = {"local": lambda given: in_slices(local, remote, given)}
    ways["http"] = remote.score
    ways["ray"] = resolve(checkpoint, f"ray://{pool['ray']}").score
    spec = local.inputs[0]
    batch = {spec.name: np.random.default_rng(1).exponential(size=(events, *spec.shape)).astype(np.float32)}
    expected = local.score(batch)
    taken: dict[str, list[float]] = {way: [] for way in ways}

    def in_turn() -> None:
        for way, score in ways.items():
            began = time.perf_counter()
            scores = score(batch)
            taken[way].append(time.perf_counter() - began)
            np.testing.assert_array_equal(scores, expected)

    in_turn()
    benchmark.pedantic(in_turn, rounds=CALLS, warmup_rounds=1)
    medians = {way: float(np.median(seconds[2:])) for way, seconds in taken.items()}
    for way in ("ray", "http"):
        target = TARGETS.get((way, model, events))
        told = "" if target is None else f" (target {target:.2f})"
        ratio = medians["local"] / medians[way]
        benchmark.extra_info[way] = round(ratio, 3)
        line = (
            f"{model:16} {events:7} {way:5} {1e3 * medians[way]:8.1f} ms, in process {1e3 * medians['local']:8.1f} ms"
        )
        sys.stdout.write(f"\n{line}: {ratio:.2f}{told}")


def in_slices(local: Scorer, remote: RemoteScorer, batch: Batch) -> npt.NDArray[np.float32]:
    """Scores in the process, of the pieces that the client would send."""
    return np.concatenate([local.score(part) for part, _ in pieces_of(batch, remote.description)])


def test_start_and_memory(benchmark: Any, pool: dict[str, Any]) -> None:
    scorer = resolve(FNO, pool["http"])
    spec = scorer.inputs[0]
    batch = {spec.name: np.ones((1, *spec.shape), dtype=np.float32)}
    benchmark.pedantic(scorer.score, args=(batch,), rounds=3)
    family = [psutil.Process(pool["pid"]), *psutil.Process(pool["pid"]).children(recursive=True)]
    shares = {}
    for one in family:
        with contextlib.suppress(psutil.Error):
            shares[" ".join(one.cmdline())[:40]] = one.memory_full_info().pss
    sys.stdout.write(f"\nmemory of {len(family)} processes: {sum(shares.values()) / 1e9:.2f} GB (PSS)\n")
