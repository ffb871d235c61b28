"""A search gives the same histograms over xrootd, HTTP, S3 and from files, and takes what is good of what it is offered."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import darkop_dist as do
from darkop_dist.config import DatasetRecord
from darkop_dist.config.access import Access, Mirror
from darkop_dist.events.files import forget
from darkop_dist.execution import DatasetFiles, Task, execute, plan_chunks

FILES = {
    "SingleMu-2012B": "Run2012B_SingleMu_1000.root",
    "dy-2018": "nano_dy.root",
}
RECORD = DatasetRecord(name="data", kind="data", files=("x",))


PROCESSOR = """
import awkward as ak
import hist
from coffea import processor


class Spectra(processor.ProcessorABC):
    def process(self, events):
        pt = hist.Hist.new.StrCat([], growth=True, name="dataset").Reg(50, 0, 500, name="pt").Weight()
        met = hist.Hist.new.StrCat([], growth=True, name="dataset").Reg(50, 0, 500, name="met").Weight()
        name = events.metadata["dataset"]
        jets = events.Jet[abs(events.Jet.eta) < 2.4]
        pt.fill(dataset=name, pt=ak.flatten(jets.pt))
        met.fill(dataset=name, met=events.MET.pt)
        return {"pt": pt, "met": met}

    def postprocess(self, accumulator):
        return accumulator
"""


class Counts:
    """Counts events and adds up a column."""

    def process(self, events: Any) -> dict[str, Any]:
        return {"events": len(events), "x": float(sum(events.x.tolist()))}


@pytest.fixture(autouse=True)
def _forget() -> Any:
    yield
    forget()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("protocols")
    for name in FILES.values():
        (folder / name).write_bytes((shared_data / "cms" / name).read_bytes())
    return folder


def run(place: Path, prefix: str, access: dict[str, Any] | None = None) -> Any:
    """A processor of coffea's over three real files behind a prefix, from a document."""
    place.mkdir()
    (place / "spectra.py").write_text(PROCESSOR)
    document = {
        "name": "Spectra",
        "datasets": [{"name": name, "kind": "data", "files": [prefix + file]} for name, file in FILES.items()],
        "processor": "spectra.py:Spectra",
        "access": access or {},
    }
    (place / "search.yml").write_text(json.dumps(document))
    return do.run(place / "search.yml", output=place / "result")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Branch Photon_:RuntimeWarning")  # of coffea, about outreach files
def test_the_same_histograms_over_every_protocol(
    folder: Path,
    tmp_path: Path,
    xrootd_server: Callable[..., Any],
    flaky_server: Callable[[Path], Any],
    s3_server: Callable[..., Any],
) -> None:
    bucket = s3_server(folder, public=True)
    ways = {
        "file": (f"{folder}/", {}),
        "http": (flaky_server(folder).url(""), {}),
        "xrootd": (xrootd_server(folder).url(""), {}),
        "xrootd's http": (xrootd_server(folder).http(""), {}),
        "s3": (bucket.url(""), {"s3": {"endpoint": bucket.endpoint, "anonymous": True}}),
    }
    found = {way: run(tmp_path / str(n), *settings) for n, (way, settings) in enumerate(ways.items())}
    histograms = {way: json.loads((result.path / "output.json").read_text())["output"] for way, result in found.items()}
    counts = np.asarray(histograms["file"]["pt"]["storage"]["values"])
    assert counts.sum() > 1000
    for way in ways:
        assert histograms[way] == histograms["file"], way
        entries = json.loads(found[way].ledger.read_text())["entries"]
        assert {entry["status"] for entry in entries} == {"done"}
        assert all(entry["file"].startswith(ways[way][0]) for entry in entries)


def write(path: Path, value: float, compression: Any = None) -> None:
    """A thousand different numbers around a value, whose sum is a thousand times the value."""
    with uproot.recreate(path, compression=compression) as file:
        file.mktree("Events", {"x": np.dtype("f8")})
        file["Events"].extend({"x": value + np.arange(-499.5, 500.0) / 1024})


def spoil(path: Path) -> None:
    """Invert bits of the basket, which leaves size and identity as they are; its compression notices."""
    with uproot.open(path) as file:
        branch = file["Events"]["x"]
        start, size = int(branch.member("fBasketSeek")[0]), int(branch.member("fBasketBytes")[0])
    content = bytearray(path.read_bytes())
    content[start + 100 : start + size] = bytes(value ^ 0xFF for value in content[start + 100 : start + size])
    path.write_bytes(bytes(content))


def planned(path: str, access: Access, *replicas: str, events: int = 1000) -> tuple[Task, ...]:
    dataset = DatasetFiles(RECORD, (path,), {path: replicas} if replicas else {}, {path: 1000}, access=access)
    chunks = plan_chunks([dataset], chunk_events=events, whole_files=False)
    return tuple(Task(chunk, RECORD, 1, None, None, access) for chunk in chunks)


