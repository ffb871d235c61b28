"""What a user sees of a run: bars that fit the terminal, few lines where there is none, and true numbers."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from darkop_dist.cli.console import MOST_LINES, TerminalMonitor, bar_table, is_worth_showing, monitored
from darkop_dist.cli.tally import Tally, by_dataset
from darkop_dist.execution import Chunk, ChunkResult, LedgerEntry

EVENTS, BYTES = 1000, 500_000
LINK = "http://127.0.0.1:8787/status"


def plan(datasets: int, chunks: int) -> list[Chunk]:
    """Datasets with equal chunks of 1000 events."""
    return [
        Chunk(d * chunks + i, f"dataset-{d:03d}", f"{d}.root", i * EVENTS, (i + 1) * EVENTS, chunks * EVENTS, None, BYTES, "")
        for d in range(datasets)
        for i in range(chunks)
    ]  # fmt: skip


def result(chunk: Chunk, status: str = "done", wall_s: float = 0.1, *, kept: bool = False) -> ChunkResult:
    entry = LedgerEntry(
        index=chunk.index, dataset=chunk.dataset, file=chunk.path, start=chunk.start, stop=chunk.stop,
        status=status, reason="" if status == "done" else "OSError: timed out", attempts=1,  # type: ignore[arg-type]
        entries=0 if status == "failed" else chunk.stop - chunk.start, selected={}, sum_weights=None, wall_s=wall_s,
        cpu_s=wall_s, bytes=chunk.bytes, fingerprint=None, worker="w",
    )  # fmt: skip
    return ChunkResult(entry, kept)


def drawn(console: Console, renderable: object) -> list[str]:
    """The lines of a renderable on a terminal of that console's size, without colours."""
    out = io.StringIO()
    Console(width=console.width, height=console.height, force_terminal=True, file=out, soft_wrap=True).print(renderable)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).splitlines()


def test_a_tally_knows_speed_and_time_left() -> None:
    chunks = plan(1, 10)
    tally = by_dataset(chunks)["dataset-000"]
    assert (tally.events_per_s(1.0), tally.left_s(1.0)) == (None, None)
    for index, status in enumerate(["done", "retried", "failed", "done", "done"]):
        tally.add(result(chunks[index], status, wall_s=2.0), 102.0 + 2 * index)
    # Five chunks of 2 s each on one worker, 4000 events kept; the other five take as long.
    assert tally.seconds(110.0) == pytest.approx(10.0)
    assert tally.events_per_s(110.0) == pytest.approx(400.0)
    assert tally.bytes_per_s(110.0) == pytest.approx(4 * BYTES / 10.0)
    assert tally.left_s(110.0) == pytest.approx(10.0)
    assert (tally.done, tally.failed, tally.retried) == (5, 1, 1)
    assert tally.closing_line(110.0) == (
        "5 of 10 chunks, 4000 events in 10.0 s; 400 events/s, 200 kB/s of files covered; 1 failed; 1 retried"
    )
    for chunk in chunks[5:]:
        tally.add(result(chunk), 120.0)
    assert tally.seconds(500.0) == pytest.approx(20.0)
    assert tally.left_s(500.0) == 0.0


def test_results_of_an_earlier_run_do_not_count_for_the_speed() -> None:
    chunks = plan(1, 10)
    tally = by_dataset(chunks)["dataset-000"]
    for chunk in chunks[:8]:
        tally.add(result(chunk, kept=True), 100.0)
    assert (tally.done, tally.earlier, tally.events_per_s(101.0), tally.left_s(101.0)) == (8, 8, None, None)
    tally.add(result(chunks[8], wall_s=1.0), 101.0)
    assert tally.events_per_s(101.0) == pytest.approx(1000.0)
    assert tally.left_s(101.0) == pytest.approx(1.0)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(40, 200), st.integers(4, 60), st.integers(1, 60), st.integers(0, 240), st.sampled_from([None, LINK]), st.text(max_size=40)
)  # fmt: skip
def test_bars_never_outgrow_the_terminal(
    width: int, height: int, datasets: int, done: int, link: str | None, name: str
) -> None:
    """Whatever the terminal, the datasets and their names: no line too many, none too long, no number cut."""
    console = Console(width=width, height=height, file=io.StringIO())
    monitor = TerminalMonitor(console)
    if link:
        monitor.dashboard(link)
    chunks = plan(datasets, 4)
    monitor.planned(chunks)
    for index, chunk in enumerate(chunks[: min(done, len(chunks) - 1)]):
        monitor.processed(result(chunk, "failed" if index % 5 == 4 else "done"))
    lines = drawn(console, monitor._bars())
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    table = drawn(console, bar_table([Tally(name.replace("\n", " "), chunks=12_345, done=678)], 0.0, width))
    assert "678/12345" in table[-1]


