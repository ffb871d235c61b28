"""How the command line speaks: progress on a terminal, plain lines elsewhere, errors to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from darkop_dist.execution import Chunk, ChunkResult

WIDTH_OF_FILES = 160
OUT = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)


class TerminalMonitor:
    """Shows a run: sentences as they come, and a bar over the chunks on a terminal."""

    def __init__(self, progress: Progress) -> None:
        """Show on a progress display."""
        self._progress = progress
        self._task: TaskID | None = None

    def say(self, text: str) -> None:
        """Print a sentence."""
        OUT.print(text, markup=False)

    def planned(self, chunks: Sequence[Chunk]) -> None:
        """Begin the bar."""
        self._task = self._progress.add_task("chunks", total=len(chunks))

    def dashboard(self, link: str) -> None:
        """Say where the dashboard is."""
        self.say(f"Dask dashboard: {link}")

    def processed(self, result: ChunkResult) -> None:
        """Move the bar; a chunk that was retried or failed gets a line."""
        if self._task is not None:
            self._progress.advance(self._task)
        entry = result.entry
        if entry.status in ("retried", "failed"):
            OUT.print(f"{entry.status}: {entry.file} [{entry.start}:{entry.stop}]: {entry.reason}", markup=False)


@contextmanager
def monitored() -> Iterator[TerminalMonitor]:
    """A monitor with a bar that is visible on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=OUT, transient=True, disable=not OUT.is_terminal) as progress:
        yield TerminalMonitor(progress)
