"""The run directory: whole or not at all, and nothing of the user's is ever replaced unasked."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.errors import InputFileError, OutputError
from darkop_dist.runs import RunDirectory, file_sha256, read_json, start_run, write_atomically, write_json


def test_nothing_appears_before_the_run_is_whole(tmp_path: Path) -> None:
    pending = start_run(tmp_path / "a" / "result", force=False)
    (pending.run.path / "ledger.json").write_text("{}")
    assert not (tmp_path / "a" / "result").exists()
    assert pending.finish().ledger.read_text() == "{}"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["result"]


def test_an_abandoned_run_leaves_nothing(tmp_path: Path) -> None:
    pending = start_run(tmp_path / "result", force=False)
    (pending.run.path / "ledger.json").write_text("{}")
    pending.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_replaced_only_with_force_and_only_when_the_new_one_is_whole(tmp_path: Path) -> None:
    first = start_run(tmp_path / "result", force=False)
    first.run.provenance.write_text("first")
    first.finish()
    with pytest.raises(OutputError, match=r"exists already\. Choose another output, or replace it with --force"):
        start_run(tmp_path / "result", force=False)
    second = start_run(tmp_path / "result", force=True)
    assert RunDirectory(tmp_path / "result").provenance.read_text() == "first"
    second.run.provenance.write_text("second")
    second.finish()
    assert RunDirectory(tmp_path / "result").provenance.read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_run_is_put_back_that_was_moved_away_by_a_process_that_was_then_killed(tmp_path: Path) -> None:
    first = start_run(tmp_path / "result", force=False)
    first.run.provenance.write_text("first")
    first.finish()
    second = start_run(tmp_path / "result", force=True)
    (tmp_path / "result").rename(tmp_path / ".result.replaced")  # as finish does, and then SIGKILL
    second.lock.close()
    with pytest.raises(OutputError, match="exists already"):
        start_run(tmp_path / "result", force=False)
    assert RunDirectory(tmp_path / "result").provenance.read_text() == "first"
    shutil.copytree(tmp_path / "result", tmp_path / ".result.replaced")  # killed after both renames
    third = start_run(tmp_path / "result", force=True)
    third.run.provenance.write_text("third")
    assert third.finish().provenance.read_text() == "third"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_run_that_is_finished_does_not_touch_the_next_one(tmp_path: Path) -> None:
    first = start_run(tmp_path / "result", force=False)
    first.run.provenance.write_text("first")
    first.finish()
    second = start_run(tmp_path / "result", force=True)
    second.run.provenance.write_text("second")
    assert first.abandon() is False
    assert second.finish().provenance.read_text() == "second"


def test_the_lock_of_a_run_that_has_ended_is_worth_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start_run(tmp_path / "result", force=False)
    first.run.provenance.write_text("first")
    real, calls = fcntl.flock, []

    def finished_meanwhile(stream: Any, operation: int) -> None:
        if not calls:
            first.finish()
        calls.append(operation)
        real(stream, operation)

    monkeypatch.setattr("fcntl.flock", finished_meanwhile)
    second = start_run(tmp_path / "result", force=True)
    second.run.provenance.write_text("second")
    monkeypatch.undo()
    with pytest.raises(OutputError, match="another run is writing to it"):
        start_run(tmp_path / "result", force=True)
    assert second.finish().provenance.read_text() == "second"
    assert len(calls) == 2


def test_a_training_is_kept_when_the_run_fails_in_its_first_chunk(tmp_path: Path) -> None:
    pending = start_run(tmp_path / "result", force=False)
    pending.run.training.write_text("{}")
    assert pending.abandon() is True
    with pytest.raises(OutputError, match="an unfinished run is kept"):
        start_run(tmp_path / "result", force=False)
    resumed = start_run(tmp_path / "result", force=False, resume=True)
    assert resumed.run.training.exists()
    resumed.abandon()


def test_a_run_that_was_set_aside_is_there_until_the_next_one_goes_on_with_it(tmp_path: Path) -> None:
    pending = start_run(tmp_path / "result", force=False)
    result = pending.run.chunks / "chunks" / "ab" / "ab00"
    result.parent.mkdir(parents=True)
    for file in (result, pending.run.ledger):
        file.write_text("{}")
    aside = pending.set_aside()
    assert pending.abandon() is False
    assert aside.ledger.exists()
    resumed = start_run(tmp_path / "result", force=False, resume=True)
    assert not aside.ledger.exists()
    assert result.exists()
    resumed.abandon()


def test_a_power_cut_finds_the_old_run_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start_run(tmp_path / "result", force=False)
    first.run.provenance.write_text("first")
    first.finish()
    second = start_run(tmp_path / "result", force=True)
    for name in ("provenance.json", "report/index.html", "chunks/chunks/ab/ab00"):
        (second.run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (second.run.path / name).write_text("second")
    done: list[tuple[str, str]] = []
    real_sync, real_rename, real_remove = os.fsync, Path.rename, shutil.rmtree

    def sync(descriptor: int) -> None:
        done.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        real_sync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        done.append(("rename", str(path)))
        return real_rename(path, target)

    def remove(path: Path, **options: Any) -> None:
        done.append(("remove", str(path)))
        real_remove(path, **options)

    monkeypatch.setattr("os.fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr("shutil.rmtree", remove)
    second.finish()
    partial = tmp_path / ".result.partial"
    moved = done.index(("rename", str(partial)))
    before = {path for what, path in done[:moved] if what == "sync"}
    assert before >= {str(partial / name) for name in ("", "provenance.json", "report", "report/index.html")}
    assert not any("chunks" in path for path in before)
    removed = done.index(("remove", str(tmp_path / ".result.replaced")))
    assert ("sync", str(tmp_path)) in done[moved:removed]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_run_is_never_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "thesis"
    if kind == "file":
        target.write_text("words")
    else:
        target.mkdir()
        (target / "chapter.tex").write_text("words")
    with pytest.raises(OutputError, match="is not a run directory"):
        start_run(target, force=True)


def test_json_keeps_its_schema(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", "darkop.test/1", {"x": 1})
    assert read_json(tmp_path / "a.json", "darkop.test/1")["x"] == 1
    with pytest.raises(InputFileError, match=r"has the schema 'darkop\.test/1', not 'darkop\.test/2'"):
        read_json(tmp_path / "a.json", "darkop.test/2")
    with pytest.raises(InputFileError, match=r"absent\.json: no such file"):
        read_json(tmp_path / "absent.json", "darkop.test/1")
    (tmp_path / "a.json").write_text('{"x":')
    with pytest.raises(InputFileError, match="cannot be read as JSON"):
        read_json(tmp_path / "a.json", "darkop.test/1")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "old")
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(tmp_path / "absent" / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
