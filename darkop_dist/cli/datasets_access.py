"""``darkop datasets download``, ``cache`` and ``check``: files of datasets on this machine and on their servers."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table

from darkop_dist.cli import completion
from darkop_dist.cli.console import ERR, OUT
from darkop_dist.cli.datasets import CatalogueOption
from darkop_dist.errors import EXIT_FAILURE, InputValueError, UserError

if TYPE_CHECKING:
    from darkop_dist.stages.check_dataset import CopyCheck

INTERRUPTED = 130
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?b?)", re.IGNORECASE)

NamesArgument = Annotated[
    list[str],
    typer.Argument(
        help="Names or patterns of the catalogue, or files.",
        metavar="NAME...",
        autocompletion=completion.dataset_names,
    ),
]
CacheOption = Annotated[Path | None, typer.Option(help="Where the cache is; DARKOP_CACHE by default.")]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", min=0.1, help="Longest silence of a server, in seconds; 60 by default.")
]


def add_to(app: typer.Typer) -> None:
    """Give ``darkop datasets`` these commands."""
    app.command("download")(download)
    app.command("cache")(cache)
    app.command("check")(check)


def download(
    names: NamesArgument,
    output: Annotated[Path | None, typer.Option(help="A folder for the files, instead of the cache.")] = None,
    cache_dir: CacheOption = None,
    max_events: Annotated[int | None, typer.Option(min=1, help="The fewest files with so many events.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Files at a time.")] = 4,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on when a file cannot be had.")] = False,
    timeout_s: TimeoutOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Download datasets, checked while they are written; what was broken off goes on where it stopped."""
    from darkop_dist.catalogue.cache import shown_size
    from darkop_dist.catalogue.fetch import LATER
    from darkop_dist.catalogue.search import find_datasets, load_catalogue
    from darkop_dist.stages.cached import file_cache
    from darkop_dist.stages.download import download_record, reached
    from darkop_dist.stages.fetch_files import Fetching

    if output is not None and cache_dir is not None:
        raise InputValueError("--output and --cache-dir", "are both given", "Give one")
    records = find_datasets(names, load_catalogue(catalogue or ()))
    failed: list[UserError] = []
    for record in records:
        folder = output / record.name if output is not None and len(records) > 1 else output
        with shown_download(OUT) as monitor:
            how = Fetching(workers, keep_going, reached(timeout_s), monitor=monitor)
            try:
                found = download_record(record, file_cache(cache_dir), folder, max_events, how)
            except KeyboardInterrupt as stopped:
                ERR.print(f"error: stopped. {LATER}", markup=False)
                raise SystemExit(INTERRUPTED) from stopped
            except UserError as error:
                if not keep_going:
                    raise
                failed.append(error)
                ERR.print(f"error: {error}", markup=False)
                continue
        events = "" if found.events is None else f", {found.events:,} events"
        told = f"{shown_size(found.bytes)}{events}; {shown_size(found.moved)} came over the network"
        OUT.print(f"{record.name}: {_count(len(found.files), 'file')}, {told}", markup=False)
        OUT.print(f"  in {_common(found.files)}", markup=False)
    if failed:
        raise SystemExit(failed[0].exit_status)


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all that no running process uses.")] = False,
    limit: Annotated[str | None, typer.Option(help="Set the ceiling, such as 200GB; what is above it goes.")] = None,
    cache_dir: CacheOption = None,
) -> None:
    """Show what the cache of downloaded files holds, empty it, or set its ceiling."""
    from darkop_dist.catalogue.cache import shown_size
    from darkop_dist.stages.cached import file_cache

    files = file_cache(cache_dir)
    removed = files.set_limit(parse_size(limit)) if limit is not None else ()
    removed += files.clear() if clear else ()
    if removed:
        total = shown_size(sum(entry.bytes for entry in removed))
        OUT.print(f"removed: {_count(len(removed), 'file')}, {total}")
    entries = files.entries()
    table = Table(Column("file", no_wrap=True), Column("size", justify="right"), "last used", "state", "from")
    for entry in reversed(entries):
        state = "in use" if entry.in_use else "whole" if entry.whole else "part"
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_s)) if entry.used_s else ""
        table.add_row(entry.name or "-", shown_size(entry.bytes), used, state, entry.address)
    if entries:
        OUT.print(table)
    total = shown_size(sum(entry.bytes for entry in entries))
    OUT.print(f"{files.folder}: {total} of {shown_size(files.limit_bytes)}", markup=False)


