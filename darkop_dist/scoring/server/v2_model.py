"""A model as the Open Inference Protocol describes it: metadata, and Triton's configuration."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from darkop_dist.scoring.server.v2_tensors import FP32, SCORE, VERSION
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import Problem, RefusedError

PLATFORM = "darkop"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics", "parameters")


def server_metadata(version: str) -> dict[str, Any]:
    """What the server is, as JSON."""
    return {"name": "darkop-dist", "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(description: ModelDescription) -> dict[str, Any]:
    """A model's inputs and output, as JSON.

    The axis of the events is -1. Above the standard stand ``parameters``, which other servers have too: the
    fingerprint, the score axis and the limits of the model, and the meaning of each input.
    """
    return {
        "name": description.name,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": [
            {"name": spec.name, "datatype": FP32, "shape": [-1, *spec.shape], "parameters": {"meaning": spec.meaning}}
            for spec in description.input_specs
        ],
        "outputs": [{"name": SCORE, "datatype": FP32, "shape": [-1]}],
        "parameters": parameters(description),
    }


def model_config(description: ModelDescription) -> dict[str, Any]:
    """A model's configuration as Triton writes it, without the axis of the events.

    ``dynamic_batching`` names the batch that is best; coffea cuts and pads what it sends to the first number there. The
    output's ``dims`` are empty: one number per event.
    """
    most, best = batch_sizes(description)
    inputs = description.input_specs
    return {
        "name": description.name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": most,
        "input": [{"name": spec.name, "data_type": f"TYPE_{FP32}", "dims": list(spec.shape)} for spec in inputs],
        "output": [{"name": SCORE, "data_type": f"TYPE_{FP32}", "dims": []}],
        "dynamic_batching": {"preferred_batch_size": [best]},
        "parameters": {
            key: {"string_value": value if isinstance(value, str) else json.dumps(value)}
            for key, value in [
                *parameters(description).items(),
                *((f"meaning_of_{spec.name}", spec.meaning) for spec in inputs),
            ]
        },
    }


def batch_sizes(description: ModelDescription) -> tuple[int, int]:
    """The most events of one request, and the best: those that ``most_bytes`` leaves room for."""
    specs = description.input_specs
    event_bytes = sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs)
    most = max(1, min(description.most_events, description.most_bytes // max(1, event_bytes)))
    return most, min(description.best_events, most)


def parameters(description: ModelDescription) -> dict[str, Any]:
    """What a client of darkop wants to know beyond the standard, as JSON."""
    axis = description.score_axis
    return {
        "fingerprint": description.fingerprint,
        "score_edges": list(axis.edges),
        "score_label": axis.label,
        "score_fixed_on": axis.fixed_on,
        "best_events": description.best_events,
        "most_events": description.most_events,
        "most_bytes": description.most_bytes,
        "version": description.version,
    }


def check_fingerprint(description: ModelDescription, expected: str | None) -> None:
    """Check that a model is the one that was asked for.

    Raises:
        RefusedError: it is another one.
    """
    found = description.fingerprint
    if expected not in (None, found):
        detail = f"model {description.name} has the fingerprint {found}, not {expected}, which was asked for"
        raise RefusedError(Problem(code="fingerprint", detail=detail, values={"expected": expected, "found": found}))
