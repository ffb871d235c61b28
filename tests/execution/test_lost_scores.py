"""A server of scores that goes away: tried again, then in the ledger; another model stops the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkop_dist.errors import FingerprintError, LedgerError, ScoringOutageError
from darkop_dist.execution.faults import classify
from darkop_dist.execution.ledger import load_ledger
from darkop_dist.runs import RunDirectory
from darkop_dist.scoring.remote.fallback import FALLBACK
from darkop_dist.scoring.resolve import resolve
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.run_events import run_events
from darkop_dist.stages.search import prepare_search


class Sick:
    """A scorer that fails as it is told, and works otherwise."""

    def __init__(self, well: Any, errors: list[Exception | None]) -> None:
        self._well, self._errors = well, errors
        self.fingerprint, self.inputs, self.score_axis = well.fingerprint, well.inputs, well.score_axis

    def score(self, batch: Any) -> np.ndarray:
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        scores: np.ndarray = self._well.score(batch)
        return scores


@pytest.fixture(scope="module")
def trained(write_search: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lost")
    run_search(Request(write_search(folder), folder / "run", page=False))
    return folder


def run_with(folder: Path, output: Path, errors: list[Exception | None]) -> Any:
    output.mkdir()
    checkpoint = next(path.parent for path in (folder / "run").rglob("card.json"))
    search = prepare_search(folder / "search.yml")
    return run_events(search, RunDirectory(output), Sick(resolve(checkpoint), errors))


def test_an_outage_is_no_bug_of_the_processor() -> None:
    try:
        try:
            raise FileNotFoundError(2, "no such file", "/etc/cert.pem")
        except OSError as error:
            raise ScoringOutageError("no scores: https://h:1: refused (tried 5 times).") from error
    except ScoringOutageError as error:
        fault = classify(error, "a.root")
    assert (fault.kind, fault.retriable) == ("transient", True)
    assert fault.reason.startswith("ScoringOutageError: no scores: https://h:1: refused")


def test_a_chunk_is_tried_again(trained: Path, tmp_path: Path) -> None:
    result = run_with(trained, tmp_path / "run", [ScoringOutageError("no scores: gone")])
    assert [entry.status for entry in result.ledger.entries].count("retried") == 1
    retried = next(entry for entry in result.ledger.entries if entry.status == "retried")
    assert "no scores: gone" in retried.reason
    assert set(retried.scored_by) == {"local"}
    assert result.ledger.scored_by["local"] > retried.scored_by["local"] > 0


def test_a_server_that_stays_away_opens_the_ledger(trained: Path, tmp_path: Path) -> None:
    gone: list[Exception | None] = [ScoringOutageError("no scores: gone for good")] * 100
    with pytest.raises(LedgerError, match=r"lost .* entries in .* chunk[\s\S]*no scores: gone for good"):
        run_with(trained, tmp_path / "run", gone)


def test_another_model_stops_the_run(trained: Path, tmp_path: Path) -> None:
    other = FingerprintError("http://h: model m answers with the fingerprint aa, the run began with bb")
    with pytest.raises(FingerprintError, match="fingerprint aa, the run began with bb"):
        run_with(trained, tmp_path / "run", [None, other])


def test_the_ledger_says_who_scored(trained: Path, tmp_path: Path) -> None:
    ledger = run_with(trained, tmp_path / "run", []).ledger
    assert ledger.scored_sentence == "", "in the process is where everybody expects it"
    entry = ledger.entries[0]
    two = replace(ledger, entries=(
        replace(entry, scored_by={"https://h:1": 700}), replace(entry, scored_by={"https://h:1": 20, FALLBACK: 30}),
    ))  # fmt: skip
    assert two.scored_sentence == ("events scored: 720 by https://h:1 in 2 chunks, 30 by local (fallback) in 1 chunk")
    other = replace(entry, scored_by={})
    assert replace(ledger, entries=(other,)).digest == replace(ledger, entries=(entry,)).digest
    two.save(tmp_path / "ledger.json")
    assert load_ledger(tmp_path / "ledger.json") == two
