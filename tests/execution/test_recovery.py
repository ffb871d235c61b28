"""Faults that a run survives. After each, nothing is silently lost: the ledger is true and the result the undisturbed one."""

import dataclasses
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.config import DatasetRecord
from darkop_dist.config import Execution as Settings
from darkop_dist.errors import LedgerError, StorageError
from darkop_dist.execution import DatasetFiles, Execution, Task, Watch, execute, plan_chunks
from darkop_dist.histograms import Observable, OutputBuilder

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))
DASK = Settings(where="dask", workers=2)
PROCESSES = Settings(workers=2)
HERE = Settings()


class Masses:
    """Fills one weighted histogram, and fails in the way that the test wants; ``marks`` counts what has happened."""

    def __init__(self, fault: str = "", marks: Path | None = None) -> None:
        self.fault, self.marks = fault, marks

    def process(self, events: ak.Array) -> dict[str, Any]:
        start, file = events.metadata["entrystart"], events.metadata["file_label"]
        getattr(self, f"_{self.fault}", lambda *_: None)(start, file)
        builder = OutputBuilder("mc", [Observable("mass", (0.0, 0.5, 1.0), "$m$", "GeV")])
        weights = np.asarray(events.genWeight, dtype=np.float64)
        builder.fill("mass", "signal", "nominal", np.asarray(events.mass), weights)
        builder.cut("signal", "all", weights)
        return builder.output()

    def _times(self, what: str) -> int:
        marks = self.marks / what.replace("/", "_")
        with marks.open("a") as stream:
            stream.write("x")
        return marks.stat().st_size

    def _once_per_file(self, start: int, file: str) -> None:
        if start == 200 and self._times(file) == 1:
            raise OSError(5, "the storage does not answer")

    def _die_twice(self, start: int, file: str) -> None:
        if start == 400 and file == "1.root" and self._times("deaths") <= 2:
            os._exit(1)

    def _die_always(self, start: int, file: str) -> None:
        if start == 400 and file == "1.root":
            os._exit(1)

    def _first_group_bad(self, _start: int, file: str) -> None:
        if file == "0.root":
            raise OSError(5, "the storage does not answer")

    def _hang_once(self, start: int, file: str) -> None:
        if start == 400 and file == "1.root" and self._times("hangs") == 1:
            time.sleep(120)

    def _leak(self, _start: int, _file: str) -> None:
        LEAKED.append(np.ones(12_000_000))
        time.sleep(0.3)


LEAKED: list[np.ndarray] = []


def tasks_of(*paths: Path, chunk_events: int = 200, retries: int = 3, **options: Any) -> tuple[Task, ...]:
    files = DatasetFiles(RECORD, tuple(map(str, paths)), **options)
    plan = plan_chunks([files], chunk_events=chunk_events, whole_files=False)
    return tuple(Task(chunk, RECORD, retries, None) for chunk in plan)


@pytest.fixture(scope="module")
def tasks(mass_files: Path) -> tuple[Task, ...]:
    return tasks_of(*sorted(mass_files.glob("*.root")))


@pytest.fixture(scope="module")
def undisturbed(tasks: tuple[Task, ...]) -> Execution:
    return execute(tasks, Masses())


def assert_equal(found: Execution, expected: Execution) -> None:
    """Equal to the last bit, with a ledger of the same content."""
    for name, histogram in expected.output["histograms"].items():
        assert found.output["histograms"][name].view(flow=True).tobytes() == histogram.view(flow=True).tobytes()
    assert {k: v.tolist() for k, v in found.output["cutflow"]["mc"]["signal"].items()} == {
        k: v.tolist() for k, v in expected.output["cutflow"]["mc"]["signal"].items()
    }
    assert found.ledger.digest == expected.ledger.digest
    found.ledger.require_closed()


@pytest.mark.parametrize("where", [HERE, PROCESSES, DASK], ids=["here", "processes", "dask"])
def test_one_transient_error_per_file(
    tasks: tuple[Task, ...], undisturbed: Execution, tmp_path: Path, where: Settings
) -> None:
    found = execute(tasks, Masses("once_per_file", tmp_path), where)
    assert_equal(found, undisturbed)
    retried = [(e.attempts, e.reason) for e in found.ledger.entries if e.status == "retried"]
    assert retried == [(2, "the storage does not answer")] * 3


