"""The run directory: which file each stage reads and writes, and how a file is written whole or not at all.

RUN/
document.json        the document with everything resolved
sources/             the document as it was written, the processor's source and the files that they name
inputs.json          every input file: address, bytes, entries and what tells it from every other
ledger.json          every chunk once, closure per dataset
histograms.json      all histograms in the Unified Histogram Interchange format
lumi.json            luminosity of the collision data that were processed
cutflow.json         events and weights after each step of the selection
candidates.parquet   the highest scores with their event numbers and p-values
score-groups.parquet events by file and by run in coarse bins of the score
drift.json           whether files and runs score like what calibrates, and like each other
displays.json        the objects of the top candidates
calibration.json     counts per score bin and the check of the p-values
workspace.json       HistFactory workspace in pyhf's JSON
limits.json          fits, limits, significances
toys/                pseudo-experiments of the limits, a file per batch
provenance.json      versions, hashes, seeds, seconds per stage
timeline.json        when the pass over the events began and ended, and what was merged when
dask-report.html     Dask's own performance report, if the run used Dask
checkpoint/          the operator, if the run trained or chose one
served.json          the model that a server held, if one scored
choice.json          the models that were tried, if the run chose one
training.json        what that training depended on and what it lost
chunks/              the results of the chunks, from which the run can be resumed
report/index.html    the result page
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

import platformdirs

from darkop_dist.errors import InputFileError, OutputError

LOCK = "lock"


def cache_directory() -> Path:
    """Where generated and unpacked files are kept: ``DARKOP_CACHE``, or the user's cache directory."""
    return Path(os.environ.get("DARKOP_CACHE") or platformdirs.user_cache_dir("darkop-dist"))


