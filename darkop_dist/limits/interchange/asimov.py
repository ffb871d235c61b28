"""Whether data are an observation or the background expectation in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from darkop_dist.limits.workspace import Workspace


def observed_in(spec: Mapping[str, Any]) -> Literal["data", "asimov"]:
    """``asimov`` if the observation of every channel is the sum of its samples without signal, to a relative 1e-9."""
    signals = Workspace("", dict(spec), "data").signal_rows
    observed = {entry["name"]: np.asarray(entry["data"]) for entry in spec["observations"]}
    for channel in spec["channels"]:
        rows = [s["data"] for s in channel["samples"] if (channel["name"], s["name"]) not in signals]
        if not rows or not np.allclose(np.sum(rows, axis=0), observed[channel["name"]], rtol=1e-9):
            return "data"
    return "asimov"
