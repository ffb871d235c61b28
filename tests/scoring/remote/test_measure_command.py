"""``darkop serve --measure`` against a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.cli.app import _run, app
from darkop_dist.scoring.capacity import Curve
from darkop_dist.scoring.local import LocalScorer


def darkop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["darkop", "serve", *arguments])
    status = _run(app)
    found = capsys.readouterr()
    return status, " ".join(found.out.split()), " ".join(found.err.split())


def test_a_measurement_of_a_server(
    local: LocalScorer, tmp_path: Path, score_servers: Any, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip

    curve = tmp_path / "curve.json"
    with score_servers.score_server(local, best_events=64) as server:
        measure = ("--measure", server.url, "--events", "20", "--seconds", "0.3", "--curve", str(curve))
        status, told, problems = darkop(capsys, monkeypatch, *measure, "--clients", "4,1,2")
        assert status == 0, problems
        for words in ("toy at http://127.0.0.1", "saturated from", "limit: ", f"written: {curve}"):
            assert words in told
        assert [point.clients for point in Curve.model_validate_json(curve.read_bytes()).points] == [1, 2, 4]
        assert curve.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        status, told, _ = darkop(capsys, monkeypatch, *measure, "--clients", "1", "--json")
        assert (status, json.loads(told)["model"]) == (0, "toy")
        status, _, problems = darkop(capsys, monkeypatch, "--measure", server.url, "--model", "toi")
        assert status == 2
        assert "unknown served model 'toi'. Did you mean toy?" in problems
