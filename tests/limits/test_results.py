"""limits.json gives back what was put in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import hist
import pytest

from darkop_dist.errors import InputFileError
from darkop_dist.limits import FitSample, LimitsFile, SignalResult, build_workspace, fit, upper_limit

Filled = dict[tuple[str, str, str], list[float]]


def test_save_and_load_is_identity(
    booked: Callable[..., hist.Hist], filled: Filled, samples: list[FitSample], tmp_path: Path
) -> None:
    workspace = build_workspace(booked(filled), samples, signal="zprime", regions=["signal"])
    result = SignalResult(
        signal="zprime",
        label="Z'",
        workspace_sha256=workspace.sha256,
        observed=workspace.observed,
        limit=upper_limit(workspace, signal="zprime", xsec_pb=1.0),
        background_fit=fit(workspace, hypothesis="background-only"),
        signal_fit=None,
        notes=("a note",),
    )
    path = tmp_path / "limits.json"
    LimitsFile((result,)).save(path)
    assert LimitsFile.load(path) == LimitsFile((result,))
    content = json.loads(path.read_text())
    assert content["schema"] == "darkop.limits/1"
    del content["results"][0]["limit"]["observed"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputFileError, match=r"limits\.json: is damaged at 0\.limit\.observed"):
        LimitsFile.load(path)
