"""Searches whose model a real server holds: what the run keeps of it, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from darkop_dist.errors import FingerprintError, InputFileError
from darkop_dist.execution.ledger import load_ledger
from darkop_dist.runs import RunDirectory, has_results, partial_run
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.preservation import PackageRequest, write_package

Write = Callable[..., Path]


@pytest.fixture
def trained(write_search: Write, tmp_path: Path) -> RunDirectory:
    """A run in the process, whose checkpoint is then served."""
    return run_search(Request(write_search(tmp_path), tmp_path / "trained", page=False))


def document_of(folder: Path, name: str, operator: dict[str, Any], **changes: Any) -> Path:
    body = json.loads((folder / "search.yml").read_text())
    path = folder / name
    path.write_text(json.dumps({**body, "operator": operator, **changes}))
    return path


def results(run: RunDirectory) -> dict[str, Any]:
    texts = {name: json.loads((run.path / name).read_text()) for name in ("histograms.json", "cutflow.json")}
    return {**texts, "ledger": load_ledger(run.ledger).digest}


def test_a_model_that_only_the_server_has(trained: RunDirectory, score_servers: ModuleType, tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine"
    trained.checkpoint.rename(checkpoint)
    local = document_of(tmp_path, "local.yml", {"checkpoint": str(checkpoint)})
    expected = results(run_search(Request(local, tmp_path / "local", page=False)))
    with score_servers.score_server(LocalScorer.from_checkpoint(checkpoint), name="only-there") as server:
        document = document_of(tmp_path, "remote.yml", {"checkpoint": "only-there", "serve": server.url})
        run = run_search(Request(document, tmp_path / "remote"))
        page = (run.report / "index.html").read_text()
        assert results(run) == expected
        assert set(load_ledger(run.ledger).scored_by) == {server.url}
        assert f"{server.url}, fingerprint {server.scorer.fingerprint[:16]}" in page
        assert "unknown: only the server has the card" in page
        told = rf"only-there of .* was on the server at {server.url} only.*checkpoint {server.scorer.fingerprint}"
        with pytest.raises(InputFileError, match=told):
            write_package(PackageRequest(run.path, tmp_path / "package"))
        asked = len(server.came)
    with_it = document_of(tmp_path, "remote.yml", {"checkpoint": str(checkpoint)})
    again = run_search(Request(with_it, tmp_path / "remote", resume=True, page=False))
    assert len(server.came) == asked
    assert results(again) == expected
    assert load_ledger(again.ledger).scored_by == load_ledger(run.ledger).scored_by, "the scores were taken up"
    write_package(PackageRequest(again.path, tmp_path / "package"))
    assert (tmp_path / "package" / "operator" / "checkpoint" / "card.json").exists()


def test_a_run_ends_with_the_model_that_it_began_with(
    trained: RunDirectory, score_servers: ModuleType, tmp_path: Path
) -> None:
    scorer = LocalScorer.from_checkpoint(trained.checkpoint)
    other = "e" * 64
    with score_servers.score_server(scorer, name="changing", best_events=50_000) as server:
        asked = []

        def upgraded() -> tuple[str, float]:
            asked.append(1)
            if len(asked) == 2:  # a request for each chunk
                server.fingerprint = other
            return "", 0.0

        server.draw = upgraded
        operator = {"checkpoint": "changing", "serve": server.url}
        document = document_of(tmp_path, "remote.yml", operator, execution={"chunk_events": 500, "workers": 1})
        request = Request(document, tmp_path / "remote", page=False)
        with pytest.raises(FingerprintError, match=f"{other}.*{scorer.fingerprint}"):
            run_search(request)
        assert has_results(partial_run(request.output or Path()))
        with pytest.raises(FingerprintError, match=f"now {other}, and the run began with {scorer.fingerprint}"):
            run_search(Request(document, tmp_path / "remote", resume=True, page=False))
        server.fingerprint = ""
        run = run_search(Request(document, tmp_path / "remote", resume=True, page=False))
    local = document_of(
        tmp_path, "local.yml", {"checkpoint": str(trained.checkpoint)}, execution={"chunk_events": 500, "workers": 1}
    )
    assert results(run) == results(run_search(Request(local, tmp_path / "local", page=False)))