def test_active_datasets_are_shown_first() -> None:
    console = Console(width=100, height=8, file=io.StringIO())
    monitor = TerminalMonitor(console)
    chunks = plan(30, 2)
    monitor.planned(chunks)
    for chunk in [*chunks[:20], chunks[40]]:
        monitor.processed(result(chunk))
    lines = drawn(console, monitor._bars())
    assert [line.split()[0] for line in lines[1:-2]] == ["dataset-010", "dataset-011", "dataset-012", "dataset-020"]
    assert lines[-2].startswith("all datasets")
    assert lines[-1] == "of 30 datasets 10 complete, 16 not begun"


def test_without_a_terminal_lines_are_few() -> None:
    out = io.StringIO()
    with monitored(Console(file=out, width=160)) as monitor:
        monitor.say("reading")
        monitor.dashboard(LINK)
        chunks = plan(2, 100)
        monitor.planned(chunks)
        for index, chunk in enumerate(chunks):
            monitor.processed(result(chunk, {3: "failed", 7: "retried"}.get(index, "done")))
        monitor.say("fitting")
    lines = out.getvalue().splitlines()
    assert lines[:4] == [
        "reading",
        f"dashboard: {LINK}",
        "failed: 0.root [3000:4000]: OSError: timed out",
        "retried: 0.root [7000:8000]: OSError: timed out",
    ]
    assert re.fullmatch(
        r"200 chunks, 199000 events in [\d.e-]+ s; [\d.]+ [kM]? ?events/s, [\d.]+ [kMG]?B/s of files covered; 1 failed; 1 retried",
        lines[4],
    )
    assert lines[5:] == ["fitting"]


def test_thousands_of_failures_do_not_flood_the_log() -> None:
    out = io.StringIO()
    with monitored(Console(file=out, width=160)) as monitor:
        chunks = plan(1, 5000)
        monitor.planned(chunks)
        for chunk in chunks:
            monitor.processed(result(chunk, "failed"))
    lines = out.getvalue().splitlines()
    assert len(lines) == MOST_LINES + 2
    assert "the ledger lists them" in lines[-2]
    assert "5000 failed" in lines[-1]


def test_a_run_that_stops_early_says_how_far_it_came() -> None:
    out = io.StringIO()
    with pytest.raises(RuntimeError, match="stop"), monitored(Console(file=out, width=160)) as monitor:
        some_of(monitor, plan(1, 5))
    assert out.getvalue().startswith("1 of 5 chunks, 1000 events in")


def test_errors_are_shown_but_not_what_dask_says_of_itself() -> None:
    levels = {"distributed.scheduler": logging.ERROR, "uproot": logging.ERROR, "distributed": logging.CRITICAL}
    shown = {
        name: is_worth_showing(logging.LogRecord(name, level, "", 0, "", (), None)) for name, level in levels.items()
    }
    assert shown == {"distributed.scheduler": False, "uproot": True, "distributed": True}


def some_of(monitor: TerminalMonitor, chunks: list[Chunk]) -> None:
    monitor.planned(chunks)
    monitor.processed(result(chunks[0]))
    raise RuntimeError("stop")


@pytest.mark.slow
def test_a_real_run_in_a_terminal_shows_bars_and_leaves_none(write_search: Callable[..., Path], tmp_path: Path) -> None:
    document = write_search(tmp_path, limits=None, operator=None, anomaly_detection=None)
    master, slave = pty.openpty()
    command = [
        sys.executable,
        "-c",
        "from darkop_dist.cli import main; main()",
        "run",
        str(document),
        "--output",
        str(tmp_path / "result"),
    ]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=environment) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 65536)
            except OSError:  # the other end is closed: the run is over
                break
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert process.returncode == 0, text
    assert re.search(r"chunks +events/s +covered +failed +retried +time left", text)
    assert re.search(r"all datasets +[━╸╺ ]+ \d/3 ", text)
    last = text[text.rindex("3 chunks, 10800 events in") :]
    assert "━" not in last
    assert "page: " in last
