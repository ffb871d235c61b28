"""A run that lost events does not take the place of one that is better."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.cli.results import ledger
from darkop_dist.errors import LedgerError
from darkop_dist.execution import load_ledger
from darkop_dist.runs import RunDirectory, file_sha256, partial_run
from darkop_dist.stages.pipeline import Request, run_search

Write = Callable[..., Path]


@pytest.fixture
def document(write_search: Write, tmp_path: Path) -> Path:
    """The small search without an operator and limits, its background in three files."""
    made = write_search(tmp_path, operator=None, anomaly_detection=None, limits=None, systematics=None)
    lines = (tmp_path / "background.csv").read_text().splitlines()
    for part in range(3):
        (tmp_path / f"part-{part}.csv").write_text("\n".join([lines[0], *lines[1 + part :: 3]]) + "\n")
    body = json.loads(made.read_text())
    body["datasets"][1]["files"] = [f"part-{part}.csv" for part in range(3)]
    body["execution"] = {"retries": 0}
    made.write_text(json.dumps(body))
    return made


def run(document: Path, **options: Any) -> RunDirectory:
    return run_search(Request(document, document.parent / "out", **options))


def lost_in(run: RunDirectory) -> int:
    return sum(closure.failed for closure in load_ledger(run.ledger).closure())


def damage(document: Path, part: int) -> None:
    path = document.parent / f"part-{part}.csv"
    path.rename(path.with_suffix(".whole"))
    path.write_bytes(b"\xff\xfe\x00 no table")


def repair(document: Path, part: int) -> None:
    path = document.parent / f"part-{part}.csv"
    path.with_suffix(".whole").replace(path)


def test_a_finished_run_outlives_one_that_lost_events(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = run(document)
    histograms = file_sha256(good.histograms)
    damage(document, 1)
    aside = partial_run(good.path)
    for option in ("force", "resume"):
        with pytest.raises(LedgerError, match=r"out stays as it is[\s\S]*kept in .*\.out\.partial[\s\S]*--accept-loss"):
            run(document, **{option: True})
        assert (lost_in(good), lost_in(aside)) == (0, 1)
    assert file_sha256(good.histograms) == histograms
    assert (aside.report / "index.html").exists()
    ledger(good.path)
    assert "a later run lost events and is kept in" in capsys.readouterr().out
    repair(document, 1)
    again = run(document, resume=True)
    assert lost_in(again) == 0
    assert file_sha256(again.histograms) == histograms
    assert not aside.path.exists()


def test_a_loss_that_was_accepted_is_not_forgotten(document: Path) -> None:
    damage(document, 1)
    accepted = run(document, accept_loss=("background",))
    accepted.limits.write_text("what was concluded without part 1")
    with pytest.raises(LedgerError, match="out stays as it is"):
        run(document, resume=True)
    assert accepted.limits.exists()
    damage(document, 2)
    assert lost_in(run(document, resume=True, accept_loss=("background",))) == 2


def test_an_open_run_gives_way_to_one_that_lost_less_only(document: Path) -> None:
    for part in (1, 2):
        damage(document, part)
    with pytest.raises(LedgerError, match=r"kept in .*out\. "):
        run(document)
    open_run = RunDirectory(document.parent / "out")
    assert lost_in(open_run) == 2
    repair(document, 1)
    with pytest.raises(LedgerError, match=r"kept in .*out\. "):
        run(document, resume=True)
    assert lost_in(open_run) == 1
    assert not partial_run(open_run.path).path.exists()
    damage(document, 1)
    with pytest.raises(LedgerError, match="out stays as it is"):
        run(document, resume=True)
    assert lost_in(open_run) == 1
