"""A run that was killed, or whose inputs have changed, goes on from what still holds; the result is the undisturbed one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkop_dist.errors import ChunkError, OutputError
from darkop_dist.execution import ChunkResult, read_progress
from darkop_dist.runs import RunDirectory, file_sha256, has_results, partial_run
from darkop_dist.stages.one_chunk import rerun_chunk
from darkop_dist.stages.pipeline import Request, Silent, run_search

Write = Callable[..., Path]
RESULTS = ("histograms.json", "cutflow.json", "candidates.parquet", "calibration.json", "limits.json")
PARTS = 12


class Counting(Silent):
    """Counts which chunks were processed anew."""

    def __init__(self) -> None:
        self.new: list[str] = []
        self.kept = 0
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def processed(self, result: ChunkResult) -> None:
        if result.kept:
            self.kept += 1
        else:
            self.new.append(f"{Path(result.entry.file).name}")


def in_parts(document: Path, **execution: Any) -> Path:
    """The background of the small search in several files, so that there are chunks to lose."""
    folder = document.parent
    lines = (folder / "background.csv").read_text().splitlines()
    names = []
    for part in range(PARTS):
        name = f"background-{part:02}.csv"
        (folder / name).write_text("\n".join([lines[0], *lines[1 + part :: PARTS]]) + "\n")
        names.append(name)
    body = json.loads(document.read_text())
    for dataset in body["datasets"]:
        if dataset["name"] == "background":
            dataset["files"] = names
    body["execution"] = execution
    document.write_text(json.dumps(body))
    return document


def results(run: Path) -> dict[str, Any]:
    """What must not depend on how a run came to its end; writers and times are left out."""
    found: dict[str, Any] = {"digest": json.loads((run / "ledger.json").read_text())["digest"]}
    for name in RESULTS:
        if (run / name).exists():
            found[name] = file_sha256(run / name)
    return found


@pytest.fixture(scope="module")
def finished(write_search: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_search(Request(in_parts(write_search(folder)), folder / "out"))
    return folder


@pytest.fixture
def search(finished: Path, tmp_path: Path) -> Path:
    """A finished run with its document and files, for changes."""
    shutil.copytree(finished, tmp_path / "search")
    for old in finished.glob("*.csv"):  # results hold for files of the same time of change
        stat = old.stat()
        os.utime(tmp_path / "search" / old.name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return tmp_path / "search"


def resumed(folder: Path) -> Counting:
    counting = Counting()
    run_search(Request(next(folder.glob("*.yml")), folder / "out", resume=True), counting)
    return counting


def test_nothing_is_processed_twice(search: Path, finished: Path) -> None:
    counting = resumed(search)
    assert counting.new == []
    assert counting.kept == PARTS + 2
    assert results(search / "out") == results(finished / "out")


def test_a_changed_file_is_named_and_processed_alone(write_search: Write, tmp_path: Path) -> None:
    document = in_parts(write_search(tmp_path, operator=None, anomaly_detection=None))
    run_search(Request(document, tmp_path / "out"))
    part = tmp_path / "background-03.csv"
    part.write_text("\n".join(part.read_text().splitlines()[:-1]) + "\n")
    counting = resumed(tmp_path)
    assert counting.new == ["background-03.csv"]
    assert any("stale" in text and "file background-03.csv of background" in text for text in counting.said)


def test_another_limit_does_not_touch_the_chunks(search: Path) -> None:
    document = next(search.glob("*.yml"))
    body = json.loads(document.read_text())
    body["limits"]["normalisation"] = {"background": 0.3}
    document.write_text(json.dumps(body))
    assert resumed(search).new == []


def test_another_parameter_makes_every_chunk_stale(search: Path) -> None:
    document = next(search.glob("*.yml"))
    body = json.loads(document.read_text())
    body["parameters"]["mtt_bins"] = [*body["parameters"]["mtt_bins"], 9000.0]
    document.write_text(json.dumps(body))
    counting = resumed(search)
    assert counting.kept == 0
    assert any("stale" in text and "settings" in text for text in counting.said)


def test_a_changed_processor_and_a_module_that_it_imports_make_every_chunk_stale(
    write_search: Write, tmp_path: Path
) -> None:
    processors = Path(__file__).resolve().parents[2] / "processors"
    (tmp_path / "own_cuts.py").write_text("CUT = 0.0\n")
    (tmp_path / "own.py").write_text(
        f"import sys\nsys.path[:0] = [{str(processors)!r}, {str(tmp_path)!r}]\n"
        "from zprime import ZPrime, ZPrimeParameters\nfrom own_cuts import CUT\nclass Own(ZPrime):\n    cut = CUT\n"
    )
    document = in_parts(write_search(tmp_path, processor="own.py:Own", operator=None, anomaly_detection=None))
    try:
        run_search(Request(document, tmp_path / "out"))
        assert resumed(tmp_path).new == []
        (tmp_path / "own_cuts.py").write_text("CUT = 1.0\n")
        counting = resumed(tmp_path)
        assert counting.kept == 0
        assert any("processor own_cuts.py" in text for text in counting.said)
    finally:
        for path in (str(processors), str(tmp_path)):
            sys.path.remove(path)
        sys.modules.pop("own_cuts", None)


def test_an_unfinished_run_is_never_thrown_away_unasked(search: Path) -> None:
    (search / "out").rename(search / ".out.partial")
    document = next(search.glob("*.yml"))
    with pytest.raises(OutputError, match=r"an unfinished run is kept in .*--resume, or begin anew with --force"):
        run_search(Request(document, search / "out"))
    assert has_results(partial_run(search / "out"))
    assert resumed(search).new == []
    assert not partial_run(search / "out").path.exists()


def test_two_runs_do_not_write_to_one_place(search: Path) -> None:
    from darkop_dist.runs import start_run

    first = start_run(search / "other", force=False)
    with pytest.raises(OutputError, match="another run is writing to it"):
        start_run(search / "other", force=True)
    first.abandon()
    start_run(search / "other", force=False).abandon()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local", "dask"])
def test_the_driver_is_killed_at_random_moments(
    write_search: Write, finished: Path, tmp_path: Path, where: str
) -> None:
    """SIGKILL ten times in all (seven here, three with Dask), then the run is left to end."""
    kills = 7 if where == "local" else 3
    document = in_parts(write_search(tmp_path), where=where, workers=1 if where == "local" else 2)
    rng = np.random.default_rng(20261122)
    command = [sys.executable, "-c", "from darkop_dist.cli import main; main()", "run", str(document)]
    command += ["--output", str(tmp_path / "out"), "--resume"]
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            time.sleep(float(rng.uniform(2.0, 14.0)))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        if (tmp_path / "out").exists():
            shutil.rmtree(tmp_path / "out")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "out") == results(finished / "out")


def test_the_ledger_and_the_histograms_of_a_run_that_died_can_be_read(
    search: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from darkop_dist.cli import main
    from darkop_dist.histograms import load_histograms

    partial = partial_run(search / "out")
    (search / "out").rename(partial.path)
    for file in (partial.ledger, partial.histograms):
        file.unlink()
    journal = partial.chunks / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:5]) + lines[5][:40])
    assert len(read_progress(partial.chunks).ledger.entries) == 5
    monkeypatch.setattr(sys, "argv", ["darkop", "ledger", str(search / "out"), "--histograms", str(search / "h.json")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code in (0, None)
    printed = capsys.readouterr().out
    assert f"not finished: 5 of {PARTS + 2} chunks are known" in printed
    assert load_histograms(search / "h.json").histograms["mtt"].sum(flow=True).value != 0.0


def test_a_bug_names_the_command_that_reruns_its_chunk(write_search: Write, tmp_path: Path) -> None:
    processors = Path(__file__).resolve().parents[2] / "processors"
    (tmp_path / "buggy.py").write_text(
        f"import sys\nsys.path.insert(0, {str(processors)!r})\n"
        "from zprime import ZPrime, ZPrimeParameters\n"
        "class Buggy(ZPrime):\n"
        "    def process(self, events):\n"
        "        if events.metadata['file_label'] == 'background-04.csv':\n"
        "            return 1 / 0\n"
        "        return super().process(events)\n"
    )
    document = in_parts(write_search(tmp_path, processor="buggy.py:Buggy", operator=None, anomaly_detection=None))
    with pytest.raises(
        ChunkError, match=r"background-04\.csv[\s\S]*ZeroDivisionError[\s\S]*darkop chunk .* --debug --output .*/out"
    ) as bug:
        run_search(Request(document, tmp_path / "out"))
    with pytest.raises(ChunkError, match="ZeroDivisionError") as again:
        rerun_chunk(document, bug.value.index, output=tmp_path / "out")
    assert isinstance(again.value.__cause__, ZeroDivisionError)
    entry = rerun_chunk(document, bug.value.index - 1, output=tmp_path / "out")
    assert entry.status == "done"


def test_a_copy_of_a_checkpoint_that_was_cut_short_is_made_again(
    search: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed(search)  # trains at this place
    pending = partial_run(search / "out")
    pending.checkpoint.mkdir(parents=True)
    (pending.checkpoint / "card.json").write_text('{"name": "of another')
    monkeypatch.setattr("darkop_dist.stages.pipeline.train_operator", None)
    resumed(search)
    assert results(search / "out") == results(finished / "out")


def test_a_training_that_is_cut_short_is_not_vouched_for_by_the_one_before(
    search: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = next(search.glob("*.yml"))
    body = json.loads(document.read_text())
    body["operator"]["train"]["seed"] = 99
    document.write_text(json.dumps(body))
    pending = partial_run(search / "out")
    shutil.copytree(search / "out" / "checkpoint", pending.checkpoint)
    shutil.copy(search / "out" / "training.json", pending.training)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("darkop_dist.stages.pipeline.note_training", killed)
    with pytest.raises(KeyboardInterrupt):
        resumed(search)
    assert not pending.training.exists()


def test_what_is_kept_is_small(finished: Path) -> None:
    stored = sum(path.stat().st_size for path in RunDirectory(finished / "out").chunks.rglob("*") if path.is_file())
    assert stored < 2_000_000