def version() -> str:
    """The version of this package, or ``unknown`` where it is not installed."""
    try:
        return metadata.version("darkop-dist")
    except metadata.PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run.

    Attributes:
        path: the directory.
    """

    path: Path

    document = property(lambda self: self.path / "document.json")
    sources = property(lambda self: self.path / "sources")
    inputs = property(lambda self: self.path / "inputs.json")
    ledger = property(lambda self: self.path / "ledger.json")
    lumi = property(lambda self: self.path / "lumi.json")
    histograms = property(lambda self: self.path / "histograms.json")
    cutflow = property(lambda self: self.path / "cutflow.json")
    candidates = property(lambda self: self.path / "candidates.parquet")
    groups = property(lambda self: self.path / "score-groups.parquet")
    drift = property(lambda self: self.path / "drift.json")
    displays = property(lambda self: self.path / "displays.json")
    calibration = property(lambda self: self.path / "calibration.json")
    workspace = property(lambda self: self.path / "workspace.json")
    limits = property(lambda self: self.path / "limits.json")
    toys = property(lambda self: self.path / "toys")
    provenance = property(lambda self: self.path / "provenance.json")
    timeline = property(lambda self: self.path / "timeline.json")
    performance = property(lambda self: self.path / "dask-report.html")
    checkpoint = property(lambda self: self.path / "checkpoint")
    served = property(lambda self: self.path / "served.json")
    choice = property(lambda self: self.path / "choice.json")
    training = property(lambda self: self.path / "training.json")
    chunks = property(lambda self: self.path / "chunks")
    report = property(lambda self: self.path / "report")

    def require(self, file: Path, stage: str) -> Path:
        """A file of this run that an earlier stage wrote.

        Raises:
            InputFileError: the file is not there; names the stage that writes it.
        """
        if not file.exists():
            raise InputFileError(
                str(file), "this run directory does not hold it", f"Run the stage that writes it: {stage}."
            )
        return file


@dataclass(frozen=True)
class PendingRun:
    """A run that is being written beside its final place, by this process alone.

    Attributes:
        run: the directory to write to.
        target: where it goes once it is whole.
        lock: the open file that keeps other processes away.
        earlier: the run at that place whose results are taken up; None if there is none or none are wanted.
    """

    run: RunDirectory
    target: Path
    lock: IO[str]
    earlier: RunDirectory | None = None

    def finish(self) -> RunDirectory:
        """Move the run to its place, replacing what ``start_run`` was allowed to replace.

        All of its files but the results of chunks, which carry their own checksums, are on the disk by then, and the
        run that it replaces is removed only when the move is on the disk too: a power cut leaves one of them whole.
        """
        replaced = _replaced(self.target)
        try:
            _sync_tree(self.run.path, but=self.run.chunks)
            if self.target.exists():
                self.target.rename(replaced)
            self.run.path.rename(self.target)
            _sync(self.target.parent)
        except OSError as error:
            if replaced.exists() and not self.target.exists():
                replaced.rename(self.target)
            raise OutputError(f"{self.target}: cannot be written ({error.strerror}).") from error
        (self.target / LOCK).unlink(missing_ok=True)
        self.lock.close()
        shutil.rmtree(replaced, ignore_errors=True)
        return RunDirectory(self.target)

    def set_aside(self) -> RunDirectory:
        """Leave the run where it was written, with all of its files, until the next run of its name goes on with it."""
        self.lock.close()
        return self.run

    def abandon(self) -> bool:
        """Remove what was written, except for results of chunks, from which the run can be resumed.

        Returns:
            Whether something was kept.
        """
        if self.lock.closed:  # the run has been left, and what is written there now is another process's
            return False
        kept = has_results(self.run)
        if kept:
            _empty(self.run.path, but=_lasting(self.run))
        else:
            shutil.rmtree(self.run.path, ignore_errors=True)
        self.lock.close()
        return kept


def start_run(target: Path, *, force: bool, resume: bool = False) -> PendingRun:
    """Begin a run, or go on with one that did not end; nothing appears at its place before it is whole.

    Args:
        target: the directory that the run will have.
        force: replace an existing run directory, and what is left of an unfinished run.
        resume: take up the results of the unfinished or finished run at that place; it is replaced once the new run
            is whole.

    Raises:
        OutputError: the directory exists already, is no run directory, is being written by another process, or
            cannot be written; or results of an unfinished run are there and neither option says what to do with them.
    """
    _put_back(target)
    if target.exists():
        is_run = target.is_dir() and (not any(target.iterdir()) or RunDirectory(target).provenance.exists())
        if not is_run:
            raise OutputError(f"{target}: exists and is not a run directory. Choose another output directory.")
        if not force and not resume:
            raise OutputError(
                f"{target}: exists already. Choose another output, or replace it with --force; "
                "--resume processes only what is missing or has changed."
            )
    pending = partial_run(target)
    lock = _locked(pending, target)
    if has_results(pending) and not resume and not force:
        lock.close()
        raise OutputError(
            f"{target}: an unfinished run is kept in {pending.path}. Go on with --resume, or begin anew with --force."
        )
    _empty(pending.path, but=_lasting(pending) if resume else ())
    return PendingRun(pending, target, lock, RunDirectory(target) if resume and target.exists() else None)


@contextmanager
def written_alone(directory: Path) -> Iterator[None]:
    """Make a directory and keep other processes from writing to it, as from the directory of a run, while this lasts.

    Raises:
        OutputError: another process writes to it, or it cannot be written.
    """
    lock = _locked(RunDirectory(directory), directory)
    try:
        yield
    finally:
        (directory / LOCK).unlink(missing_ok=True)
        lock.close()


def partial_run(target: Path) -> RunDirectory:
    """Where a run is written before it is whole."""
    return RunDirectory(target.with_name(f".{target.name}.partial"))


def has_results(run: RunDirectory) -> bool:
    """Whether a run directory holds the result of a chunk or of a training."""
    return run.training.exists() or any((run.chunks / "chunks").glob("*/[0-9a-f]*"))


def _lasting(run: RunDirectory) -> tuple[Path, ...]:
    """What a resume goes on with; all else is made again."""
    return run.chunks, run.checkpoint, run.training, run.served


def _replaced(target: Path) -> Path:
    """Where a run lies while another takes its place."""
    return target.with_name(f".{target.name}.replaced")


def _put_back(target: Path) -> None:
    """Put a run back that a process moved away and was killed before the new one was in its place."""
    replaced, pending = _replaced(target), partial_run(target)
    if target.exists():
        shutil.rmtree(replaced, ignore_errors=True)
    elif replaced.is_dir() and pending.path.is_dir():
        lock = _locked(pending, target)
        if not target.exists():
            replaced.rename(target)
        lock.close()


def _locked(pending: RunDirectory, target: Path) -> IO[str]:
    """The directory of a run that is not whole, with the lock that keeps other processes away."""
    while True:
        try:
            pending.path.mkdir(parents=True, exist_ok=True)
            lock = (pending.path / LOCK).open("a")
        except FileNotFoundError:
            continue  # another process has just removed the directory
        except OSError as error:
            raise OutputError(
                f"{target}: cannot be written ({error.strerror}). Choose an output directory that you may write to."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise OutputError(
                f"{target}: another run is writing to it. Wait for it, or choose another output."
            ) from error
        except OSError as error:
            lock.close()
            raise OutputError(
                f"{target}: files cannot be locked there ({error.strerror}). Choose an output on another file system."
            ) from error
        if _is_same(lock, pending.path / LOCK):
            return lock
        lock.close()  # another process has finished or removed its run since


def _is_same(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _empty(directory: Path, but: Collection[Path] = ()) -> None:
    for path in directory.iterdir():
        if path in but or path.name == LOCK:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync_tree(directory: Path, but: Path) -> None:
    """Wait until everything in a directory is on the disk."""
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if Path(folder, name) != but]
        for name in files:
            _sync(Path(folder, name))
        _sync(Path(folder))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, even if the power is cut: it is on the disk before it takes its name.

    Raises:
        OutputError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror}). Check the directory and the disk.") from error


def write_json(path: Path, schema: str, content: Mapping[str, object]) -> None:
    """Write a JSON file with its schema and the writer's version.

    Args:
        path: the file.
        schema: name and version, such as ``darkop.ledger/1``.
        content: what the file holds besides.
    """
    body = {"schema": schema, "writer": f"darkop-dist {version()}", **content}
    write_atomically(path, json.dumps(body, indent=1) + "\n")


def read_json(path: Path, schema: str) -> dict[str, object]:
    """Read a file that ``write_json`` wrote.

    Raises:
        InputFileError: the file is missing, is no JSON, or has another schema.
    """
    try:
        body = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputFileError(str(path), "no such file", "Run the stage that writes it.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputFileError(
            str(path), f"cannot be read as JSON ({error})", "Run the stage that writes it again."
        ) from error
    found = body.get("schema") if isinstance(body, dict) else None
    if found != schema:
        raise InputFileError(
            str(path),
            f"has the schema {found!r}, not {schema!r}",
            "Run the stage that writes it again with this version.",
        )
    return dict(body)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