def test_a_good_copy_beside_bad_ones_is_taken_and_the_ledger_says_so(
    tmp_path: Path, xrootd_server: Callable[..., Any]
) -> None:
    for name in ("spoiled", "short", "good"):
        (tmp_path / name).mkdir()
        if name == "good":
            write(tmp_path / "good" / "a.root", 2.0, uproot.ZLIB(1))
    content = (tmp_path / "good" / "a.root").read_bytes()
    (tmp_path / "spoiled" / "a.root").write_bytes(content)
    spoil(tmp_path / "spoiled" / "a.root")
    (tmp_path / "short" / "a.root").write_bytes(content[: len(content) // 2])
    server = xrootd_server(tmp_path, own=True)
    mirror = Mirror(
        prefix=server.url("good/"), instead=tuple(server.url(f"{name}/") for name in ("none", "short", "spoiled"))
    )
    tasks = planned(server.url("good/a.root"), Access(mirrors=(mirror,)))
    done = execute(tasks, Counts(), store=tmp_path / "chunks")
    assert done.output == {"events": 1000, "x": 2000.0}
    (entry,) = done.ledger.entries
    assert (entry.status, entry.file) == ("retried", server.url("good/a.root"))
    assert "spoiled/a.root" in entry.reason
    server.stop()


def test_a_server_that_dies_in_the_run_is_replaced_by_its_mirror(
    tmp_path: Path, xrootd_server: Callable[..., Any], flaky_server: Callable[[Path], Any]
) -> None:
    (tmp_path / "served").mkdir()
    write(tmp_path / "served" / "a.root", 3.0)
    first, second = xrootd_server(tmp_path / "served", own=True), flaky_server(tmp_path / "served")
    mirror = Mirror(prefix=first.prefix, instead=(first.prefix, second.url("")))
    tasks = planned(first.url("a.root"), Access(mirrors=(mirror,), timeout_s=2.0), events=500)
    first.stop()
    done = execute(tasks, Counts(), store=tmp_path / "chunks")
    assert done.output == {"events": 1000, "x": 3000.0}
    for entry in done.ledger.entries:
        assert (entry.status, entry.file) == ("retried", second.url("a.root"))
        assert "Connection error" in entry.reason


def test_a_silent_server_is_replaced_by_its_mirror(tmp_path: Path, xrootd_server: Callable[..., Any]) -> None:
    (tmp_path / "served").mkdir()
    write(tmp_path / "served" / "a.root", 3.0)
    server = xrootd_server(tmp_path / "served", own=True)
    access = Access(
        mirrors=(Mirror(prefix=server.prefix, instead=(server.prefix, f"{tmp_path}/served/")),), timeout_s=1.0
    )
    tasks = planned(server.url("a.root"), access)
    server.stall()
    done = execute(tasks, Counts(), store=tmp_path / "chunks")
    assert done.output == {"events": 1000, "x": 3000.0}
    (entry,) = done.ledger.entries
    assert "does not answer in time" in entry.reason
    assert entry.file == str(tmp_path / "served" / "a.root")
    server.stop()


@pytest.mark.parametrize("protocol", ["http", "xrootd"])
def test_a_file_that_changes_between_plan_and_chunk(
    tmp_path: Path, protocol: str, xrootd_server: Callable[..., Any], flaky_server: Callable[[Path], Any]
) -> None:
    (tmp_path / "served").mkdir()
    path = tmp_path / "served" / "a.root"
    write(path, 1.0)
    server = flaky_server(path.parent) if protocol == "http" else xrootd_server(path.parent)
    tasks = planned(server.url("a.root"), Access())
    write(path.with_name("b.root"), 2.0)
    path.with_name("b.root").rename(path)
    (entry,) = execute(tasks, Counts(), store=tmp_path / "chunks").ledger.entries
    assert (entry.status, entry.reason) == ("failed", "is not the file that was planned")
    path.write_bytes(path.read_bytes() + b"more")
    forget()
    (entry,) = execute(tasks, Counts(), store=tmp_path / "more").ledger.entries
    assert entry.status == "failed"
    assert entry.reason.startswith(f"has {path.stat().st_size} bytes instead of ")


class Changes:
    """A processor that takes so long that its file changes meanwhile: the next chunk reads columns of another file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def process(self, events: Any) -> dict[str, Any]:
        total = float(sum(events.x.tolist()))
        if events.metadata["entrystart"] == 0:
            write(self.path, 2.0)
            os.utime(self.path, (1, 1))
        return {"events": len(events), "x": total}


def test_a_file_that_changes_within_a_run_over_http(tmp_path: Path, flaky_server: Callable[[Path], Any]) -> None:
    """Its columns have the old size and place: without a look at the server, the sum would silently be another."""
    (tmp_path / "served").mkdir()
    path = tmp_path / "served" / "a.root"
    write(path, 1.0)
    tasks = planned(flaky_server(path.parent).url("a.root"), Access(), events=500)
    done = execute(tasks, Changes(path), store=tmp_path / "chunks")
    first, second = done.ledger.entries
    assert (first.status, first.reason) == (
        "failed",
        "entries 0 to 500 cannot be read: changed on the server while it was read",
    )
    assert (second.status, second.reason) == (
        "failed",
        "entries 500 to 1000 cannot be read: is not the file that was planned",
    )
    assert done.output is None
