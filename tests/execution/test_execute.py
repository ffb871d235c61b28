"""One answer wherever a run takes place, every chunk in the ledger, every loss said."""

from collections.abc import Iterator
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from distributed import LocalCluster

from darkop_dist.config import DatasetRecord
from darkop_dist.config import Execution as Settings
from darkop_dist.errors import ChunkError, InputFileError, LedgerError, RunError
from darkop_dist.events.files import forget
from darkop_dist.execution import DatasetFiles, Execution, Task, execute, load_ledger, plan_chunks
from darkop_dist.execution.plan import file_labels
from darkop_dist.histograms import Observable, OutputBuilder
from darkop_dist.stages.search import load_module

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))


class Masses:
    """A processor small enough for tests: one histogram with awkward weights."""

    def __init__(self, fault: str | None = None, marker: Path | None = None) -> None:
        self.fault = fault
        self.marker = marker

    def process(self, events: ak.Array) -> dict:
        start = events.metadata["entrystart"]
        if self.fault == "bug" and start >= 400:
            raise RuntimeError("division of the indivisible")
        if self.fault == "always" and start == 400:
            raise OSError(5, "the storage does not answer")
        if self.fault == "once" and start == 400 and not self.marker.exists():
            self.marker.touch()
            raise OSError(5, "the storage does not answer")
        builder = OutputBuilder(events.metadata["dataset"], [Observable("mass", (0.0, 0.5, 1.0), "$m$", "GeV")])
        weights = np.asarray(events.genWeight, dtype=np.float64)
        builder.fill("mass", "signal", "nominal", np.asarray(events.mass), weights)
        builder.cut("signal", "all", weights)
        return builder.output()


@pytest.fixture(scope="module")
def tasks(mass_files: Path) -> tuple[Task, ...]:
    paths = tuple(sorted(str(path) for path in mass_files.glob("*.root")))
    plan = plan_chunks([DatasetFiles(RECORD, paths)], chunk_events=200, whole_files=False)
    return tuple(Task(chunk, RECORD, 2, None) for chunk in plan)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address.replace("tcp://", "dask://")


@pytest.fixture(scope="module")
def reference(tasks: tuple[Task, ...]) -> Execution:
    return execute(tasks, Masses())


def test_plan_covers_every_entry_once(tasks: tuple[Task, ...]) -> None:
    assert len(tasks) == 15
    ranges = sorted((task.chunk.path, task.chunk.start, task.chunk.stop) for task in tasks)
    assert sum(stop - start for _, start, stop in ranges) == 3000
    assert [start for _, start, _ in ranges[:5]] == [0, 200, 400, 600, 800]


def test_whole_files_are_not_divided(tasks: tuple[Task, ...]) -> None:
    files = DatasetFiles(RECORD, (tasks[0].chunk.path,))
    assert len(plan_chunks([files], chunk_events=10, whole_files=True)) == 1


def test_ledger_closes_and_is_saved(reference: Execution, tmp_path: Path) -> None:
    closure = reference.ledger.closure()[0]
    assert (closure.expected, closure.processed, closure.lost, closure.closed) == (3000, 3000, 0, True)
    weights = sum(reference.output["cutflow"]["mc"]["signal"]["all"][1:])
    assert closure.sum_weights == pytest.approx(weights, rel=1e-12)
    reference.ledger.save(tmp_path / "ledger.json")
    assert load_ledger(tmp_path / "ledger.json") == reference.ledger
    text = (tmp_path / "ledger.json").read_text()
    (tmp_path / "ledger.json").write_text(text.replace('"entries": 200', '"entries": 199', 1))
    with pytest.raises(InputFileError, match="does not match its own digest"):
        load_ledger(tmp_path / "ledger.json")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["dask", "local"])
def test_equal_to_the_last_bit_on_other_processes(
    where: str, tasks: tuple[Task, ...], reference: Execution, scheduler: str
) -> None:
    address = scheduler if where == "dask" else "local"
    found = execute(tasks, Masses(), Settings(where=address, workers=2))
    view, expected = (e.output["histograms"]["mass"].view(flow=True) for e in (found, reference))
    assert view.tobytes() == expected.tobytes()
    assert found.ledger.digest == reference.ledger.digest


def test_one_transient_error_is_retried_and_noted(
    tasks: tuple[Task, ...], reference: Execution, scheduler: str, tmp_path: Path
) -> None:
    for where, marker in (("local", tmp_path / "a"), (scheduler, tmp_path / "b")):
        found = execute(tasks, Masses("once", marker), Settings(where=where))
        retried = [entry for entry in found.ledger.entries if entry.status == "retried"]
        assert [(e.attempts, e.reason) for e in retried] == [(2, "the storage does not answer")]
        found.ledger.require_closed()
        assert found.output["histograms"]["mass"] == reference.output["histograms"]["mass"]


