"""Refusals and descriptions as JSON."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import get_args

import pytest

from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.wire import Code, ModelDescription, Problem
from darkop_dist.scoring.wire.problem import STATUS, RefusedError


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(get_args(Code))
    assert all(400 <= status < 600 for status in STATUS.values())


@pytest.mark.parametrize("code", get_args(Code))
def test_a_problem_comes_back(code: Code) -> None:
    problem = Problem(code=code, detail="why", retry_after_s=0.25, values={"expected": "a", "most": 3})
    assert Problem.model_validate_json(problem.model_dump_json()) == problem
    refused = pickle.loads(pickle.dumps(RefusedError(problem)))  # noqa: S301  # made here; Ray sends it between processes
    assert refused.problem == problem
    assert str(refused) == "why"


def test_what_a_later_version_adds_is_left_out() -> None:
    assert Problem.model_validate_json('{"code": "busy", "detail": "why", "new": 1}').retry_after_s is None


def test_a_description_comes_back(checkpoint_directory: Path) -> None:
    scorer = LocalScorer.from_checkpoint(checkpoint_directory)
    description = ModelDescription.of("toy", scorer, best_events=1, most_events=2, most_bytes=3, version="0")
    found = ModelDescription.model_validate_json(description.model_dump_json())
    assert found == description
    assert found.input_specs == scorer.inputs
    assert found.axis == scorer.score_axis
    assert (found.fingerprint, found.name) == (scorer.fingerprint, "toy")
