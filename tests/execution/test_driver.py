"""The driver among backends that do not see the results, and disks that fail now and then."""

import dataclasses
import errno
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import StorageError
from darkop_dist.execution import DatasetFiles, Execution, Task, execute, plan_chunks
from darkop_dist.execution import merge as merging
from darkop_dist.execution.backend import Answer, Inline
from darkop_dist.execution.driver import Driver, run_merge
from darkop_dist.execution.journal import Journal, read_progress
from darkop_dist.execution.keys import run_key
from darkop_dist.execution.store import ChunkStore

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))


class Sums:
    """Adds up one column; fails once at entry 100 if it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    def process(self, events: ak.Array) -> dict[str, Any]:
        if self.fails and events.metadata["entrystart"] == 100:
            self.fails = False
            raise OSError(5, "the storage does not answer")
        return {"sum": float(np.sum(np.asarray(events.x)))}


class Apart(Inline):
    """Carries out calls as on workers that do not see the results; those that came later are asked to merge."""

    shared = False
    merges = 0

    def submit(self, call: Any) -> None:
        self.merges += call.function is run_merge
        super().submit(call)


class Slow(Inline):
    """Lets the driver wait as long as it offers to, and counts how often it is asked."""

    width = 2
    asked = 0

    def answers(self, timeout_s: float | None) -> Sequence[Answer]:
        self.asked += 1
        if self.asked % 500 and timeout_s is not None:
            time.sleep(timeout_s)
            return ()
        return super().answers(timeout_s)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, ...]:
    path = tmp_path_factory.mktemp("files") / "a.root"
    with uproot.recreate(path) as file:
        file["Events"] = {"x": np.random.default_rng(1).normal(size=4000), "genWeight": np.ones(4000)}
    plan = plan_chunks([DatasetFiles(RECORD, (str(path),))], chunk_events=100, whole_files=False)
    return tuple(Task(chunk, RECORD, 3, None) for chunk in plan)


def run(tasks: Sequence[Task], backend: Inline, processor: Any, store: Path) -> Execution:
    kept = ChunkStore(store)
    kept.create()
    return Driver(tasks, backend, kept, run_key(processor, None).digest, merge_mb=100).run()


def test_a_merge_that_fails_here_is_tried_again_here(
    tasks: tuple[Task, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError(errno.EIO, "Input/output error")]
    whole = merging.merge

    def merge(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return whole(*arguments, **options)

    monkeypatch.setattr(merging, "merge", merge)
    backend = Apart(None, Sums())
    found = run(tasks, backend, Sums(), tmp_path / "chunks")
    assert not failures
    assert backend.merges == 0
    assert found.output == execute(tasks, Sums()).output


class Elsewhere(Inline):
    """A worker of another node, which joined later: its own disk has a directory of the same path, of an older run."""

    old: Path

    def submit(self, call: Any) -> None:
        arguments = tuple(self.old if isinstance(value, Path) else value for value in call.arguments)
        super().submit(dataclasses.replace(call, arguments=arguments))


def test_a_worker_with_an_old_directory_of_the_same_path_gives_its_results_back(
    tasks: tuple[Task, ...], tmp_path: Path
) -> None:
    backend = Elsewhere(None, Sums())
    backend.old = tmp_path / "old"
    execute(tasks[:1], Sums(), store=backend.old)
    before = sorted(path for path in backend.old.rglob("*") if path.is_file())
    found = run(tasks, backend, Sums(), tmp_path / "chunks")
    assert found.output == execute(tasks, Sums()).output
    assert sorted(path for path in backend.old.rglob("*") if path.is_file()) == before


def test_a_worker_that_does_not_see_the_results_leaves_the_merge_to_the_driver(tmp_path: Path) -> None:
    assert run_merge(None, None, tmp_path / "absent", 100, "a token") is None
    (tmp_path / "seen").touch()
    assert run_merge(None, None, tmp_path, 100, "") is None


class Unreliable:
    """Cannot read some copies of a file; keeps what it was asked for."""

    def __init__(self, *bad: str) -> None:
        self.bad, self.asked = bad, []

    def process(self, events: ak.Array) -> dict[str, Any]:
        self.asked.append(Path(events.metadata["filename"]).name)
        if self.asked[-1] in self.bad:
            raise OSError(5, "the storage does not answer")
        return {"sum": float(np.sum(np.asarray(events.x)))}


@pytest.mark.parametrize(
    ("retries", "bad", "asked", "status"),
    [
        (0, "ab", "abc", "retried"),
        (1, "abc", "abc", "failed"),
        (3, "abc", "abca", "failed"),
        (0, "a", "ab", "retried"),
    ],
)
def test_every_replica_is_tried_before_a_chunk_is_given_up(
    tasks: tuple[Task, ...], tmp_path: Path, retries: int, bad: str, asked: str, status: str
) -> None:
    copies = [tmp_path / f"{name}.root" for name in "abc"]
    for copy in copies:
        shutil.copy(tasks[0].chunk.path, copy)
    replicas = tuple(map(str, copies[1:]))
    chunk = dataclasses.replace(tasks[0].chunk, path=str(copies[0]), replicas=replicas)
    processor = Unreliable(*(f"{name}.root" for name in bad))
    (entry,) = execute([Task(chunk, RECORD, retries, None)], processor).ledger.entries
    assert [name[0] for name in processor.asked] == list(asked)
    assert (entry.status, entry.attempts) == (status, len(asked))


def test_a_result_that_cannot_be_written_here_for_a_moment(
    tasks: tuple[Task, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError(errno.EIO, "Input/output error")]
    whole = ChunkStore.write

    def write(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        whole(*arguments)

    monkeypatch.setattr(ChunkStore, "write", write)
    found = run(tasks, Apart(None, Sums()), Sums(), tmp_path / "chunks")
    assert not failures
    assert found.output == execute(tasks, Sums()).output


def test_the_driver_rests_while_nothing_can_be_sent(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    backend = Slow(None, Sums(fails=True))
    run(tasks, backend, Sums(), tmp_path / "chunks")
    assert backend.asked < 200


def test_the_tries_of_a_chunk_are_known_after_a_resume(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    first = execute(tasks, Sums(fails=True), store=tmp_path / "chunks")
    retried = [(e.index, e.status, e.attempts, e.reason) for e in first.ledger.entries if e.status == "retried"]
    assert retried == [(1, "retried", 2, "the storage does not answer")]
    processor = Sums(fails=True)
    for store, earlier in ((tmp_path / "chunks", ()), (tmp_path / "later", (tmp_path / "chunks",))):
        again = execute(tasks, processor, store=store, earlier=earlier)
        assert [(e.index, e.status, e.attempts, e.reason) for e in again.ledger.entries if e.reason] == retried
    assert processor.fails, "nothing was processed again"


def test_a_full_disk_under_the_journal_is_said_once(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    entry = execute(tasks[:1], Sums()).ledger.entries[0]
    with pytest.raises(StorageError, match="No space left on device"), Journal(tmp_path) as journal:
        journal.write(entry, "")


def test_a_result_that_cannot_be_read_is_made_again(
    tasks: tuple[Task, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(tasks, Sums(), store=tmp_path / "chunks")
    failures = [OSError(errno.ESTALE, "Stale file handle")]
    whole = ChunkStore.read

    def read(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return whole(*arguments)

    monkeypatch.setattr(ChunkStore, "read", read)
    execute(tasks, Sums(), store=tmp_path / "chunks")
    assert not failures
    assert read_progress(tmp_path / "chunks").finished
