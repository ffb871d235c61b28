"""A run over a server and one from the cache: equal histograms, and the server is read once."""

import gc
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import pytest
from ruamel.yaml import YAML

import darkop_dist as do
from darkop_dist.catalogue.cache import FileCache
from darkop_dist.cli import main
from darkop_dist.config.datasets import DatasetFile, DatasetRecord
from darkop_dist.events.files import forget
from darkop_dist.execution import DatasetFiles
from darkop_dist.execution.plan import plan_chunks
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.cached import with_local_copies
from darkop_dist.stages.run_events import run_events
from darkop_dist.stages.search import prepare_search

FILES = {"Run2012B_SingleMu_1000.root": 1000, "nanoAOD_2015_CMS_Open_Data_ttbar.root": 200}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileCache]:
    monkeypatch.setenv("DARKOP_CACHE", str(tmp_path / "cache"))
    yield FileCache(tmp_path / "cache" / "downloads")
    forget()


def document_on(folder: Path, address: Callable[[str], str], data: Path, repository: Path) -> Path:
    """The mono-jet selection on collision data and simulation of a server."""
    body: Any = YAML(typ="safe").load(repository / "jobs" / "monojet_cms.yml")
    known = {name: file_of(data / name, address(name), events) for name, events in FILES.items()}
    body["datasets"] = [
        {"name": name.partition(".")[0], "kind": "data", "files": [file.model_dump(mode="json", exclude_none=True)]}
        for name, file in known.items()
    ]
    body |= {"operator": None, "systematics": [], "execution": {"workers": 1, "chunk_events": 300}}
    body |= {"processor": f"{repository}/processors/monojet.py:MonoJet", "report": {}}
    path = folder / "recoil.yml"
    path.write_text(json.dumps({key: value for key, value in body.items() if value is not None}))
    return path


def file_of(path: Path, address: str, events: int) -> DatasetFile:
    content = path.read_bytes()
    return DatasetFile(uri=address, bytes=len(content), adler32=f"{zlib.adler32(content):08x}", events=events)


def histograms_of(document: Path, folder: Path, *, cached: bool) -> Any:
    folder.mkdir()
    search = prepare_search(document, cached=cached)
    result = run_events(search, RunDirectory(folder), None)
    assert all(closure.processed == closure.expected for closure in result.ledger.closure())
    return contents(folder)


def contents(run_directory: Path) -> Any:
    return json.loads((run_directory / "histograms.json").read_text())


def compare_runs(address: Callable[[str], str], data: Path, folder: Path, repository: Path) -> Path:
    """Straight from the server, and through the cache."""
    document = document_on(folder, address, data, repository)
    straight = histograms_of(document, folder / "remote", cached=False)
    assert "recoil" in straight["histograms"]
    assert histograms_of(document, folder / "fetched", cached=True) == straight
    return document


def test_histograms_are_the_same_over_http_and_from_the_cache(
    shared_data: Path, flaky_server: Callable[[Path], Any], repository: Path, tmp_path: Path, cache: FileCache
) -> None:
    data = shared_data / "cms"
    server = flaky_server(data)
    document = compare_runs(server.url, data, tmp_path, repository)
    gc.collect()
    assert sorted((entry.name, entry.whole, entry.in_use) for entry in cache.entries()) == [
        (name, True, False) for name in sorted(FILES)
    ]
    server.mend()
    assert histograms_of(document, tmp_path / "alone", cached=True) == contents(tmp_path / "remote")
    assert server.requests == [], "files with checksums are read from the cache without a word to the server"


def test_histograms_are_the_same_over_xrootd_and_from_the_cache(
    shared_data: Path, xrootd_server: Callable[..., Any], repository: Path, tmp_path: Path, cache: FileCache
) -> None:
    server = xrootd_server(shared_data / "cms")
    compare_runs(server.url, shared_data / "cms", tmp_path, repository)
    assert sorted(entry.name for entry in cache.entries() if entry.whole) == sorted(FILES)
    straight = contents(tmp_path / "remote")
    over_http = document_on(tmp_path, server.http, shared_data / "cms", repository)
    assert histograms_of(over_http, tmp_path / "http", cached=True) == straight, "all addresses of a file share a copy"


PROCESSOR = """
import awkward as ak
import hist
from coffea import processor

class Jets(processor.ProcessorABC):
    def process(self, events):
        filled = hist.Hist.new.Reg(10, 0.0, 500.0, name="pt").Double()
        filled.fill(ak.to_numpy(ak.flatten(events.Jet.pt)))
        return {"pt": filled}

    def postprocess(self, accumulator):
        return accumulator
"""


