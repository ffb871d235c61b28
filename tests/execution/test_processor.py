"""Any coffea processor runs unchanged in our execution and gives what coffea's Runner gives."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import BaseSchema, NanoAODSchema
from coffea.processor.test_items import NanoEventsProcessor
from distributed import Client, LocalCluster

import darkop_dist as do
from darkop_dist.errors import ChunkError, InputFileError, InputValueError, LedgerError, OutputError
from darkop_dist.execution.filesets import files_of

# coffea's schema warns of every collection of NanoAOD that a file does not have
pytestmark = pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


def fileset(files: tuple[str, ...]) -> dict:
    return {"early": {"files": list(files[:3]), "metadata": {"year": 2016}}, "late": list(files[3:])}


def reference(files: tuple[str, ...], made: Any, **settings: Any) -> Any:
    runner = processor.Runner(
        processor.IterativeExecutor(status=False, retries=0), chunksize=250, metadata_cache={}, **settings
    )
    return runner(fileset(files), made, treename="Events")


@pytest.mark.parametrize("name", ["Dimuon", "Bookkeeping", "Columns", "coffea"])
@pytest.mark.parametrize("where", ["here", "dask"])
def test_the_same_result_as_coffeas_runner(
    others: ModuleType,
    muon_files: tuple[str, ...],
    client: Client,
    equal: Callable[[Any, Any], bool],
    name: str,
    where: str,
) -> None:
    made = NanoEventsProcessor(mode="virtual") if name == "coffea" else getattr(others, name)()
    result = do.run_processor(made, fileset(muon_files), chunk_events=250, client=client if where == "dask" else None)
    assert equal(result.output, reference(muon_files, made))
    assert [(c.dataset, c.chunks, c.closed, c.processed) for c in result.ledger.closure()] == [
        ("early", 12, True, 3000),
        ("late", 12, True, 3000),
    ]


def test_functions_and_flat_schemas(muon_files: tuple[str, ...], equal: Callable[[Any, Any], bool]) -> None:
    def count(events: ak.Array) -> dict:
        return {"events": len(events), "sum": np.sum(np.asarray(ak.sum(events.Muon_pt, axis=1), dtype=np.float64))}

    result = do.run_processor(count, fileset(muon_files), schema=BaseSchema, chunk_events=250)
    assert equal(result.output, reference(muon_files, count, schema=BaseSchema))


@pytest.mark.filterwarnings("ignore:Branch Photon_.* already exists:RuntimeWarning")
def test_real_collisions_in_full_nanoaod(shared_data: Path, equal: Callable[[Any, Any], bool]) -> None:
    """Coffea's own processor on its own test files, with the schema's cross references at work."""
    files = {
        "Data": [str(shared_data / "cms" / "nano_dimuon.root")],
        "ZJets": [str(shared_data / "cms" / "nano_dy.root")],
    }
    told = {
        "Data": {"checkusermeta": True, "someusermeta2": "world"},
        "ZJets": {"checkusermeta": True, "someusermeta": "hello"},
    }
    whole = {name: {"files": found, "metadata": told[name], "treename": "Events"} for name, found in files.items()}
    made = NanoEventsProcessor(mode="virtual", check_filehandle=True)
    runner = processor.Runner(
        processor.IterativeExecutor(status=False, retries=0), metadata_cache={}, schema=NanoAODSchema
    )
    result = do.run_processor(made, whole, treename=None)
    assert equal(result.output, runner(whole, made))
    assert result.output["cutflow"]["Data_pt"] > 0


def test_all_forms_of_a_fileset(muon_files: tuple[str, ...], tmp_path: Path) -> None:
    first, second = muon_files[:2]
    with uproot.open(first) as file:
        uuid = str(file.file.uuid)
    forms = [
        [first, second],
        {"events": [f"{first}:Events", second]},
        {"events": {"files": {first: "Events", second: "Events"}}},
        {"events": {first: "Events", second: None}},
        {"events": {"files": [first, second], "treename": "Events"}},
        {"events": {"files": {first: {"object_path": "Events", "num_entries": 1000, "uuid": uuid}, second: "Events"}}},
        {"events": {"files": {first: {"object_path": "Events", "steps": [[0, 400], [400, 1000]]}, second: "Events"}}},
    ]
    (tmp_path / "fileset.json").write_text(json.dumps(forms[2]))
    for form in [*forms, tmp_path / "fileset.json"]:
        result = do.run_processor(_count, form, treename="Events", schema=BaseSchema)
        assert result.output == {"events": 2000}
    part = {"events": {"files": {first: {"object_path": "Events", "steps": [[0, 400], [600, 700]]}}}}
    result = do.run_processor(_count, {"/DY to mumu/2016": part["events"]}, schema=BaseSchema)
    assert result.output == {"events": 500}
    assert [(entry.start, entry.stop) for entry in result.ledger.entries] == [(0, 400), (600, 700)]


def _count(events: ak.Array) -> dict:
    return {"events": len(events)}


@pytest.mark.parametrize(
    ("form", "treename", "message"),
    [
        (3, "Events", "the fileset: is a int"),
        ({"mc": 3}, "Events", "dataset mc: has a int in place of files"),
        ({"mc": ["a.root"]}, None, r"dataset mc: names no tree for a\.root"),
        ({"mc": {"a.root": 3}}, None, r"has a int in place of the tree of a\.root"),
        ({"mc": ["a.root", "a.root"]}, "Events", "twice: its events would count twice"),
        (
            {"mc": {"files": ["a.root"], "metadata": {"entrystart": 1}}},
            "Events",
            "metadata of the reserved name entrystart",
        ),
    ],
)
def test_filesets_that_are_none(form: Any, treename: str | None, message: str) -> None:
    with pytest.raises(InputValueError, match=message):
        files_of(form, treename)


def test_filesets_that_do_not_fit_their_files(muon_files: tuple[str, ...], tmp_path: Path) -> None:
    def run(**told: Any) -> Any:
        return do.run_processor(_count, {"mc": {"files": {muon_files[0]: {"object_path": "Events", **told}}}})

    with pytest.raises(InputFileError, match=r"step \[900, 1100\] does not fit"):
        run(steps=[[900, 1100]])
    with pytest.raises(InputFileError, match="steps that overlap at entry 300: its events would count twice"):
        run(steps=[[300, 700], [0, 400]])
    with pytest.raises(InputFileError, match="another file than the fileset describes"):
        run(uuid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(LedgerError, match="holds 1000 entries instead of the 900"):
        run(num_entries=900)
    with pytest.raises(InputFileError, match="no such file"):
        do.run_processor(_count, tmp_path / "absent.json")


def test_empty_files_are_no_loss(muon_files: tuple[str, ...], tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "empty.root") as file:
        file.mktree("Events", {"x": "f8"})
    result = do.run_processor(
        _count, {"mc": [muon_files[0]], "none": [str(tmp_path / "empty.root")]}, schema=BaseSchema
    )
    assert result.output == {"events": 1000}
    assert [(c.dataset, c.closed) for c in result.ledger.closure()] == [("mc", True), ("none", True)]


@pytest.mark.parametrize("where", ["here", "dask"])
def test_faults_are_survived_or_said(
    others: ModuleType, muon_files: tuple[str, ...], client: Client, tmp_path: Path, where: str
) -> None:
    on = {"client": client if where == "dask" else None, "chunk_events": 250, "retries": 1}
    calm = do.run_processor(others.Troubled(tmp_path, "none"), fileset(muon_files), chunk_events=250)
    result = do.run_processor(others.Troubled(tmp_path, "transient"), fileset(muon_files), **on)
    assert result.output == calm.output
    assert sum(entry.status == "retried" for entry in result.ledger.entries) == 6
    with pytest.raises(LedgerError, match=r"early: lost 1000 of 3000 entries in 4 chunks") as caught:
        do.run_processor(others.Troubled(tmp_path, "always"), fileset(muon_files), **on)
    assert caught.value.partial.output["events"] == 5000
    accepted = do.run_processor(others.Troubled(tmp_path, "always"), fileset(muon_files), accept_loss=["early"], **on)
    assert accepted.output == caught.value.partial.output
    with pytest.raises(ChunkError, match="the muon has no charge"):
        do.run_processor(others.Troubled(tmp_path, "bug"), fileset(muon_files), **on)


def test_resume_takes_up_what_holds_and_nothing_else(
    others: ModuleType, muon_files: tuple[str, ...], tmp_path: Path
) -> None:
    store = tmp_path / "chunks"
    lost = others.Troubled(tmp_path, "always")
    with pytest.raises(LedgerError):
        do.run_processor(lost, fileset(muon_files), chunk_events=250, retries=0, resume=store)
    kept = sorted(path for path in (store / "chunks").rglob("*") if path.is_file())
    assert len(kept) == 20
    times = [path.stat().st_mtime_ns for path in kept]
    accepted = do.run_processor(
        lost, fileset(muon_files), chunk_events=250, retries=0, resume=store, accept_loss=["early"]
    )
    assert [path.stat().st_mtime_ns for path in kept] == times
    fresh = do.run_processor(lost, fileset(muon_files), chunk_events=250, retries=0, accept_loss=["early"])
    assert accepted.output == fresh.output
    first = do.run_processor(others.Bookkeeping(20.0), fileset(muon_files), resume=store)
    second = do.run_processor(others.Bookkeeping(40.0), fileset(muon_files), resume=store)
    assert first.output["early"]["counts"]["above"] > second.output["early"]["counts"]["above"]


def test_results_of_types_of_their_own(muon_files: tuple[str, ...]) -> None:
    """What cannot be packed is merged by coffea's rule all the same."""

    def words(events: ak.Array) -> dict:
        return {"words": Words(str(events.metadata["entrystart"])), "seen": {events.metadata["entrystart"]}}

    result = do.run_processor(words, {"mc": [muon_files[0]]}, schema=BaseSchema, chunk_events=250)
    assert result.output["words"].text == "0 250 500 750"
    assert result.output["seen"] == {0, 250, 500, 750}


class Words:
    """Adds up, and is known to nobody else."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __add__(self, other: "Words") -> "Words":
        return Words(f"{self.text} {other.text}")


def test_one_process_at_a_time_writes_to_a_directory(
    others: ModuleType, muon_files: tuple[str, ...], tmp_path: Path
) -> None:
    command = (
        "import sys, time; from pathlib import Path; from darkop_dist.runs import written_alone\n"
        "with written_alone(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    )
    store = tmp_path / "chunks"
    with subprocess.Popen([sys.executable, "-c", command, str(store)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(OutputError, match="chunks: another run is writing to it"):
            do.run_processor(others.Dimuon(), fileset(muon_files), resume=store)
        other.kill()
    result = do.run_processor(others.Dimuon(), fileset(muon_files), resume=store)
    assert result.ledger.closure()[0].closed
    assert sorted(path.name for path in store.iterdir()) == [
        "chunks",
        "journal.jsonl",
        "nodes",
        "running",
        "seen",
        "store.json",
    ]
