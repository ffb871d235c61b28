"""100 000 results of chunks become one: seconds and memory, with the sum checked exactly.

Each result is of one of 5 datasets and has 20 observables of 50 bins x 3 variations x 3 regions with weights, score counts
of 100 bins x 3 regions x 3 splits, a cutflow of 8 steps, a note, and 100 candidates in each of 3 regions. 2000 different
results are written; hard links make them 100 000 files of a store, so the disk is mostly read from memory. They merge as a
run merges them, from the store and back to it through the tree of fan-in 32, in one process.

Run with: pytest tests/benchmarks/test_merge_speed.py --benchmark-only -s
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.execution.store import ChunkStore
from darkop_dist.histograms import Observable, OutputBuilder, candidates_of
from darkop_dist.histograms.packed import Packed, pack, unpack
from darkop_dist.histograms.packed.container import raw_bytes
from darkop_dist.histograms.packed.writing import pack_payload

DATASETS = ("data", "z-nunu", "w-lnu", "ttbar", "signal")
REGIONS = ("signal", "one muon", "two muons")
VARIATIONS = ("nominal", "jet_energy_scale_up", "jet_energy_scale_down")
SPLITS = ("train", "calibrate", "check")
BINS, SCORE_BINS, MOST = 50, 100, 100
DISTINCT, LINKS = 2000, 50  # links of one file lie in one place

MERGE = """
import hashlib, json, sys, time
from pathlib import Path
from darkop_dist.execution.merge import merge_results
from darkop_dist.execution.tree import MergeTree, Ref
from darkop_dist.generation.rates import peak_bytes

store, count = Path(sys.argv[1]), int(sys.argv[2])
start, cpu = time.perf_counter(), time.process_time()
tree = MergeTree(count)
for number in range(count):
    job = tree.complete(0, number, Ref(hashlib.sha256(str(number).encode()).hexdigest(), leaf=True))
    while job is not None:
        merged = merge_results(job, store, 256)
        assert not merged.missing and not merged.problem, merged
        job = tree.complete(job.level, job.group, Ref(job.key, leaf=False))
spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
print(json.dumps({**spent, "key": tree.root.key, "mb": peak_bytes() / 2**20}))
"""


def template(dataset: str) -> Packed:
    """A result with every region, variation and split, to be given other numbers."""
    observables = [
        Observable(f"observable {number}", tuple(np.linspace(0, 1, BINS + 1)), "$x$") for number in range(20)
    ]
    builder = OutputBuilder(dataset, observables, tuple(np.linspace(0, 1, SCORE_BINS + 1)), most_candidates=MOST)
    for region in REGIONS:
        for variation in VARIATIONS:
            for observable in (*observables, Observable("score", (0.0, 1.0), "score")):
                builder.fill(observable.name, region, variation, np.full(1, 0.5), np.ones(1))
        for split in SPLITS:
            builder.count_scores(region, split, np.full(1, 0.5, np.float32))
        for step in range(8):
            builder.cut(region, f"step {step}", np.ones(1))
    builder.note("something", 1)
    return pack({"output": builder.output(), "entries": {dataset: 1}})


def candidates(rng: np.random.Generator, dataset: str, name: str) -> tuple[Any, np.ndarray]:
    """Candidates of all regions, and the scores of the signal region."""
    found, scores = None, np.zeros(0)
    for region in REGIONS:
        drawn = np.sort(rng.uniform(size=MOST).astype(np.float32))
        numbers = {key: rng.integers(1, 10**9, MOST) for key in ("run", "luminosity_block", "event", "entry")}
        more = candidates_of(
            dataset=dataset, region=region, file=name, splits=np.full(MOST, "check"), numbers=numbers, scores=drawn, weights=np.ones(MOST),
            observables={f"observable {number}": rng.uniform(size=MOST) for number in range(5)}, most=MOST,
        )  # fmt: skip
        found, scores = (more if found is None else found + more), (drawn if region == "signal" else scores)
    return found, scores


class Written:
    """What was written, summed by numpy alone: numbers by dataset and bucket, and scores by dataset."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(4)
        self.templates = {dataset: template(dataset) for dataset in DATASETS}
        self.numbers: dict[str, dict[str, np.ndarray]] = {}
        self.scores: dict[str, list[np.ndarray]] = {dataset: [] for dataset in DATASETS}
        self.nbytes = 0
        store = ChunkStore(folder)
        for number in range(DISTINCT):
            # Chunks of one dataset follow each other, as in a plan, but for every tenth: datasets also meet in one node.
            dataset = DATASETS[number // 10 % 5 if number % 10 == 0 else number * 5 // DISTINCT]
            data = self._result(rng, dataset, f"{number}.root").to_bytes()
            self.nbytes += len(data) * LINKS
            places = [
                store.place("chunks", sha256(str(link * DISTINCT + number).encode()).hexdigest())
                for link in range(LINKS)
            ]
            store.write("chunks", places[0].name, {}, data)
            for place in places[1:]:
                place.parent.mkdir(exist_ok=True)
                os.link(places[0], place)

    def _result(self, rng: np.random.Generator, dataset: str, name: str) -> Packed:
        """Half of the cells filled. Sums of weights have 34 bits, so that 100 000 of them add exactly in any order."""
        empty = self.templates[dataset]
        numbers = {}
        for bucket, array in empty.numbers.items():
            whole = rng.integers(0, 1 << 34, array.size) * rng.integers(0, 2, array.size)
            numbers[bucket] = whole / 1024 if bucket == "<f8" else whole >> 20
            total = self.numbers.setdefault(dataset, {}).setdefault(bucket, np.zeros_like(array))
            total += numbers[bucket] * LINKS
        kept, scores = candidates(rng, dataset, name)
        self.scores[dataset].append(scores)
        return replace(empty, numbers=numbers, joined=(raw_bytes(pack_payload(kept)),))

    def check(self, content: dict[str, Any]) -> None:
        output = content["output"]
        for dataset, numbers in self.numbers.items():
            expected = unpack(replace(self.templates[dataset], numbers=numbers))
            assert content["entries"][dataset] == expected["entries"][dataset]
            expected = expected["output"]
            pairs = [(output["histograms"][name], histogram) for name, histogram in expected["histograms"].items()]
            for found, wanted in [*pairs, (output["score_counts"], expected["score_counts"])]:
                assert list(found.axes[1]) == list(wanted.axes[1])
                one = np.asarray(found.view(flow=True))[found.axes[0].index(dataset)]
                assert one.tobytes() == np.asarray(wanted.view(flow=True))[0].tobytes()
            assert output["notes"][dataset] == expected["notes"][dataset]
            for region, steps in expected["cutflow"][dataset].items():
                for step, values in steps.items():
                    assert np.array_equal(output["cutflow"][dataset][region][step], values)
            rows = [
                row
                for row in output["candidates"].table.to_pylist()
                if (row["dataset"], row["region"]) == (dataset, "signal")
            ]
            highest = np.repeat(np.sort(np.concatenate(self.scores[dataset]))[::-1], LINKS)[:MOST]
            assert np.array_equal(np.array([row["score"] for row in rows], np.float32), highest)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written]:
    folder = tmp_path_factory.mktemp("results")
    return folder, Written(folder)


@pytest.mark.benchmark(group="merge 100 000 results")
def test_merge_of_100_000_results(benchmark: BenchmarkFixture, written: tuple[Path, Written]) -> None:
    folder, expected = written

    def merge_all() -> dict[str, Any]:
        command = [sys.executable, "-c", MERGE, str(folder), str(DISTINCT * LINKS)]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))

    spent = benchmark.pedantic(merge_all, rounds=1)
    merged = ChunkStore(folder).read("nodes", spent["key"])
    assert merged is not None
    expected.check(unpack(merged.packed))
    benchmark.extra_info.update(spent, gb=expected.nbytes / 1e9)
    assert spent["mb"] < 1000