@pytest.mark.slow
@pytest.mark.parametrize("where", [PROCESSES, DASK], ids=["processes", "dask"])
def test_a_worker_that_is_killed_twice_in_a_chunk(
    tasks: tuple[Task, ...], undisturbed: Execution, tmp_path: Path, where: Settings
) -> None:
    found = execute(tasks, Masses("die_twice", tmp_path), where)
    assert_equal(found, undisturbed)
    entry = next(e for e in found.ledger.entries if e.start == 400 and e.file.endswith("1.root"))
    assert (entry.status, entry.attempts) == ("retried", 3)
    assert "the worker died, most often for want of memory (2 times)" in entry.reason


@pytest.mark.slow
@pytest.mark.parametrize("where", [PROCESSES, DASK], ids=["processes", "dask"])
def test_a_chunk_that_kills_every_worker_is_given_up_alone(tasks: tuple[Task, ...], where: Settings) -> None:
    found = execute([dataclasses.replace(task, retries=2) for task in tasks], Masses("die_always"), where)
    failed = [(Path(e.file).name, e.start, e.attempts) for e in found.ledger.entries if e.status == "failed"]
    assert failed == [("1.root", 400, 3)]
    with pytest.raises(
        LedgerError, match=r"lost 200 of 3000 entries in 1 chunk[\s\S]*1\.root \[400:600\]: the worker died"
    ):
        found.ledger.require_closed()


@pytest.mark.parametrize("where", [HERE, DASK], ids=["here", "dask"])
def test_all_chunks_of_a_merge_group_are_bad(mass_files: Path, where: Settings) -> None:
    tasks = tasks_of(*sorted(mass_files.glob("*.root")), chunk_events=25, retries=0)
    found = execute(tasks, Masses("first_group_bad"), where)
    assert [e.status for e in found.ledger.entries[:32]] == ["failed"] * 32
    good = execute(tasks[40:], Masses())
    assert found.output["histograms"]["mass"].sum().value == pytest.approx(
        good.output["histograms"]["mass"].sum().value
    )
    assert found.ledger.closure()[0].lost == 1000


@pytest.mark.parametrize("where", [HERE, PROCESSES], ids=["here", "processes"])
def test_a_chunk_that_hangs_here(
    tasks: tuple[Task, ...], undisturbed: Execution, tmp_path: Path, where: Settings
) -> None:
    patient = [dataclasses.replace(task, timeout_s=3.0) for task in tasks]
    found = execute(patient, Masses("hang_once", tmp_path), where)
    assert_equal(found, undisturbed)
    retried = [e.reason for e in found.ledger.entries if e.status == "retried"]
    assert retried
    assert all("hung: not done after 3 s" in reason for reason in retried)


@pytest.mark.slow
def test_a_chunk_that_hangs_on_dask(tasks: tuple[Task, ...], undisturbed: Execution, tmp_path: Path) -> None:
    patient = [dataclasses.replace(task, timeout_s=3.0) for task in tasks]
    found = execute(patient, Masses("hang_once", tmp_path), DASK)
    assert_equal(found, undisturbed)
    reasons = " ".join(e.reason for e in found.ledger.entries if e.status == "retried")
    assert "hung: not done after 3 s" in reasons


@pytest.mark.slow
def test_a_processor_that_leaks_until_its_worker_is_restarted(tasks: tuple[Task, ...], undisturbed: Execution) -> None:
    settings = Settings(where="dask", workers=1, cluster={"memory": "1 GB"})
    found = execute(tasks, Masses("leak"), settings)
    assert_equal(found, undisturbed)
    workers = {entry.worker for entry in found.ledger.entries}
    assert len(workers) > 1, "no worker was restarted: the test shows nothing"


