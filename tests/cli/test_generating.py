"""What a user sees of a generation: how many events, how fast, and how long the rest takes."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from darkop_dist.cli import generating
from darkop_dist.cli.console import REFRESHES_PER_S
from darkop_dist.cli.generating import GenerationBar, generation_bar
from darkop_dist.execution.parts import PartDone


def part(index: int, *, kept: bool = False) -> PartDone:
    return PartDone(index, 500, kept)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(generating.time, "monotonic", lambda: now[0])
    return now


def test_speed_and_time_left_are_those_of_this_run(clock: list[float]) -> None:
    bar = GenerationBar(Console(file=io.StringIO()), "ttbar", 100_000)
    assert bar.line(clock[0]) == "ttbar: 0 of 100 k events"
    for index in range(100):
        bar.done(part(index, kept=True))  # half a sample from an earlier run, in no time
    for index in range(10):
        clock[0] += 5.0
        bar.done(part(100 + index))
    # 5000 events in 50 s; 45 000 are left
    assert bar.line(clock[0]) == "ttbar: 55 k of 100 k events, 100 events/s, 7:30 left"
    for index in range(60):
        clock[0] += 2.5
        bar.done(part(110 + index))
    assert "200 events/s, 1:15 left" in bar.line(clock[0])  # the last two minutes count


def test_lines_come_now_and_then_without_a_terminal(clock: list[float]) -> None:
    out = io.StringIO()
    with generation_bar("ttbar", 100_000, Console(file=out, width=200)) as bar:
        bar.done(part(0, kept=True))
        for index in range(100):
            clock[0] += 1.0
            bar.done(part(1 + index))
    lines = out.getvalue().splitlines()
    assert lines == [
        "ttbar: 15.5 k of 100 k events, 500 events/s, 2:49 left",
        "ttbar: 30.5 k of 100 k events, 500 events/s, 2:19 left",
        "ttbar: 45.5 k of 100 k events, 500 events/s, 1:49 left",
        "500 of 100000 events came from an earlier run",
    ]


def test_a_terminal_gets_a_bar_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, height=20)
    with generation_bar("qcd-dijets", 1000, console) as bar:
        bar.done(part(0))
        bar.say("part 2 of 2 of qcd-dijets is tried again: the worker died")
        time.sleep(2.5 / REFRESHES_PER_S)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert re.search(r"qcd-dijets ━+.* 500 of 1 k .*events/s \d+:\d\d left", text)
    assert "is tried again" in text
    assert out.getvalue().rstrip().endswith("\x1b[2K")
