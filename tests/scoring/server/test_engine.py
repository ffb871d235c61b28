"""The engine: what it refuses before the model sees it, which models it holds, and how it stops."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkop_dist.errors import InputFileError, UserError
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.server import Engine, EngineSettings, ScoreRequest
from darkop_dist.scoring.wire.problem import Problem, RefusedError

Make = Callable[..., Engine]


def refusal(engine: Engine, request: ScoreRequest) -> Problem:
    with pytest.raises(RefusedError) as refused:
        asyncio.run(engine.score(request))
    return refused.value.problem


def test_the_real_model_gives_what_it_gives_in_the_process(checkpoint_directory: Path) -> None:
    """Bit for bit, whatever the size of the requests and whoever is joined."""
    local = LocalScorer.from_checkpoint(checkpoint_directory)
    engine = Engine({"toy": lambda: LocalScorer.from_checkpoint(checkpoint_directory)}, EngineSettings(best_events=300))
    fields = np.random.default_rng(4).exponential(size=(1500, 2, 8, 16)).astype(np.float32)
    sizes = [1, 7, 128, 129, 300, 500, 0, 2, 31, 64, 99, 239]
    bounds = np.cumsum([0, *sizes])

    async def scenario() -> list[Any]:
        description = await engine.describe("toy")
        assert description.input_specs == local.inputs
        assert description.axis == local.score_axis
        parts = [fields[a:b] for a, b in itertools.pairwise(bounds)]
        requests = [ScoreRequest("toy", {"fields": part}, local.fingerprint) for part in parts]
        return await asyncio.gather(*map(engine.score, requests))

    scored = asyncio.run(scenario())
    asyncio.run(engine.close())
    expected = local.score({"fields": fields})
    assert np.array_equal(np.concatenate([one.scores for one in scored]), expected)
    assert {one.fingerprint for one in scored} == {local.fingerprint}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {}, "input x: it is absent or no numpy array"),
        (lambda x: {"y": x}, "input x: it is absent"),
        (lambda x: {"x": x.tolist()}, "no numpy array"),
        (lambda x: {"x": x[:, :2]}, r"float32 of shape \(4, 2\) instead of float32 of shape \(events, 3\)"),
        (lambda x: {"x": x[0]}, r"float32 of shape \(3,\)"),
        (lambda _: {"x": np.float32(3)}, "no numpy array"),
        (lambda _: {"x": np.array(1.0, dtype=np.float32)}, r"of shape \(\)"),
        (lambda x: {"x": x.astype(np.float64)}, "float64"),
        (lambda x: {"x": np.where(x == 2, np.nan, x)}, "not finite, first in event 1 of the batch"),
        (lambda x: {"x": np.where(x == 3, np.inf, x)}, "not finite, first in event 2 of the batch"),
    ],
)
def test_what_does_not_match_never_reaches_the_model(
    make_engine: Make, numbered: Any, numbers: Any, notes: Any, change: Callable[[Any], Any], message: str
) -> None:
    engine = make_engine()
    asyncio.run(engine.start())
    with pytest.raises(RefusedError, match=message) as refused:
        asyncio.run(engine.score(ScoreRequest("m", change(numbers(1, 4)["x"]))))
    assert refused.value.problem.code == "invalid-input"
    assert len(numbered.calls) == 1  # that of the load
    assert [seen.outcome for seen in notes.requests] == ["invalid-input"]


def test_a_large_batch_is_checked_beside_the_event_loop(make_engine: Make, numbered: Any, numbers: Any) -> None:
    batch = numbers(0, 100_000)
    batch["x"][77_777, 2] = np.nan
    with pytest.raises(RefusedError, match="first in event 77777"):
        asyncio.run(make_engine().score(ScoreRequest("m", batch)))


def test_sizes_are_limited(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine(best_events=5, most_events=10, most_bytes=1000)
    assert len(asyncio.run(engine.score(ScoreRequest("m", numbers(1, 10)))).scores) == 10
    problem = refusal(engine, ScoreRequest("m", numbers(1, 11)))
    assert (problem.code, problem.status) == ("too-large", 413)
    assert "11 events, more than the 10 that are allowed. Send it in pieces" in problem.detail
    assert problem.values == {"most_events": 10, "most_bytes": 1000}
    small = make_engine(best_events=5, most_bytes=100)
    assert "120 bytes, more than the 100" in refusal(small, ScoreRequest("m", numbers(1, 10))).detail
    assert max(map(len, numbered.calls)) == 10


def test_another_fingerprint_is_refused_with_both_named(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine()
    problem = refusal(engine, ScoreRequest("m", numbers(1, 2), fingerprint="0" * 64))
    assert (problem.code, problem.status, problem.retry_after_s) == ("fingerprint", 409, None)
    assert problem.values == {"expected": "0" * 64, "found": "f" * 64}
    assert f"has the fingerprint {'f' * 64}, the run began with {'0' * 64}" in problem.detail
    assert asyncio.run(engine.score(ScoreRequest("m", numbers(1, 2), fingerprint="f" * 64))).fingerprint == "f" * 64


def test_no_events_need_no_model(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine()
    scored = asyncio.run(engine.score(ScoreRequest("m", numbers(0, 0))))
    assert (scored.scores.shape, scored.scores.dtype) == ((0,), np.float32)
    assert len(numbered.calls) == 1  # that of the load
    assert "has the fingerprint" in refusal(engine, ScoreRequest("m", numbers(0, 0), fingerprint="0" * 64)).detail


def test_unknown_models_are_named_with_those_close_to_them(make_numbered: Any, numbers: Any, notes: Any) -> None:
    engine = Engine({"cylinder-fno": make_numbered, "density": make_numbered}, meter=notes)
    problem = refusal(engine, ScoreRequest("cylinder-fn", numbers(1, 1)))
    assert (problem.code, problem.status) == ("unknown-model", 404)
    assert problem.detail == "there is no model 'cylinder-fn'; did you mean cylinder-fno?"
    assert problem.values == {"models": ["cylinder-fno", "density"]}
    with pytest.raises(RefusedError, match="there is no model 'zzz'; there is cylinder-fno, density"):
        asyncio.run(engine.describe("zzz"))
    assert [(seen.model, seen.outcome) for seen in notes.requests] == [("unknown", "unknown-model")]


def test_the_model_that_was_not_asked_for_longest_makes_room(make_numbered: Any, numbers: Any) -> None:
    loads: list[str] = []

    def load(name: str) -> Callable[[], Any]:
        def loaded() -> Any:
            loads.append(name)
            return make_numbered(fingerprint=name)

        return loaded

    engine = Engine({name: load(name) for name in "abc"}, EngineSettings(most_models=2))

    async def scenario() -> None:
        await engine.start()
        assert engine.stats().loaded == ("a", "b")
        for name in "abacab":
            assert (await engine.score(ScoreRequest(name, numbers(1, 1)))).fingerprint == name
        assert engine.stats().loaded == ("a", "b")

        assert [(await engine.describe(name)).fingerprint for name in "abc"] == ["a", "b", "c"]

    asyncio.run(scenario())
    assert loads == ["a", "b", "c", "b"]


def test_a_model_with_requests_is_put_away_only_after_them(make_numbered: Any, numbers: Any) -> None:
    slow = make_numbered(fingerprint="slow")
    engine = Engine(
        {"slow": lambda: slow, "other": lambda: make_numbered(fingerprint="other")}, EngineSettings(most_models=1)
    )

    async def scenario() -> list[Any]:
        await engine.start("slow")
        slow.gate.clear()
        tasks = [asyncio.ensure_future(engine.score(ScoreRequest("slow", numbers(n, 1)))) for n in range(5)]
        await asyncio.sleep(0.02)
        tasks.append(asyncio.ensure_future(engine.score(ScoreRequest("other", numbers(7, 1)))))
        await asyncio.sleep(0.05)
        assert "other" not in engine.stats().loaded
        slow.gate.set()
        return await asyncio.gather(*tasks)

    scored = asyncio.run(scenario())
    assert [one.scores.tolist() for one in scored] == [[0], [1], [2], [3], [4], [7]]
    assert engine.stats().loaded == ("other",)


def test_loads_leave_the_event_loop_free_and_happen_once(make_numbered: Any, numbers: Any) -> None:
    gate, loads = threading.Event(), []

    def load() -> Any:
        loads.append(threading.current_thread())
        assert gate.wait(30)
        return make_numbered()

    engine = Engine({"m": load})

    async def scenario() -> None:
        asking = [asyncio.ensure_future(engine.score(ScoreRequest("m", numbers(n, 1)))) for n in range(3)]
        with pytest.raises(RefusedError, match=r"model m is still being loaded after 0.05 s") as refused:
            await engine.score(ScoreRequest("m", numbers(1, 1), timeout_s=0.05))
        assert refused.value.problem.code == "deadline"
        gate.set()
        assert [one.scores[0] for one in await asyncio.gather(*asking)] == [0, 1, 2]

    asyncio.run(scenario())
    assert len(loads) == 1
    assert loads[0] is not threading.main_thread()


def test_a_model_that_cannot_be_loaded_is_tried_again(
    make_numbered: Any, numbers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = [InputFileError("weights", "truncated", "Copy it again"), OSError("disk gone")]

    def load() -> Any:
        if failures:
            raise failures.pop(0)
        return make_numbered()

    engine = Engine({"m": load})
    problem = refusal(engine, ScoreRequest("m", numbers(1, 1)))
    assert problem.code == "failed"
    assert problem.detail == "model m cannot be loaded: weights: truncated. Copy it again"
    assert "disk gone" not in caplog.text
    assert "disk gone" in refusal(engine, ScoreRequest("m", numbers(1, 1))).detail
    assert "model m cannot be loaded" in caplog.text
    assert asyncio.run(engine.score(ScoreRequest("m", numbers(1, 1)))).scores.tolist() == [1]


def test_two_models_take_turns(make_numbered: Any, numbers: Any) -> None:
    """One model computes at a time, and the one that has many requests does not keep the other out."""
    order: list[str] = []
    models = {name: make_numbered(fingerprint=name) for name in "ab"}
    shared = threading.Lock()
    for name, model in models.items():
        score = model.score

        def noted(batch: Any, name: str = name, score: Any = score) -> Any:
            order.append(name)
            assert shared.acquire(blocking=False), "two models at once"
            try:
                return score(batch)
            finally:
                shared.release()

        model.score, model.call_s = noted, 0.01
    engine = Engine(
        {name: (lambda model=model: model) for name, model in models.items()}, EngineSettings(best_events=1)
    )

    async def scenario() -> None:
        await engine.start()
        order.clear()
        requests = [ScoreRequest(name, numbers(1, 1)) for name in "aaaabbbb"]
        await asyncio.gather(*map(engine.score, requests))

    asyncio.run(scenario())
    assert sorted(order) == list("aaaabbbb")
    assert "aaa" not in "".join(order)  # one in the model and one that is next, then it is the other's turn


def test_a_drain_finishes_what_waits_and_refuses_what_comes(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine(best_events=2)

    async def scenario() -> None:
        await engine.start()
        assert engine.is_ready
        numbered.gate.clear()
        tasks = [asyncio.ensure_future(engine.score(ScoreRequest("m", numbers(2 * n, 2)))) for n in range(4)]
        await asyncio.sleep(0.02)
        drain = asyncio.ensure_future(engine.drain())
        await asyncio.sleep(0.02)
        assert not engine.is_ready
        assert engine.stats().is_draining
        with pytest.raises(RefusedError, match="this replica is being stopped") as refused:
            await engine.score(ScoreRequest("m", numbers(1, 1)))
        assert (refused.value.problem.code, refused.value.problem.retry_after_s) == ("draining", 1.0)
        assert not drain.done()
        numbered.gate.set()
        await drain
        assert [task.result().scores[0] for task in tasks] == [0, 2, 4, 6]
        assert (await engine.describe("m")).name == "m"  # who asks is still told

    asyncio.run(scenario())


def test_a_close_refuses_what_waits(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine(best_events=1)

    async def scenario() -> list[Any]:
        await engine.start()
        numbered.gate.clear()
        tasks = [asyncio.ensure_future(engine.score(ScoreRequest("m", numbers(n, 1)))) for n in range(3)]
        await asyncio.sleep(0.02)
        await engine.close()
        numbered.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    running, *waiting = asyncio.run(scenario())
    assert running.scores.tolist() == [0]
    assert [one.problem.code for one in waiting] == ["draining"] * 2


def test_the_meter_is_told_of_everything(make_engine: Make, numbered: Any, numbers: Any, notes: Any) -> None:
    engine = make_engine()

    async def scenario() -> None:
        await engine.start()
        await engine.score(ScoreRequest("m", numbers(1, 3)))
        numbered.gate.clear()
        task = asyncio.ensure_future(engine.score(ScoreRequest("m", numbers(1, 2))))
        await asyncio.sleep(0.02)
        task.cancel()
        numbered.gate.set()
        await engine.drain()

    asyncio.run(scenario())
    assert [(seen.model, seen.outcome, seen.events, seen.size) for seen in notes.requests] == [
        ("m", "scored", 3, 36),
        ("m", "cancelled", 0, 24),
    ]
    assert notes.requests[0].compute_s > 0
    assert [(seen.requests, seen.events) for seen in notes.batches] == [(1, 3), (1, 2)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"most_waiting": 0}, "most_waiting is 0. Give at least 1"),
        ({"wait_s": -1.0}, "wait_s is -1.0"),
        ({"wait_s": float("nan")}, "wait_s is nan"),
        ({"best_events": 20, "most_events": 10}, "best_events 20 is above most_events 10"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EngineSettings(**settings)
