"""Many small chunks of real files with 947 and 1601 branches: what opening and schema cost per chunk, in CPU seconds.

Run with: pytest tests/benchmarks/test_wide_files.py --benchmark-only. The target is 0.05 s per chunk on 947 branches with
20 chunks per file, the first of which opens it; coffea's own way is measured beside it.
"""

import time
import warnings
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoEventsFactory
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.config import DatasetRecord
from darkop_dist.events.event_columns import EventColumns
from darkop_dist.events.files import forget
from darkop_dist.events.read import OpenDataSchema, open_events

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))
CHUNKS = 20
FILES = {"nanoAOD_2015_CMS_Open_Data_ttbar": 947, "nano_dimuon": 1601}


def ranges(path: str) -> list[tuple[int, int]]:
    with uproot.open(path) as file:
        edges = np.linspace(0, file["Events"].num_entries, CHUNKS + 1).astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


@pytest.mark.benchmark(group="open 20 chunks of a wide file", timer=time.process_time)
@pytest.mark.parametrize("name", FILES)
def test_darkop_opens_chunks_of_a_wide_file(benchmark: BenchmarkFixture, shared_data: Path, name: str) -> None:
    path = str(shared_data / "cms" / f"{name}.root")
    wanted = ranges(path)

    def chunks() -> list[ak.Array]:
        forget()
        return [open_events(path, RECORD, start, stop) for start, stop in wanted]

    found = benchmark.pedantic(chunks, rounds=3, warmup_rounds=1)
    benchmark.extra_info["cpu_s_per_chunk"] = benchmark.stats.stats.median / CHUNKS
    assert len(found[0].fields) > 30
    total = sum(float(EventColumns(chunk).per_object("Jet.pt").sum(dtype=float)) for chunk in found)
    with uproot.open(path) as file:
        assert len(file["Events"].keys()) == FILES[name]
        assert total == pytest.approx(float(ak.sum(ak.values_astype(file["Events"]["Jet_pt"].array(), float))))


@pytest.mark.benchmark(group="open 20 chunks of a wide file", timer=time.process_time)
@pytest.mark.parametrize("name", FILES)
def test_coffea_opens_chunks_of_a_wide_file(benchmark: BenchmarkFixture, shared_data: Path, name: str) -> None:
    path = str(shared_data / "cms" / f"{name}.root")
    wanted = ranges(path)

    def chunks() -> list[ak.Array]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [
                NanoEventsFactory.from_root(
                    {path: "Events"}, schemaclass=OpenDataSchema, entry_start=start, entry_stop=stop
                ).events()
                for start, stop in wanted
            ]

    found = benchmark.pedantic(chunks, rounds=1)
    benchmark.extra_info["cpu_s_per_chunk"] = benchmark.stats.stats.median / CHUNKS
    assert [len(chunk) for chunk in found] == [stop - start for start, stop in wanted]