def test_the_command_reads_from_the_cache(
    flaky_server: Callable[[Path], Any],
    write_nanoaod: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a processor of others, which draws no page."""
    (tmp_path / "served").mkdir()
    (tmp_path / "jets.py").write_text(PROCESSOR)
    content = write_nanoaod(tmp_path / "served" / "a.root", 500)
    server = flaky_server(tmp_path / "served")
    file = file_of(content, server.url("a.root"), 500).model_dump(mode="json", exclude_none=True)
    body = {
        "name": "Jets",
        "datasets": [{"name": "jets", "kind": "data", "files": [file]}],
        "processor": "jets.py:Jets",
    }
    (tmp_path / "jets.yml").write_text(json.dumps(body))

    def run(name: str, *options: str) -> str:
        monkeypatch.setattr(
            sys, "argv", ["darkop", "run", f"{tmp_path}/jets.yml", "--output", f"{tmp_path}/{name}", *options]
        )
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        return capsys.readouterr().out

    assert "cache: " not in run("straight")
    assert "are there" in run("fetched", "--cached")
    server.mend()
    (tmp_path / "jets.yml").write_text(json.dumps(body | {"access": {"cache": True}}))
    assert "cache: " not in run("copied"), "the document may say so too"
    assert server.requests == []
    outputs = [json.loads((tmp_path / name / "output.json").read_text()) for name in ("straight", "fetched", "copied")]
    assert outputs[0] == outputs[1] == outputs[2]
    assert "pt" in json.dumps(outputs[0])


def test_a_file_that_cannot_be_fetched_is_left_to_the_run(
    flaky_server: Callable[[Path], Any], write_nanoaod: Callable[..., Path], tmp_path: Path, cache: FileCache
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    write_nanoaod(served / "a.root", 50)
    write_nanoaod(served / "b.root", 60)
    server = flaky_server(served)
    wrong = DatasetFile(uri=server.url("b.root"), adler32="00000001")
    record = DatasetRecord(name="both", kind="data", files=(server.url("a.root"), wrong))
    said: list[str] = []
    (dataset,) = with_local_copies([DatasetFiles(record, record.uris)], said.append)
    assert any("cache: " in text and " are there" in text for text in said)
    assert list(dataset.local) == [server.url("a.root")]
    assert any("lost:" in text and "instead of 00000001" in text for text in said)
    chunks = plan_chunks([dataset], chunk_events=1000, whole_files=False)
    assert [chunk.path for chunk in chunks] == [dataset.local[server.url("a.root")], server.url("b.root")]
    assert [chunk.label for chunk in chunks] == ["a.root", "b.root"]
    assert chunks[0].replicas == (server.url("a.root"),)
    assert [entry.in_use for entry in cache.entries() if entry.whole] == [True]


def test_a_copy_that_vanishes_is_read_from_the_server(
    flaky_server: Callable[[Path], Any], write_nanoaod: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "served").mkdir()
    write_nanoaod(tmp_path / "served" / "a.root", 50)
    server = flaky_server(tmp_path / "served")
    record = DatasetRecord(name="one", kind="data", files=(server.url("a.root"),))
    (dataset,) = with_local_copies([DatasetFiles(record, record.uris)], lambda _: None)
    Path(dataset.local[server.url("a.root")]).unlink()
    (chunk,) = plan_chunks([dataset], chunk_events=1000, whole_files=False)
    assert chunk.path == server.url("a.root")


def test_events_keep_their_files_in_the_cache(
    flaky_server: Callable[[Path], Any], write_nanoaod: Callable[..., Path], tmp_path: Path, cache: FileCache
) -> None:
    (tmp_path / "served").mkdir()
    write_nanoaod(tmp_path / "served" / "a.root", 50)
    server = flaky_server(tmp_path / "served")
    remote = do.load_opendata(server.url("a.root"), max_events=20)
    events = do.load_opendata(server.url("a.root"), max_events=20, cached=True)
    chosen = events[5:]
    del events
    gc.collect()
    assert cache.clear() == ()
    server.mend()
    assert ak.to_list(chosen.Jet.pt) == ak.to_list(remote.Jet.pt)[5:]
    del chosen
    gc.collect()
    assert [entry.name for entry in cache.clear()] == ["a.root"]