def check(
    names: NamesArgument,
    checksums: Annotated[bool, typer.Option("--checksums", help="Read every byte and compare the adler32.")] = False,
    open_files: Annotated[bool, typer.Option("--open", help="Open the trees and compare the entries.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Files at a time.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print every copy as JSON.")] = False,
    timeout_s: TimeoutOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Ask the servers for every file of datasets and its replicas: there, of the right size? Exit status 1 if not."""
    from darkop_dist.catalogue.search import find_datasets, load_catalogue
    from darkop_dist.stages.check_dataset import Depth, check_dataset
    from darkop_dist.stages.download import reached

    depth = Depth(checksums, open_files, reached(timeout_s), workers)
    records = find_datasets(names, load_catalogue(catalogue or ()))
    found: list[CopyCheck] = []
    with Progress(transient=True, console=ERR, disable=not ERR.is_terminal) as progress:
        for record in records:
            task = progress.add_task(record.name, total=len(record.files) or None)
            found += check_dataset(record, depth, done=lambda _, task=task: progress.advance(task))  # type: ignore[misc]
    wrong = [copy for copy in found if copy.problem]
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(copy) for copy in found], indent=1) + "\n")
    else:
        _show_checks(found, wrong)
    if wrong:
        raise SystemExit(EXIT_FAILURE)


def _show_checks(found: list[CopyCheck], wrong: list[CopyCheck]) -> None:
    if wrong:
        table = Table("dataset", "copy", "what is wrong", "address")
        for copy in wrong:
            table.add_row(copy.dataset, "replica" if copy.replica else "first", copy.problem, copy.address)
        OUT.print(table)
    for dataset in dict.fromkeys(copy.dataset for copy in found):
        copies = [copy for copy in found if copy.dataset == dataset]
        bad = sum(bool(copy.problem) for copy in copies)
        unknown = sum(not copy.problem and not copy.compared for copy in copies)
        replicas = sum(copy.replica for copy in copies)
        asked = f"{_count(len(copies) - replicas, 'file')} and {_count(replicas, 'replica')} asked for"
        told = f"{asked}, {bad or 'nothing'} wrong"
        if unknown:
            told += f"; of {unknown} the record says nothing that could be compared"
        OUT.print(f"{dataset}: {told}", markup=False)


def parse_size(text: str) -> int:
    """Bytes from a size as people write it.

    Raises:
        InputValueError: it is none.

    >>> parse_size("1.5 GB"), parse_size("200M"), parse_size("0")
    (1500000000, 200000000, 0)
    """
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise InputValueError("--limit", f"is {text!r}", "Write a size such as 200GB, 1.5 TB or 0")
    return round(float(found[1]) * UNITS[found[2].lower().removesuffix("b")])


class DownloadBars:
    """Shows a download on a terminal: a bar for all, with rate and time left, and one for each file on its way.

    Elsewhere only what the user must know is said.
    """

    def __init__(self, console: Console) -> None:
        """Show on a console."""
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._console = console
        self._lock = threading.Lock()
        self._sizes: dict[Path, int] = {}
        self._done: dict[Path, int] = {}
        self._tasks: dict[Path, TaskID] = {}
        self._all: TaskID | None = None

    def say(self, text: str) -> None:
        """Print a sentence above the bars."""
        self._console.print(text, markup=False)

    def expected(self, sizes: Mapping[Path, int]) -> None:
        """Begin the bar for all."""
        with self._lock:
            self._sizes.update(sizes)
            if self._all is None:
                self._progress.start()
                self._all = self._progress.add_task(f"{len(sizes)} files", total=None)
            self._progress.update(self._all, total=sum(self._sizes.values()))

    def moved(self, path: Path, size: int) -> None:
        """Move the bars; what was there before does not count as speed."""
        with self._lock:
            known = path in self._done
            self._done[path] = size
            if size >= self._sizes.get(path, size + 1):
                if path in self._tasks:
                    self._progress.remove_task(self._tasks.pop(path))
            elif path not in self._tasks:
                self._tasks[path] = self._progress.add_task(path.name, total=self._sizes.get(path), completed=size)
            else:
                self._progress.update(self._tasks[path], completed=size)
            if self._all is not None:
                total = sum(self._done.values())
                if known or not size:
                    self._progress.update(self._all, completed=total)
                else:
                    self._progress.reset(self._all, completed=total)

    def close(self) -> None:
        """Take the bars away."""
        self._progress.stop()


@contextmanager
def shown_download(console: Console) -> Iterator[DownloadBars]:
    """Bars that are gone when the download is over."""
    bars = DownloadBars(console)
    try:
        yield bars
    finally:
        bars.close()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _common(files: tuple[Path, ...]) -> Path:
    """The folder that holds all files."""
    alike = len({path.is_absolute() for path in files}) == 1
    return Path(os.path.commonpath([(path if alike else path.absolute()).parent for path in files]) or ".")
