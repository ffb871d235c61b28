"""Whole runs on workers that stand for another machine: with and without a directory that driver and workers share."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from darkop_dist.config import DatasetRecord
from darkop_dist.config import Execution as Settings
from darkop_dist.execution import DatasetFiles, Task, Watch, execute, plan_chunks
from darkop_dist.histograms import Observable, OutputBuilder

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))


class Masses:
    """Fills one histogram; the process that comes first to a file of bad luck fails there, again and again."""

    def __init__(self, marks: Path | None = None) -> None:
        self.marks = marks

    def process(self, events: ak.Array) -> dict[str, Any]:
        import os

        if self.marks is not None and events.metadata["entrystart"] == 400:
            mark = self.marks / events.metadata["file_label"]
            if not mark.exists():
                mark.write_text(str(os.getpid()))
            if mark.read_text() == str(os.getpid()):
                raise OSError(5, "this machine does not reach the storage")
        builder = OutputBuilder("mc", [Observable("mass", (0.0, 0.5, 1.0), "$m$", "GeV")])
        weights = np.asarray(events.genWeight, dtype=np.float64)
        builder.fill("mass", "signal", "nominal", np.asarray(events.mass), weights)
        return builder.output()


@pytest.fixture(scope="module")
def tasks(mass_files: Path) -> tuple[Task, ...]:
    paths = tuple(sorted(str(path) for path in mass_files.glob("*.root")))
    plan = plan_chunks([DatasetFiles(RECORD, paths)], chunk_events=20, whole_files=False)
    return tuple(Task(chunk, RECORD, 3, None) for chunk in plan)


@pytest.mark.parametrize("shared", [True, False], ids=["shared directory", "nothing shared"])
def test_equal_to_the_last_bit_and_resumed(
    tasks: tuple[Task, ...], two_hosts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shared: bool
) -> None:
    """Through /proc/self/cwd a path means another place for each process: so that the workers see no result."""
    expected = execute(tasks, Masses())
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "chunks" if shared else Path("/proc/self/cwd/chunks")
    settings = Settings(where=f"dask://127.0.0.1:{two_hosts.port}", workers=2)
    found = execute(tasks, Masses(), settings, store=store)
    view, wanted = (run.output["histograms"]["mass"].view(flow=True) for run in (found, expected))
    assert view.tobytes() == wanted.tobytes()
    assert found.ledger.digest == expected.ledger.digest
    assert len({entry.worker for entry in found.ledger.entries}) == 2
    merged_by = {span.worker for span in found.merges}
    assert all(worker.startswith("tcp://") for worker in merged_by) == shared
    kept: list[bool] = []
    again = execute(tasks, Masses(), store=store, watch=Watch(progress=lambda result: kept.append(result.kept)))
    assert all(kept)
    assert again.output["histograms"]["mass"].view(flow=True).tobytes() == wanted.tobytes()


def test_a_chunk_is_tried_again_on_another_worker(tasks: tuple[Task, ...], two_hosts: Any, tmp_path: Path) -> None:
    """Three retries would not help on the worker that failed first."""
    found = execute(tasks, Masses(tmp_path), Settings(where=f"dask://127.0.0.1:{two_hosts.port}", workers=2))
    found.ledger.require_closed()
    retried = [entry for entry in found.ledger.entries if entry.status == "retried"]
    assert len(retried) == 3
    assert all(entry.attempts == 2 for entry in retried)
