"""Batches of toys survive an interruption, and only what is missing is computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from darkop_dist.limits import Workspace, upper_limit
from darkop_dist.limits.toy_store import kept_in
from darkop_dist.limits.toys import Runner, ToyBatch, ToyTask, run_here, run_task

Counting = Callable[[float, float, float], Workspace]


class PowerFailureError(Exception):
    """The power fails."""


def counted(done: list[ToyTask], most: int = 10**6) -> Runner:
    def run(workspace: Workspace, tasks: Sequence[ToyTask]) -> Iterable[ToyBatch]:
        for task in tasks:
            if len(done) == most:
                raise PowerFailureError
            done.append(task)
            yield run_task(workspace, task)

    return run


def test_an_interrupted_scan_goes_on(counting: Counting, tmp_path: Path) -> None:
    workspace = counting(4.0, 6.0, 6.0)
    whole = upper_limit(workspace, signal="s", toys=60, seed=3, runner=run_here)
    first: list[ToyTask] = []
    with pytest.raises(PowerFailureError):
        upper_limit(workspace, signal="s", toys=60, seed=3, runner=kept_in(tmp_path / "toys", counted(first, 4)))
    rest: list[ToyTask] = []
    resumed = upper_limit(workspace, signal="s", toys=60, seed=3, runner=kept_in(tmp_path / "toys", counted(rest)))
    assert resumed == whole
    assert (len(first), len(rest)) == (4, 5)
    assert not set(first) & set(rest)
    again: list[ToyTask] = []
    assert (
        upper_limit(workspace, signal="s", toys=60, seed=3, runner=kept_in(tmp_path / "toys", counted(again))) == whole
    )
    assert again == []


def test_other_toys_are_not_taken_for_these(counting: Counting, tmp_path: Path) -> None:
    """Another seed, another workspace, a damaged file and a lost batch: all are computed."""
    task = ToyTask(1.0, (1.0,), 5, 3, (1, 0), negative=False)
    workspace, done = counting(4.0, 6.0, 6.0), []
    run = kept_in(tmp_path, counted(done))
    (batch,) = run(workspace, [task])
    assert list(run(workspace, [task])) == [batch]
    assert len(done) == 1
    list(run(workspace, [ToyTask(1.0, (1.0,), 5, 4, (1, 0), negative=False)]))
    list(run(counting(4.0, 6.0, 7.0), [task]))
    assert len(done) == 3
    for file in tmp_path.iterdir():
        file.write_text(file.read_text()[:-20])
    assert list(run(workspace, [task])) == [batch]
    assert len(done) == 4
    lost = ToyBatch(ToyTask(2.0, (2.0,), 5, 3, (2, 0), negative=False), (), (), (), "a worker died")
    keeping = kept_in(tmp_path, lambda _workspace, _tasks: [lost])
    assert list(keeping(workspace, [lost.task])) == [lost]
    assert next(iter(run(workspace, [lost.task]))).lost == ""