def test_a_lost_chunk_leaves_the_ledger_open(tasks: tuple[Task, ...], scheduler: str) -> None:
    found = execute(tasks, Masses("always"), Settings(where=scheduler))
    closure = found.ledger.closure()[0]
    assert (closure.processed, closure.lost, closure.failed) == (2400, 600, 3)
    with pytest.raises(LedgerError, match=r"mc: lost 600 of 3000 entries in 3 chunks[\s\S]*--accept-loss mc"):
        found.ledger.require_closed()
    found.ledger.require_closed(["mc"])


def test_a_bug_stops_the_run_and_names_the_chunk(tasks: tuple[Task, ...], scheduler: str) -> None:
    for where in ("local", scheduler):
        with pytest.raises(ChunkError, match=r"\d\.root \[[468]00:\d+\][\s\S]*division of the indivisible"):
            execute(tasks, Masses("bug"), Settings(where=where))


def test_no_scheduler_answers(tasks: tuple[Task, ...]) -> None:
    with pytest.raises(RunError, match=r"no Dask scheduler answers at dask://127\.0\.0\.1:9"):
        execute(tasks, Masses(), Settings(where="dask://127.0.0.1:9"))


def test_a_file_cut_after_planning_is_lost_and_said(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    path = tmp_path / "0.root"
    whole = Path(tasks[0].chunk.path).read_bytes()
    path.write_bytes(whole)
    plan = plan_chunks([DatasetFiles(RECORD, (str(path),))], chunk_events=500, whole_files=False)
    path.write_bytes(whole[:2000])
    found = execute([Task(chunk, RECORD, 1, None) for chunk in plan], Masses())
    assert found.output is None
    assert [(e.status, e.attempts) for e in found.ledger.entries] == [("failed", 1), ("failed", 1)]
    with pytest.raises(LedgerError, match=r"0\.root \[0:500\]: .*(2000 bytes|asked for)"):
        found.ledger.require_closed()


def test_dataset_without_events(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file["Events"] = {"mass": np.array([], dtype=np.float64)}
    record = RECORD.model_copy(update={"allow_empty": True})
    with pytest.raises(InputFileError, match="none of the 1 files of the dataset holds an event"):
        plan_chunks([DatasetFiles(record, (str(tmp_path / "a.root"),))], chunk_events=10, whole_files=False)


def test_a_file_without_rows_still_counts_what_was_generated_for_it(tmp_path: Path) -> None:
    record = RECORD.model_copy(update={"allow_empty": True})
    for name, count in (("a", 20), ("b", 0)):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["Events"] = {"mass": np.full(count, 0.2), "genWeight": np.ones(count)}
            file["Runs"] = {"genEventSumw": np.array([1000.0]), "genEventCount": np.array([1000])}
    paths = (str(tmp_path / "a.root"), str(tmp_path / "b.root"))
    plan = plan_chunks([DatasetFiles(record, paths)], chunk_events=100, whole_files=False)
    closure = execute([Task(chunk, record, 0, None) for chunk in plan], Masses()).ledger.closure()[0]
    assert (closure.sum_weights, closure.files_without_weight) == (2000.0, 0)


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    for mass in (0.2, 0.8):
        with uproot.recreate(path) as file:
            file["Events"] = {"mass": np.full(20, mass), "genWeight": np.ones(20)}
        plan = plan_chunks([DatasetFiles(RECORD, (str(path),))], chunk_events=100, whole_files=False)
        found = execute([Task(chunk, RECORD, 0, None) for chunk in plan], Masses()).output
        assert found["histograms"]["mass"].values()[0, 0, 0].tolist() == ([20.0, 0.0] if mass == 0.2 else [0.0, 20.0])


def test_files_of_one_name_in_several_directories_are_told_apart() -> None:
    labels = file_labels(["d/0000/nano_1.root", "d/0001/nano_1.root", "d/0001/nano_2.root"])
    assert sorted(labels.values()) == ["0000/nano_1.root", "0001/nano_1.root", "0001/nano_2.root"]
    assert len(file_labels(["d/a.root", "d//a.root"])) == 2
    assert file_labels(["somewhere/a.root"]) == {"somewhere/a.root": "a.root"}


def test_a_bug_below_a_directory_called_uproot_is_still_a_bug(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    source = tmp_path / "uproot-analysis" / "own.py"
    source.parent.mkdir()
    source.write_text("class Own:\n    def process(self, events):\n        return 1 / 0\n")
    with pytest.raises(ChunkError, match="division by zero"):
        execute(tasks[:1], load_module(source).Own())


def test_a_transient_error_while_opening_is_retried(tasks: tuple[Task, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = uproot.open

    def failing_once(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(5, "the storage does not answer")
        return original(*arguments, **options)

    monkeypatch.setattr(uproot, "open", failing_once)
    forget()
    entry = execute(tasks[:1], Masses()).ledger.entries[0]
    assert (entry.status, entry.attempts) == ("retried", 2)
