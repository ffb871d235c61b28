"""What a training lost is said, kept with the run, and accepted by name or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.errors import ChunkError, LedgerError
from darkop_dist.execution import load_ledger
from darkop_dist.limits import LimitsFile
from darkop_dist.operators import load_checkpoint
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.context import load_context
from darkop_dist.stages.limits import write_limits
from darkop_dist.stages.pipeline import Request, Silent, run_search
from darkop_dist.stages.search import prepare_search
from darkop_dist.stages.train import train_operator
from darkop_dist.stages.training_record import is_trained, note_training, plan_training

Write = Callable[..., Path]
FAILING = """
import sys
from pathlib import Path
sys.path.insert(0, {processors!r})
from zprime import ZPrime, ZPrimeParameters

class Failing(ZPrime):
    def scored_events(self, events):
        mark = Path({mark!r})
        if events.metadata["file_label"] == "part-1.csv" and mark.exists():
            mark.unlink()
            {fails}
        return super().scored_events(events)
"""
GONE = "raise OSError(5, 'the storage does not answer')"


class Listening(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def document(write_search: Write, tmp_path: Path) -> Path:
    """The small search, its background in three files, with a processor that fails once where there is a mark."""
    return written(write_search, tmp_path, retries=0)


def written(write_search: Write, folder: Path, *, retries: int, fails: str = GONE) -> Path:
    made = write_search(folder, report={"candidates": 5, "displays": 0})
    lines = (folder / "background.csv").read_text().splitlines()
    for part in range(3):
        (folder / f"part-{part}.csv").write_text("\n".join([lines[0], *lines[1 + part :: 3]]) + "\n")
    processors = str(Path(__file__).resolve().parents[2] / "processors")
    source = FAILING.format(processors=processors, mark=str(folder / "mark"), fails=fails)
    (folder / "failing.py").write_text(source)
    body = json.loads(made.read_text())
    body["datasets"][1]["files"] = [f"part-{part}.csv" for part in range(3)]
    body |= {"processor": "failing.py:Failing", "execution": {"retries": retries}}
    made.write_text(json.dumps(body))
    return made


def run(document: Path, watch: Any = None, **options: Any) -> RunDirectory:
    return run_search(Request(document, document.parent / "out", **options), watch)


def test_a_file_that_failed_in_the_training_alone_is_not_forgotten(document: Path) -> None:
    (document.parent / "mark").touch()
    listening = Listening()
    with pytest.raises(
        LedgerError,
        match=r"the training lost events:\n  background: lost 26\d\d of 8000[\s\S]*--accept-loss background",
    ):
        run(document, listening)
    assert any("the training goes on without" in text and "part-1.csv" in text for text in listening.said)
    open_run = RunDirectory(document.parent / "out")
    assert all(closure.closed for closure in load_ledger(open_run.ledger).closure())
    with pytest.raises(LedgerError, match="the training lost events"):
        write_limits(load_context(open_run))
    card = load_checkpoint(open_run.checkpoint).card
    assert card.trained_on.lost == ("background: 2667 of 8000 entries in 1 chunk",)
    write_limits(load_context(open_run), accept_loss=("background",))
    assert any("was trained without" in note for note in LimitsFile.load(open_run.limits).results[0].notes)
    open_run.limits.unlink()
    whole = run(document, listening, resume=True)  # trains again, since the file may be read this time
    assert load_checkpoint(whole.checkpoint).card.trained_on.lost == ()
    assert not any("was trained without" in note for note in LimitsFile.load(whole.limits).results[0].notes)


def test_a_loss_that_is_accepted_stands_in_the_result(document: Path) -> None:
    (document.parent / "part-1.csv").write_bytes(b"\xff\xfe\x00 no table")
    with pytest.raises(LedgerError, match="the ledger is not closed"):
        run(document)
    listening = Listening()
    done = run(document, listening, resume=True, accept_loss=("background",))
    assert not any(text.startswith("training") for text in listening.said), "the key tells that the file is still lost"
    assert any("was trained without" in note for note in LimitsFile.load(done.limits).results[0].notes)
    page = (done.report / "index.html").read_text()
    assert "The operator was trained without background: 1 file whose entries nobody knows" in page
    assert "background: lost 1 file whose entries nobody knows" in page


def test_another_try_and_a_bug(write_search: Write, tmp_path: Path) -> None:
    document = written(write_search, tmp_path / "again", retries=1)
    (tmp_path / "again" / "mark").touch()
    search = prepare_search(document)
    assert train_operator(search, tmp_path / "model", name="model").record.lost == ()
    assert not (tmp_path / "again" / "mark").exists()
    document = written(write_search, tmp_path / "bug", retries=1, fails="1 / 0")
    (tmp_path / "bug" / "mark").touch()
    with pytest.raises(ChunkError, match=r"for the training[\s\S]*ZeroDivisionError") as bug:
        run(document)
    assert "darkop chunk" not in str(bug.value)


def test_the_key_tells_a_file_of_a_server_from_what_it_was(
    document: Path, flaky_server: Callable[[Path], Any], tmp_path: Path
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (tmp_path / "part-1.csv").rename(served / "part-1.csv")
    server = flaky_server(served)
    body = json.loads(document.read_text())
    body["datasets"][1]["files"][1] = server.url("part-1.csv")
    document.write_text(json.dumps(body))
    search = prepare_search(document)
    here = RunDirectory(tmp_path / "trained")
    here.path.mkdir()
    trained = train_operator(search, here.checkpoint, name="model")
    note_training(trained.record, here)
    assert is_trained(plan_training(search), here)
    table = served / "part-1.csv"
    size = table.stat().st_size
    table.write_text(table.read_text()[:-20] + table.read_text()[-20:].replace("1", "2"))
    assert table.stat().st_size == size
    assert not is_trained(plan_training(search), here)


def test_a_changed_file_of_data_does_not_train_again(document: Path) -> None:
    before = plan_training(prepare_search(document)).key
    with (document.parent / "data.csv").open("a") as data:
        data.write(",".join(["1000.0"] * 6) + "\n")
    assert plan_training(prepare_search(document)).key == before
