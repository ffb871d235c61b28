"""How a generation shows itself: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from darkop_dist.cli.console import OUT, started_live
from darkop_dist.cli.tally import duration, short_number

if TYPE_CHECKING:
    from darkop_dist.execution.parts import PartDone

LINE_EVERY_S = 30.0
RATE_OVER_S = 120.0
BAR_WIDTH = 30


class GenerationBar:
    """Counts events and says how many there are, how fast they come, and how long the rest takes.

    The speed is that of the last two minutes; parts of an earlier run do not count for it.
    """

    def __init__(self, console: Console, name: str, events: int) -> None:
        """Begin at nothing.

        Args:
            console: to speak to.
            name: of the sample.
            events: planned.
        """
        self._console, self._name, self._events = console, name, events
        self._made = self._kept = 0
        self._began_s = self._said_s = time.monotonic()
        self._steps: deque[tuple[float, int]] = deque([(self._began_s, 0)])
        self._live: Live | None = None

    def start(self) -> None:
        """Show the bar, if there is a terminal."""
        if self._console.is_terminal:
            self._live = started_live(self._console, self._bar)

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._console.print(text, markup=False)

    def done(self, part: PartDone) -> None:
        """Count a part."""
        now_s = time.monotonic()
        if part.kept:
            self._kept += part.events
        else:
            self._made += part.events
        self._steps.append((now_s, self._made))
        while len(self._steps) > 2 and now_s - self._steps[1][0] > RATE_OVER_S:
            self._steps.popleft()
        if self._live is None and now_s - self._said_s >= LINE_EVERY_S:
            self._said_s = now_s
            self.say(self.line(now_s))

    def close(self) -> None:
        """Take the bar away and say what was taken over."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._kept:
            self.say(f"{self._kept} of {self._events} events came from an earlier run")

    def line(self, now_s: float) -> str:
        """What there is, how fast it comes and how long the rest takes, in one line."""
        done, rate, left = self._numbers(now_s)
        return ", ".join(filter(None, (f"{self._name}: {done} events", rate, f"{left} left" if left else "")))

    def _numbers(self, now_s: float) -> tuple[str, str, str]:
        there = self._kept + self._made
        done = f"{short_number(there)} of {short_number(self._events)}"
        since_s, before = self._steps[0]
        made, seconds = self._made - before, now_s - since_s
        if not made or seconds <= 0:
            return done, "", ""
        return done, short_number(made / seconds, " events/s"), duration((self._events - there) * seconds / made)

    def _bar(self) -> RenderableType:
        done, rate, left = self._numbers(time.monotonic())
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(width=BAR_WIDTH)
        for _ in range(3):
            table.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(total=self._events, completed=self._kept + self._made, width=BAR_WIDTH)
        table.add_row(Text(self._name), bar, done, rate, f"{left} left" if left else "")
        return table


@contextmanager
def generation_bar(name: str, events: int, console: Console = OUT) -> Iterator[GenerationBar]:
    """A bar that goes when the generation ends, however it does."""
    bar = GenerationBar(console, name, events)
    bar.start()
    try:
        yield bar
    finally:
        bar.close()
