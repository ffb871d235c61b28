"""Scores are the same to the last bit wherever they are computed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from darkop_dist.errors import InputFileError
from darkop_dist.operators.checkpoint import Checkpoint, save_checkpoint
from darkop_dist.operators.evaluation import one_thread, scoring_function

Make = Callable[..., np.ndarray]


def test_an_event_does_not_depend_on_the_events_beside_it(trained: Checkpoint, make_dijets: Make) -> None:
    score, fields = scoring_function(trained), make_dijets(300, seed=31)
    scores = score({"fields": fields})
    assert scores.dtype == np.float32
    for size in (1, 7, 130):
        pieces = [score({"fields": fields[start : start + size]}) for start in range(0, 140, size)]
        np.testing.assert_array_equal(np.concatenate(pieces)[:140], scores[:140])
    np.testing.assert_array_equal(score({"fields": fields[::-1]})[::-1], scores)


SCRIPT = """
import hashlib, sys
import numpy as np, torch
from darkop_dist.operators.checkpoint import load_checkpoint
from darkop_dist.operators.evaluation import scoring_function
torch.set_num_threads(2)
scores = scoring_function(load_checkpoint(sys.argv[1]))({"fields": np.load(sys.argv[2])})
print(hashlib.sha256(scores.tobytes()).hexdigest())
"""


def test_another_process_gives_the_same_bits(
    trained: Checkpoint, make_dijets: Make, tmp_path: Path, repository: Path
) -> None:
    fields = make_dijets(200, seed=32)
    np.save(tmp_path / "fields.npy", fields)
    save_checkpoint(trained, tmp_path / "toy")
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "toy"), str(tmp_path / "fields.npy")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    here = scoring_function(trained)({"fields": fields})
    assert done.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


def test_the_number_of_threads_is_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_events(trained: Checkpoint) -> None:
    assert scoring_function(trained)({"fields": np.empty((0, 2, 8, 16), np.float32)}).shape == (0,)


def test_an_unknown_architecture_or_other_weights_are_refused(trained: Checkpoint) -> None:
    card = trained.card.model_copy(update={"architecture": "transformer"})
    with pytest.raises(InputFileError, match="architecture 'transformer' is unknown to this version"):
        scoring_function(Checkpoint(card, trained.weights))
    fewer = {name: array for name, array in trained.weights.items() if name != "encoder.0.bias"}
    with pytest.raises(InputFileError, match=r"do not fit: .*encoder\.0\.bias"):
        scoring_function(Checkpoint(trained.card, fewer))
    other = trained.card.model_copy(update={"settings": {"width": "wide"}})
    with pytest.raises(InputFileError, match="its weights or settings do not fit"):
        scoring_function(Checkpoint(other, trained.weights))
