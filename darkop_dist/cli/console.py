"""How the command line speaks: progress on a terminal, plain lines elsewhere, errors to standard error."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from darkop_dist.cli.tally import Tally, by_dataset, duration, short_number

if TYPE_CHECKING:
    from darkop_dist.execution import Chunk, ChunkResult

WIDTH_OF_FILES = 160
OUT = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)
REFRESHES_PER_S = 4
MOST_LINES = 50
SHORTEST_BAR, LONGEST_BAR = 8, 30
ROOM_FOR_NAME_AND_BAR = 26


class TerminalMonitor:
    """Shows a run: sentences as they come, a bar per dataset on a terminal, one line at the end elsewhere.

    A chunk only changes a few counters; the bars are made from them a few times per second, however many chunks come.
    """

    def __init__(self, console: Console) -> None:
        """Speak to a console."""
        self._console = console
        self._live: Live | None = None
        self._tallies: dict[str, Tally] = {}
        self._total = Tally("all datasets")
        self._link: str | None = None
        self._lines = 0

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._console.print(text, markup=False)

    def dashboard(self, link: str) -> None:
        """Show where Dask's dashboard is: above the bars, or in a line of its own where there are none."""
        self._link = link
        if not self._console.is_terminal:
            self.say(f"dashboard: {link}")

    def planned(self, chunks: Sequence[Chunk]) -> None:
        """Begin the bars."""
        self._tallies, self._total = by_dataset(chunks), Tally("all datasets")
        for chunk in chunks:
            self._total.plan(chunk)
        if self._console.is_terminal and chunks:
            self.close()
            self._live = started_live(self._console, self._bars)

    def processed(self, result: ChunkResult) -> None:
        """Count a chunk; one that was retried or failed gets a line, and the last one a line for all."""
        entry, now_s = result.entry, time.monotonic()
        for tally in (self._tallies.get(entry.dataset), self._total):
            if tally is not None:
                tally.add(result, now_s)
        if entry.status in ("retried", "failed"):
            self._line(f"{entry.status}: {entry.file} [{entry.start}:{entry.stop}]: {entry.reason}")
        if self._total.chunks and self._total.complete:
            self.close()

    def close(self) -> None:
        """Take the bars away and say what was done."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._total.done:
            self.say(self._total.closing_line(time.monotonic()))
            self._total = Tally(self._total.name)

    def _line(self, text: str) -> None:
        self._lines += 1
        if self._lines <= MOST_LINES:
            self.say(text)
        elif self._lines == MOST_LINES + 1:
            self.say("further chunks that were retried or failed are counted; the ledger lists them")

    def _bars(self) -> RenderableType:
        width, height = self._console.size
        several = len(self._tallies) > 1
        lines: list[RenderableType] = []
        if self._link:
            lines.append(Text(f"dashboard: {self._link}", no_wrap=True, overflow="ellipsis"))
        room = height - len(lines) - 2 - several
        shown, hidden = chosen_tallies(list(self._tallies.values()), room)
        rows = [*shown, *([self._total] if several else [])]
        lines.append(bar_table(rows, time.monotonic(), width))
        if hidden:
            lines.append(Text(hidden, style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


def started_live(console: Console, draw: Callable[[], RenderableType]) -> Live:
    """Bars that are drawn anew a few times per second and leave nothing behind; stop it when they are no longer wanted.

    Args:
        console: a terminal.
        draw: makes what is shown.
    """
    live = Live(
        get_renderable=draw,
        console=console,
        refresh_per_second=REFRESHES_PER_S,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    live.start(refresh=True)
    return live


def bar_table(tallies: Sequence[Tally], now_s: float, width: int) -> Table:
    """A bar and numbers per tally under a header; on a narrow terminal some numbers go, none is cut.

    Args:
        tallies: what to show, one line each.
        now_s: the clock that the tallies were counted with.
        width: columns of the terminal.
    """
    columns = {
        "chunks": [f"{t.done}/{t.chunks}" for t in tallies],
        "events/s": [_rate(t.events_per_s(now_s), "") for t in tallies],
        "covered": [_rate(t.bytes_per_s(now_s), "B/s") for t in tallies],
        "failed": [str(t.failed or "") for t in tallies],
        "retried": [str(t.retried or "") for t in tallies],
        "time left": [_time_left(t, now_s) for t in tallies],
    }
    for gone in ("covered", "retried", "events/s", "failed"):
        rest = width - sum(1 + max(map(len, (title, *cells))) for title, cells in columns.items())
        if rest >= ROOM_FOR_NAME_AND_BAR:
            break
        del columns[gone]
    rest = width - sum(1 + max(map(len, (title, *cells))) for title, cells in columns.items())
    name_width = max(min(max(len(t.name) for t in tallies), rest - SHORTEST_BAR - 1), 1)
    bar_width = max(min(rest - name_width - 1, LONGEST_BAR), 1)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=name_width, no_wrap=True, overflow="ellipsis")
    table.add_column(width=bar_width)
    for title in columns:
        table.add_column(justify="right", no_wrap=True, style="red" if title == "failed" else "")
    table.add_row("", "", *(Text(title, style="dim") for title in columns))
    for row, tally in enumerate(tallies):
        bar = ProgressBar(total=max(tally.chunks, 1), completed=tally.done, width=bar_width)
        table.add_row(Text(tally.name), bar, *(cells[row] for cells in columns.values()))
    return table


def _rate(value: float | None, unit: str) -> str:
    return "" if value is None else short_number(value, unit)


def _time_left(tally: Tally, now_s: float) -> str:
    left_s = tally.left_s(now_s)
    return "done" if tally.complete else "" if left_s is None else duration(left_s)


def chosen_tallies(tallies: Sequence[Tally], room: int) -> tuple[list[Tally], str]:
    """The tallies that fit into so many lines, and a line about the others if there are any.

    What is being worked on comes first, the dataset that moved last before all; what is left of the room goes to what
    comes next. They stay in the order of the plan.
    """
    if len(tallies) <= room:
        return list(tallies), ""
    active = sorted((t for t in tallies if t.done and not t.complete), key=lambda t: -t.last_s)
    waiting = [t for t in tallies if not t.done]
    names = {t.name for t in [*active, *waiting][: max(room - 1, 0)]}
    shown = [t for t in tallies if t.name in names]
    complete = sum(t.complete for t in tallies)
    others = [f"{complete} complete"] if complete else []
    hidden_active = sum(t.name not in names for t in active)
    others += [f"{hidden_active} more at work"] if hidden_active else []
    hidden_waiting = sum(t.name not in names for t in waiting)
    others += [f"{hidden_waiting} not begun"] if hidden_waiting else []
    return shown, f"of {len(tallies)} datasets {', '.join(others)}" if room > 0 else ""


def is_worth_showing(record: logging.LogRecord) -> bool:
    """Whether a user who has not asked for the libraries' logs sees a record: errors, but not Dask's own.

    A filter and no level: distributed sets the levels of its loggers itself when it is imported.
    """
    return record.levelno >= (logging.CRITICAL if record.name.startswith("distributed") else logging.ERROR)


@contextmanager
def monitored(console: Console = OUT) -> Iterator[TerminalMonitor]:
    """A monitor whose bars are visible on a terminal only."""
    monitor = TerminalMonitor(console)
    try:
        yield monitor
    finally:
        monitor.close()