def test_a_truncated_file_among_good_ones(mass_files: Path, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.root").write_bytes((mass_files / f"{number}.root").read_bytes())
    whole = (tmp_path / "1.root").read_bytes()
    (tmp_path / "1.root").write_bytes(whole[:3000])
    tasks = tasks_of(*sorted(tmp_path.glob("*.root")))
    found = execute(tasks, Masses())
    closure = found.ledger.closure()[0]
    assert (closure.processed, closure.failed, closure.files_lost, closure.closed) == (2000, 1, 1, False)
    with pytest.raises(
        LedgerError, match=r"mc: lost 1 file whose entries nobody knows[\s\S]*1\.root: is truncated or corrupt"
    ):
        found.ledger.require_closed()
    found.ledger.require_closed(["mc"])


def test_a_file_shorter_than_its_record_promises(mass_files: Path) -> None:
    paths = sorted(mass_files.glob("*.root"))
    tasks = tasks_of(*paths, promised={str(paths[1]): 1200})
    closure = execute(tasks, Masses()).ledger.closure()[0]
    assert (closure.expected, closure.processed, closure.lost, closure.closed) == (3200, 2000, 1200, False)
    assert "holds 1000 entries instead of the 1200 of its record" in next(t.chunk.lost for t in tasks if t.chunk.lost)


def test_a_replica_that_lies_about_its_size(mass_files: Path, undisturbed: Execution, tmp_path: Path) -> None:
    """The file goes away after planning; its first replica is another file, the second is the same one elsewhere."""
    for number in range(3):
        (tmp_path / f"{number}.root").write_bytes((mass_files / f"{number}.root").read_bytes())
    good, liar = tmp_path / "copies" / "1.root", tmp_path / "liars" / "1.root"
    for place in (good, liar):
        place.parent.mkdir()
        place.write_bytes((tmp_path / "1.root").read_bytes())
    with uproot.recreate(liar) as file:
        file["Events"] = {"mass": np.full(1500, 0.1), "genWeight": np.ones(1500)}
    paths = sorted(tmp_path.glob("*.root"))
    tasks = tasks_of(*paths, replicas={str(paths[1]): (str(liar), str(good))})
    paths[1].unlink()
    found = execute(tasks, Masses())
    assert_equal(found, undisturbed)
    entry = next(e for e in found.ledger.entries if e.status == "retried")
    assert entry.file == str(good)
    assert len(found.ledger.closure()) == 1
    assert found.ledger.closure()[0].files == 3
    assert entry.replica_of not in ("", entry.file)
    assert "No such file" in entry.reason
    assert f"bytes instead of {good.stat().st_size}" in entry.reason


def test_a_file_that_cannot_be_planned_from_its_first_address(
    mass_files: Path, tmp_path: Path, undisturbed: Execution
) -> None:
    paths = [mass_files / "0.root", tmp_path / "1.root", mass_files / "2.root"]
    tasks = tasks_of(*paths, replicas={str(paths[1]): (str(mass_files / "1.root"),)})
    found = execute(tasks, Masses())
    assert found.output["histograms"]["mass"] == undisturbed.output["histograms"]["mass"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("where", [HERE, DASK], ids=["here", "dask"])
def test_a_full_disk_while_results_are_kept(
    tasks: tuple[Task, ...], undisturbed: Execution, small_disk: Path, where: Settings
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(512 * 1024 - 28 * 1024))
    impatient = [dataclasses.replace(task, retries=1) for task in tasks]
    with pytest.raises(StorageError, match=r"No space left on device[\s\S]*--resume"):
        execute(impatient, Masses(), where, store=small_disk / "chunks")
    filler.unlink()
    kept: list[bool] = []
    watch = Watch(progress=lambda result: kept.append(result.kept))
    found = execute(tasks, Masses(), where, store=small_disk / "chunks", watch=watch)
    assert_equal(found, undisturbed)
    assert any(kept)
    assert not all(kept)


def test_results_that_vanish_are_made_again(tasks: tuple[Task, ...], undisturbed: Execution, tmp_path: Path) -> None:
    """A chunk's result is damaged between its processing and its merging, as a failing disk does."""
    store = tmp_path / "chunks"
    spoilt: list[Path] = []

    def spoil(_: Any) -> None:
        for path in (store / "chunks").glob("*/[0-9a-f]*"):
            if not spoilt:
                path.write_bytes(path.read_bytes()[:100])
                spoilt.append(path)

    found = execute(tasks, Masses(), store=store, watch=Watch(progress=spoil))
    assert spoilt
    assert_equal(found, undisturbed)


@pytest.mark.parametrize("kind", ["cut", "status", "corrupt", "short"])
def test_a_server_that_fails_now_and_then(
    mass_files: Path, undisturbed: Execution, flaky_server: Any, kind: str
) -> None:
    server = flaky_server(mass_files)
    tasks = tasks_of(*[server.url(f"{number}.root") for number in range(3)], chunk_events=1000)
    server.fail("1.root", kind, first=1, **({"status": 503} if kind == "status" else {}))
    found = execute(tasks, Masses())
    view = found.output["histograms"]["mass"].view(flow=True)
    whole = execute(tasks_of(*sorted(mass_files.glob("*.root")), chunk_events=1000), Masses())
    assert view.tobytes() == whole.output["histograms"]["mass"].view(flow=True).tobytes()
    found.ledger.require_closed()
    assert [e.status for e in found.ledger.entries] == ["done", "retried", "done"]
