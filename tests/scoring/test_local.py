"""The scorer in the process: what it refuses, and that it travels."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import cloudpickle
import numpy as np
import pytest

from darkop_dist.errors import FingerprintError, InputValueError, RunError
from darkop_dist.operators.checkpoint import Checkpoint, load_checkpoint
from darkop_dist.scoring.apply import score_events
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.local import LocalScorer

MakeEvents = Callable[..., ak.Array]


@pytest.fixture(scope="module")
def scorer(checkpoint_directory: Path) -> LocalScorer:
    return LocalScorer.from_checkpoint(checkpoint_directory)


def fields(events: int) -> np.ndarray:
    return np.random.default_rng(1).exponential(size=(events, 2, 8, 16)).astype(np.float32)


def test_it_keeps_the_contract(scorer: LocalScorer) -> None:
    assert isinstance(scorer, Scorer)
    card = scorer.card
    assert scorer.fingerprint == card.fingerprint
    assert scorer.inputs[0].settings == card.inputs[0].settings
    assert scorer.inputs[0].shape == (2, 8, 16)
    assert scorer.score_axis.edges == card.score_axis.edges
    scores = scorer.score({"fields": fields(10)})
    assert (scores.shape, scores.dtype) == ((10,), np.float32)


def test_no_events(scorer: LocalScorer) -> None:
    scores = scorer.score({"fields": fields(0)})
    assert (scores.shape, scores.dtype) == ((0,), np.float32)


@pytest.mark.parametrize("library", [pickle, cloudpickle])
def test_it_travels_without_its_directory(
    scorer: LocalScorer, library: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = library.dumps(scorer)  # type: ignore[attr-defined]
    assert len(sent) < 200_000
    assert b"torch._utils" not in sent  # plain arrays, no tensors

    def no_files(*_: object) -> None:
        raise AssertionError("a worker reads no file")

    monkeypatch.setattr("darkop_dist.operators.checkpoint._read", no_files)
    arrived = pickle.loads(sent)  # noqa: S301  # the bytes were made above
    batch = {"fields": fields(200)}
    np.testing.assert_array_equal(arrived.score(batch), scorer.score(batch))
    assert arrived.fingerprint == scorer.fingerprint


def test_it_arrives_whole_or_not_at_all(scorer: LocalScorer) -> None:
    restore, (card, weights) = scorer.__reduce__()
    weights["encoder.0.bias"] = weights["encoder.0.bias"] + 1
    with pytest.raises(FingerprintError, match="scorer sent to a worker"):
        restore(card, weights)


@pytest.mark.parametrize(
    ("batch", "match"),
    [
        ({}, "input fields: it is absent"),
        ({"fields": [1.0]}, "input fields: it is absent or no numpy array"),
        (
            {"fields": fields(3)[:, :1]},
            r"float32 of shape \(3, 1, 8, 16\) instead of float32 of shape \(events, 2, 8, 16\)",
        ),
        ({"fields": fields(3).astype(np.float64)}, "input fields: float64 of shape"),
        ({"fields": fields(3)[0]}, r"float32 of shape \(2, 8, 16\)"),
        (
            {"fields": np.where(np.arange(3)[:, None, None, None] == 1, np.float32(np.nan), fields(3))},
            "first in event 1",
        ),
        ({"fields": np.full((2, 2, 8, 16), np.inf, np.float32)}, "not finite, first in event 0"),
    ],
)
def test_bad_batches_are_refused(scorer: LocalScorer, batch: dict[str, np.ndarray], match: str) -> None:
    with pytest.raises(InputValueError, match=match):
        scorer.score(batch)


def test_a_score_that_is_not_finite_is_an_error(scorer: LocalScorer) -> None:
    extreme = fields(5)
    extreme[3] = 3e38
    with pytest.raises(RunError, match="score of 1 of 5 events is not finite, first that of event 3"):
        scorer.score({"fields": extreme})


def test_chunks_of_any_size_give_the_same_bits(scorer: LocalScorer, make_events: MakeEvents) -> None:
    events = make_events(300, seed=4)
    pieces = [score_events(scorer, events[start : start + 77]) for start in range(0, 300, 77)]
    np.testing.assert_array_equal(np.concatenate(pieces), score_events(scorer, events))


def test_threads_of_a_worker_take_turns(checkpoint_directory: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    scorer = LocalScorer(load_checkpoint(checkpoint_directory))
    batch = {"fields": fields(300)}
    expected = scorer.score(batch)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: scorer.score(batch), range(8)):
            np.testing.assert_array_equal(found, expected)


def test_the_weights_of_another_checkpoint_are_refused(scorer: LocalScorer) -> None:
    card = scorer.card.model_copy(update={"fingerprint": "0" * 64})
    restore, (_, weights) = scorer.__reduce__()
    with pytest.raises(FingerprintError, match="the card says 000000000000"):
        restore(card.model_dump_json(), weights)
    assert LocalScorer(Checkpoint(scorer.card, weights)).fingerprint == scorer.fingerprint
