"""The model in the process stands in for a server that does not answer, and for no other reason."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from darkop_dist.errors import FingerprintError, InputValueError
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.origins import recorded_origins
from darkop_dist.scoring.remote import fallback
from darkop_dist.scoring.remote.auto import AutoScorer, Choice, Cost, measure
from darkop_dist.scoring.remote.fallback import FALLBACK, FallbackScorer
from darkop_dist.scoring.remote.scorer import RemoteScorer

Serve = Callable[..., Any]
Make = Callable[..., RemoteScorer]
MakeBatch = Callable[..., dict[str, np.ndarray]]


def test_an_outage_is_bridged_and_said(
    serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch, caplog: pytest.LogCaptureFixture
) -> None:
    server, now = serve(), [0.0]
    scorer = FallbackScorer(scorer_of(server, tries=1), local, clock=lambda: now[0])
    assert isinstance(scorer, Scorer)
    batch = make_batch(40)
    expected = local.score(batch)
    with recorded_origins() as origins, caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(scorer.score(batch), expected)
        server.silent = True
        np.testing.assert_array_equal(scorer.score(batch), expected)
        asked = len(server.came)
        np.testing.assert_array_equal(scorer.score(batch), expected)
        assert len(server.came) == asked, "the server is left alone for a while"
        server.silent = False
        now[0] += fallback.FIRST_PAUSE_S
        np.testing.assert_array_equal(scorer.score(batch), expected)
    assert origins.events == {server.url: 80, FALLBACK: 80}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "The model runs in the process; the server is asked again in 5 s" in caplog.text


def test_the_pause_grows(serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch) -> None:
    server, now = serve(silent=True), [0.0]
    scorer = FallbackScorer(scorer_of(server, tries=1), local, clock=lambda: now[0])
    times = []
    for second in range(100):
        now[0] = float(second)
        before = len(server.came)
        scorer.score(make_batch(1))
        if len(server.came) > before:
            times.append(second)
    assert times == [0, 5, 15, 35, 75]


@pytest.mark.parametrize(("fault", "error"), [("invalid", InputValueError), ("other", FingerprintError)])
def test_a_refusal_is_no_outage(
    serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch, fault: str, error: type[Exception]
) -> None:
    server = serve()
    server.faults.append((fault, 0.0))
    with pytest.raises(error):
        FallbackScorer(scorer_of(server), local).score(make_batch(3))


def test_another_model_cannot_stand_in(serve: Serve, scorer_of: Make, local: LocalScorer) -> None:
    class Other(LocalScorer):
        fingerprint = "b" * 64

    other = Other(local._checkpoint)
    with pytest.raises(
        FingerprintError, match=rf"{local.fingerprint}, the checkpoint here b{{64}}: it cannot stand in"
    ):
        FallbackScorer(scorer_of(serve()), other)


def test_it_travels(serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch) -> None:
    server = serve(silent=True)
    arrived = pickle.loads(pickle.dumps(FallbackScorer(scorer_of(server, tries=1), local)))  # noqa: S301
    np.testing.assert_array_equal(arrived.score(make_batch(9)), local.score(make_batch(9)))


def test_costs_are_a_line_through_two_measurements(local: LocalScorer) -> None:
    now = [0.0]

    def score(batch: Any) -> None:
        now[0] += 0.5 + 0.001 * len(batch["fields"])

    cost = measure(score, local.inputs, lambda: now[0])
    assert cost.call_s == pytest.approx(0.5)
    assert cost.event_s == pytest.approx(0.001)


def test_small_batches_stay_in_the_process() -> None:
    choice = Choice(Cost(0.0001, 0.001), Cost(0.02, 0.0001))
    assert not choice.is_remote(22)
    assert choice.is_remote(23)
    assert str(choice).startswith("by the server from 32 events on (23.2 ms there, 32.1 ms in the process)")
    small = Choice(Cost(0.0001, 1e-6), Cost(0.02, 2e-6))
    assert not small.is_remote(10**6)
    assert str(small) == "in the process (1 us per event there, 2 by the server)"


def test_auto_scores_either_way(serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch) -> None:
    server = serve()
    scorer = AutoScorer(scorer_of(server), local)
    for choice, way in (
        (Choice(Cost(0.0, 1.0), Cost(5.5, 0.0)), server.url),
        (Choice(Cost(0.0, 1.0), Cost(50.0, 0.0)), "local"),
        (Choice(Cost(0.0, 1.0), None), FALLBACK),
    ):
        scorer._choice = choice
        with recorded_origins() as origins:
            scores = scorer.score(make_batch(9))
        np.testing.assert_array_equal(scores, local.score(make_batch(9)))
        assert origins.events == {way: 9}


def test_auto_measures_for_itself(serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch) -> None:
    server = serve(draw=lambda: ("delay", 0.3))
    scorer = AutoScorer(scorer_of(server), local)
    with recorded_origins() as origins:
        scorer.score(make_batch(9))
    assert origins.events == {"local": 9}, "0.3 s are worth some hundred events of this model"
    assert scorer.choice.remote is not None
    assert scorer.choice.remote.of(1) >= 0.3
    scorer.choice  # noqa: B018  # it is kept
    silent = AutoScorer(scorer_of(serve(silent=True), tries=1), local)
    assert silent.choice.remote is None
    assert str(silent.choice) == "in the process, the server does not answer"
