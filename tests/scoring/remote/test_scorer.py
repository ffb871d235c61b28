"""Scores from a server: the same as those of the process, whatever happens on the way."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from darkop_dist.config.serving import Serving
from darkop_dist.errors import FingerprintError, InputValueError, ScoringOutageError, UserError
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.origins import recorded_origins
from darkop_dist.scoring.remote import patience
from darkop_dist.scoring.remote.scorer import RemoteScorer
from darkop_dist.scoring.waiting import on_waiting

Serve = Callable[..., Any]
Make = Callable[..., RemoteScorer]
MakeBatch = Callable[..., dict[str, np.ndarray]]


def test_it_keeps_the_contract(serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch) -> None:
    server = serve()
    scorer = scorer_of(server)
    assert isinstance(scorer, Scorer)
    assert (scorer.fingerprint, scorer.inputs, scorer.score_axis) == (local.fingerprint, local.inputs, local.score_axis)
    batch = make_batch(333)
    with recorded_origins() as origins:
        scores = scorer.score(batch)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, local.score(batch))
    assert origins.events == {server.url: 333}
    assert len(scorer.score(make_batch(0))) == 0


def test_a_batch_travels_in_pieces_several_at_once(
    serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch
) -> None:
    server = serve(best_events=64, draw=lambda: ("delay", 0.05))
    batch = make_batch(1000)
    np.testing.assert_array_equal(scorer_of(server, in_flight=3).score(batch), local.score(batch))
    assert max(server.events) <= 64
    assert sum(server.events) == 1000
    assert server.most_at_once == 3


def test_pieces_keep_to_the_bytes_of_the_server(
    serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch
) -> None:
    event_bytes = 2 * 8 * 16 * 4
    server = serve(best_events=1000, most_bytes=10 * event_bytes)
    batch = make_batch(35)
    np.testing.assert_array_equal(scorer_of(server).score(batch), local.score(batch))
    assert max(server.events) <= 9


def test_small_batches_that_wait_are_joined(
    serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch
) -> None:
    server = serve(best_events=64, draw=lambda: ("delay", 0.1))
    scorer = scorer_of(server, in_flight=1)
    batches = [make_batch(1 + 3 * seed % 7, seed) for seed in range(30)]
    pending = [scorer.submit(batch) for batch in batches]
    for batch, one in zip(batches, pending, strict=True):
        np.testing.assert_array_equal(one.result(), local.score(batch))
    assert len(server.events) < 6
    assert max(server.events) <= 64


def test_nothing_is_lost_doubled_or_exchanged_under_faults(
    serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.02)
    draw = random.Random(7)  # noqa: S311  # faults are no secret
    faults = ["", "", "delay", "reset", "truncated", "short", "nan", "garbage", "gone", "busy", "rate"]
    server = serve(best_events=500, draw=lambda: (draw.choice(faults), 0.01))
    scorer = scorer_of(server, tries=30, deadline_s=60.0)
    everything = make_batch(20_000, seed=5)
    expected = local.score(everything)

    def client(which: int) -> None:
        sizes = np.random.default_rng(which).integers(1, 1200, size=20)
        for start in np.random.default_rng(100 + which).integers(0, 18_000, size=20):
            size = int(sizes[start % 20])
            found = scorer.score({"fields": everything["fields"][start : start + size]})
            np.testing.assert_array_equal(found, expected[start : start + size])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client, range(4)))


def test_a_hundred_thousand_events(serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch) -> None:
    server = serve(best_events=4096)
    batch = make_batch(100_000)
    np.testing.assert_array_equal(scorer_of(server).score(batch), local.score(batch))
    assert sum(server.events) == 100_000


def test_a_time_to_wait_is_obeyed(serve: Serve, scorer_of: Make, make_batch: MakeBatch) -> None:
    server = serve()
    server.faults.extend([("busy", 0.6), ("rate", 1.0), ("", 0.0)])
    scorer_of(server).score(make_batch(5))
    first, second, third = server.came
    assert second - first >= 0.6
    assert third - second >= 1.0


@pytest.mark.parametrize("said", [0.0, float("nan")])
def test_nobody_is_asked_without_a_pause(serve: Serve, scorer_of: Make, make_batch: MakeBatch, said: float) -> None:
    server = serve(draw=lambda: ("rate", said))
    with pytest.raises(ScoringOutageError, match="beyond the deadline of 1 s"):
        scorer_of(server, deadline_s=1.0).score(make_batch(5))
    assert len(server.came) < 8


def test_threads_come_back_after_a_quiet_time(serve: Serve, scorer_of: Make, make_batch: MakeBatch) -> None:
    server = serve(best_events=16, draw=lambda: ("delay", 0.3))
    scorer = scorer_of(server, in_flight=4)
    scorer.score(make_batch(5))
    time.sleep(0.2)  # now one thread waits for work
    scorer.score(make_batch(16 * 8))
    assert server.most_at_once == 4


def test_a_model_that_fails_may_do_better_elsewhere(
    serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch
) -> None:
    server, batch = serve(), make_batch(5)
    server.faults.append(("failed", 0.0))
    np.testing.assert_array_equal(scorer_of(server).score(batch), local.score(batch))
    server.faults.extend([("failed", 0.0)] * 9)
    with pytest.raises(ScoringOutageError, match=r"model toy failed.*tried 4 times"):
        scorer_of(server, tries=10).score(make_batch(6))
    assert len(server.came) == 2 + 4


def test_a_wait_beyond_the_deadline_is_not_begun(serve: Serve, scorer_of: Make, make_batch: MakeBatch) -> None:
    server = serve()
    server.faults.extend([("busy", 3600.0)])
    began = time.monotonic()
    with pytest.raises(ScoringOutageError, match=r"another try in .* s is beyond the deadline of 5 s.*fallback: local"):
        scorer_of(server, deadline_s=5.0).score(make_batch(5))
    assert time.monotonic() - began < 2
    assert len(server.came) == 1


def test_the_deadline_holds_for_all_tries(serve: Serve, scorer_of: Make, make_batch: MakeBatch) -> None:
    server = serve(draw=lambda: ("hang", 30.0))
    began = time.monotonic()
    with pytest.raises(ScoringOutageError, match=r"127\.0\.0\.1.*timed out"):
        scorer_of(server, deadline_s=1.0).score(make_batch(5))
    assert time.monotonic() - began < 3
    assert 0.2 < float(server.seen[0]["darkop-timeout-s"]) <= 0.5, "no try takes all, while others may follow"


def test_a_replica_that_hangs_is_given_up_for_another(
    serve: Serve, scorer_of: Make, local: LocalScorer, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LEAST_USUAL_S", 1.0)
    server = serve()
    scorer, batch = scorer_of(server, deadline_s=60.0), make_batch(5)
    scorer.score(batch)  # so that it knows how long answers take
    server.faults.append(("hang", 50.0))
    began = time.monotonic()
    np.testing.assert_array_equal(scorer.score(batch), local.score(batch))
    assert time.monotonic() - began < 40
    first, hung, answered = (float(seen["darkop-timeout-s"]) for seen in server.seen)
    assert first == pytest.approx(30.0, abs=2.0)
    assert hung < 30.0
    assert answered > hung, "the next try may take twice as long"


def test_how_long_a_try_may_take() -> None:
    usual = patience.Usual()
    assert usual.longest_s(60.0, 0, 10) == 30.0
    usual.note(0.01, 10)
    assert [usual.longest_s(60.0, failed, 10) for failed in range(5)] == [5.0, 10.0, 20.0, 40.0, 60.0]
    assert usual.longest_s(60.0, 0, 1000) == 20.0, "more events may take longer"
    usual.note(1.0, 10)
    assert [usual.longest_s(60.0, failed, 5) for failed in range(3)] == [20.0, 40.0, 60.0]
    for _ in range(64):
        usual.note(0.01, 10)
    assert usual.longest_s(60.0, 0, 10) == 5.0, "what was long ago does not count"


def test_tries_are_counted(serve: Serve, scorer_of: Make, make_batch: MakeBatch) -> None:
    server = serve(draw=lambda: ("reset", 0.0))
    with pytest.raises(ScoringOutageError, match=r"tried 3 times"):
        scorer_of(server, tries=3).score(make_batch(5))
    assert len(server.came) == 3


@pytest.mark.parametrize(
    ("fault", "error", "match"),
    [
        ("invalid", InputValueError, r"the events sent to http://127.*not finite, first in event 0"),
        ("other", FingerprintError, r"answers with the fingerprint ffff.*the run began with [0-9a-f]{64}"),
    ],
)
def test_what_is_refused_is_not_tried_again(
    serve: Serve, scorer_of: Make, make_batch: MakeBatch, fault: str, error: type[Exception], match: str
) -> None:
    server = serve()
    server.faults.append((fault, 0.0))
    with pytest.raises(error, match=match):
        scorer_of(server).score(make_batch(5))
    assert len(server.came) == 1


def test_a_server_that_is_upgraded_in_the_middle_is_refused(
    serve: Serve, scorer_of: Make, make_batch: MakeBatch, local: LocalScorer
) -> None:
    server = serve()
    scorer = scorer_of(server)
    scorer.score(make_batch(5))
    server.fingerprint = "a" * 64
    with pytest.raises(FingerprintError, match=rf"has the fingerprint a{{64}}, the run began with {local.fingerprint}"):
        scorer.score(make_batch(5))


def test_bad_events_never_leave(serve: Serve, scorer_of: Make, make_batch: MakeBatch) -> None:
    server = serve()
    batch = make_batch(5)
    batch["fields"][3, 0, 0, 0] = np.nan
    with pytest.raises(InputValueError, match="not finite, first in event 3"):
        scorer_of(server).score(batch)
    with pytest.raises(InputValueError, match="instead of float32 of shape"):
        scorer_of(server).score({"fields": batch["fields"][:, :1]})
    assert not server.came


def test_it_travels_light_and_without_the_token(
    serve: Serve, make_batch: MakeBatch, local: LocalScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN_OF_MINE", "secret-of-a-user")
    server = serve()
    scorer = RemoteScorer(
        Serving.model_validate({"at": server.url, "token_env": "A_TOKEN_OF_MINE"}), server.description()
    )
    batch = make_batch(5)
    scorer.score(batch)
    assert server.seen[0]["authorization"] == "Bearer secret-of-a-user"
    sent = pickle.dumps(scorer)
    assert b"secret-of-a-user" not in sent
    assert len(sent) < 10_000
    arrived = pickle.loads(sent)  # noqa: S301  # the bytes were made above
    np.testing.assert_array_equal(arrived.score(batch), local.score(batch))
    monkeypatch.setenv("ANOTHER_TOKEN", "")
    lacking = RemoteScorer(Serving.model_validate({"at": server.url, "token_env": "ANOTHER_TOKEN"}), scorer.description)
    with pytest.raises(UserError, match="environment variable ANOTHER_TOKEN is empty"):
        lacking.score(batch)


def test_a_token_is_not_sent_in_the_clear(serve: Serve, monkeypatch: pytest.MonkeyPatch, make_batch: MakeBatch) -> None:
    monkeypatch.setenv("A_TOKEN_OF_MINE", "secret-of-a-user")
    serving = Serving.model_validate({"at": "http://192.0.2.1:8000", "token_env": "A_TOKEN_OF_MINE"})
    with pytest.raises(UserError, match=r"would travel to http://192\.0\.2\.1:8000 unencrypted") as caught:
        RemoteScorer(serving, serve().description()).score(make_batch(1))
    assert "secret-of-a-user" not in str(caught.value)


def test_whoever_runs_the_thread_hears_of_the_wait(serve: Serve, scorer_of: Make, make_batch: MakeBatch) -> None:
    server = serve(draw=lambda: ("delay", 0.2))
    seen: list[float] = []

    @contextmanager
    def meanwhile() -> Any:
        began = time.monotonic()
        yield
        seen.append(time.monotonic() - began)

    with on_waiting(meanwhile):
        scorer_of(server).score(make_batch(5))
    scorer_of(server).score(make_batch(5))
    assert len(seen) == 1
    assert seen[0] >= 0.2


def test_a_process_ends_although_a_server_hangs(serve: Serve) -> None:
    server = serve(draw=lambda: ("hang", 20.0))
    script = (
        "import numpy as np, sys\n"
        "from darkop_dist.config.serving import Serving\n"
        "from darkop_dist.scoring.remote.scorer import RemoteScorer\n"
        "from darkop_dist.scoring.wire import ModelDescription\n"
        f"one = ModelDescription.model_validate_json({server.description().model_dump_json()!r})\n"
        f"scorer = RemoteScorer(Serving.model_validate({server.url!r}), one)\n"
        "scorer.submit({'fields': np.ones((3, 2, 8, 16), np.float32)})\n"
        "assert not {'torch', 'ray'} & set(sys.modules)\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    assert time.monotonic() - began < 15


def test_threads_of_a_process_share_the_window(serve: Serve, scorer_of: Make, make_batch: MakeBatch) -> None:
    server = serve(best_events=8, draw=lambda: ("delay", 0.02))
    scorers = [pickle.loads(pickle.dumps(scorer_of(server, in_flight=2))) for _ in range(4)]  # noqa: S301
    threads = [threading.Thread(target=scorer.score, args=(make_batch(60, n),)) for n, scorer in enumerate(scorers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.most_at_once == 2
    assert sum(server.events) == 240
