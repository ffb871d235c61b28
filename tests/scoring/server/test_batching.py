"""Requests that are joined: none is lost, repeated or misplaced, and nobody waits for nothing."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkop_dist.scoring.server import Engine, EngineSettings, Scored, ScoreRequest
from darkop_dist.scoring.server.line import Line, Waiting, join
from darkop_dist.scoring.wire.problem import RefusedError

Make = Callable[..., Engine]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to that")


def ask(engine: Engine, batch: Any, timeout_s: float | None = None) -> asyncio.Task[Scored]:
    return asyncio.ensure_future(engine.score(ScoreRequest("m", batch, timeout_s=timeout_s)))


def guilty(request: dict[str, Any]) -> bool:
    """It holds an event without a score."""
    return bool(request["guilty"] and request["events"])


@st.composite
def traffic(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Requests with their sizes, when they come, whether they hold an event without a score, and when they are given up."""
    return draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "events": st.integers(0, 40),
                    "pause_ms": st.sampled_from([0, 0, 0, 1, 3]),
                    "guilty": st.sampled_from([False, False, False, False, True]),
                    "leaves_ms": st.sampled_from([None, None, None, 0, 1, 4]),
                    "timeout_ms": st.sampled_from([None, None, None, 0, 2, 1000]),
                }
            ),
            min_size=1,
            max_size=25,
        )
    )


@settings(max_examples=60)
@given(
    requests=traffic(),
    best_events=st.integers(1, 60),
    most_bytes=st.sampled_from([600, 2000, 1 << 20]),
    most_waiting=st.sampled_from([2, 50]),
    wait_s=st.sampled_from([0.0, 0.002]),
    call_s=st.sampled_from([0.0, 0.001]),
)
def test_every_request_gets_its_own_scores_or_a_reason(
    requests: list[dict[str, Any]],
    best_events: int,
    most_bytes: int,
    most_waiting: int,
    wait_s: float,
    call_s: float,
    make_numbered: Callable[..., Any],
    numbers: Callable[[int, int], dict[str, Any]],
) -> None:
    model = make_numbered()
    model.call_s = call_s
    engine = Engine(
        {"m": lambda: model},
        EngineSettings(
            best_events=best_events, most_events=60, most_bytes=most_bytes, most_waiting=most_waiting, wait_s=wait_s
        ),
    )
    firsts = np.cumsum([1, *(request["events"] for request in requests)]).tolist()

    async def client(first: int, request: dict[str, Any]) -> str:
        batch = numbers(first, request["events"])
        if guilty(request):
            batch["x"][-1, 0] *= -1
        timeout_s = None if request["timeout_ms"] is None else request["timeout_ms"] / 1000
        task = ask(engine, batch, timeout_s)
        if request["leaves_ms"] is not None:
            await asyncio.sleep(request["leaves_ms"] / 1000)
            task.cancel()
        try:
            scored = await task
        except asyncio.CancelledError:
            return "left"
        except RefusedError as error:
            return error.problem.code
        assert np.array_equal(scored.scores, batch["x"][:, 0])
        return "scored"

    async def scenario() -> list[str]:
        await engine.start("m")
        model.calls.clear()
        tasks = []
        for first, request in zip(firsts, requests, strict=False):
            tasks.append(asyncio.ensure_future(client(first, request)))
            await asyncio.sleep(request["pause_ms"] / 1000)
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*tasks)
            await engine.drain()
        assert engine.stats().running == sum(engine.stats().waiting.values()) == 0
        return outcomes

    outcomes = asyncio.run(scenario())
    asyncio.run(engine.close())
    for request, outcome in zip(requests, outcomes, strict=True):
        allowed = {"failed"} if guilty(request) else {"scored"}
        allowed |= {"left"} if request["leaves_ms"] is not None else set()
        allowed |= {"deadline"} if request["timeout_ms"] is not None else set()
        allowed |= {"busy"} if most_waiting == 2 else set()
        allowed |= {"too-large"} if request["events"] * 12 > most_bytes else set()
        assert outcome in allowed
    seen = [np.abs(call) for call in model.calls]
    joined = [call for call in seen if len(call) > 1]
    assert all(np.all(np.diff(call) > 0) for call in joined)  # in the order in which they came
    sizes = {first: request["events"] for first, request in zip(firsts, requests, strict=False)}
    for call in seen:
        assert len(call) <= best_events or len(call) == sizes[int(call[0])]  # larger ones go alone
    counts = np.bincount(np.concatenate([[], *seen]).astype(int), minlength=firsts[-1])
    for first, request, outcome in zip(firsts, requests, outcomes, strict=False):
        times = set(counts[first : first + request["events"]].tolist())
        if outcome in {"deadline", "busy", "too-large"}:
            assert times <= {0}  # dropped before the model saw it
        if outcome in {"scored", "failed"}:
            assert times <= {1, 2}  # twice only where a call of several failed
        if not any(one["guilty"] for one in requests):
            assert times <= {0, 1}


def test_what_waits_is_joined_in_order_and_up_to_the_best_number(
    make_engine: Make, numbered: Any, numbers: Any
) -> None:
    engine = make_engine(best_events=10)

    async def scenario() -> list[Scored]:
        await engine.start()
        numbered.gate.clear()
        tasks = [ask(engine, numbers(1, 2))]
        await until(lambda: engine.stats().running == 1)
        tasks += [ask(engine, numbers(first, count)) for first, count in ((3, 4), (7, 5), (12, 3), (15, 20), (35, 1))]
        await until(lambda: engine.stats().waiting["m"] == 5)
        numbered.gate.set()
        return list(await asyncio.gather(*tasks))

    scored = asyncio.run(scenario())
    assert [len(one.scores) for one in scored] == [2, 4, 5, 3, 20, 1]
    assert np.concatenate([one.scores for one in scored]).tolist() == list(range(1, 36))
    assert [(call[0], len(call)) for call in numbered.calls[1:]] == [(1, 2), (3, 9), (12, 3), (15, 20), (35, 1)]


def test_bytes_limit_a_batch_too(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine(best_events=1000, most_bytes=12 * 10)

    async def scenario() -> None:
        await engine.start()
        numbered.gate.clear()
        tasks = [ask(engine, numbers(1, 1))]
        await until(lambda: engine.stats().running == 1)
        tasks += [ask(engine, numbers(first, 4)) for first in (2, 6, 10)]
        await until(lambda: engine.stats().waiting["m"] == 3)
        numbered.gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
    assert [len(call) for call in numbered.calls[1:]] == [1, 8, 4]


def test_a_lone_request_is_neither_delayed_nor_copied(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine(wait_s=5.0)

    async def scenario() -> None:
        await engine.start()
        for first in range(20):
            batch = numbers(first, 3)
            scored = await engine.score(ScoreRequest("m", batch))
            assert numbered.arrays[-1] is batch["x"]
            assert scored.queue_s < 1

    began = time.perf_counter()
    asyncio.run(scenario())
    assert time.perf_counter() - began < 5


def test_those_who_came_together_are_waited_for(make_engine: Make, numbered: Any, numbers: Any, notes: Any) -> None:
    """Four clients that answer in step are joined although the model is free when the first of them comes again."""
    numbered.call_s = 0.05
    engine = make_engine(wait_s=0.5)

    async def client(first: int) -> None:
        for turn in range(10):
            await engine.score(ScoreRequest("m", numbers(100 * first + turn, 1)))
            await asyncio.sleep(0.002 * first)  # on the way

    async def scenario() -> None:
        await engine.start()
        await asyncio.gather(*(client(first) for first in range(1, 5)))

    asyncio.run(scenario())
    assert sum(seen.requests for seen in notes.batches) == 40
    assert sum(seen.requests == 4 for seen in notes.batches) >= 5
    assert len(notes.batches) <= 20


def test_a_wait_for_company_ends_in_time(make_engine: Make, numbered: Any, numbers: Any) -> None:
    """The others do not come again: who is left waits no longer than wait_s, and after a few calls not at all."""
    numbered.call_s = 0.06
    engine = make_engine(wait_s=0.05)

    async def client(first: int) -> None:
        for turn in range(5):
            await engine.score(ScoreRequest("m", numbers(100 * first + turn, 1)))
            await asyncio.sleep(0.002 * first)

    async def scenario() -> list[float]:
        await engine.start()
        await asyncio.gather(*(client(first) for first in range(3)))
        return [(await engine.score(ScoreRequest("m", numbers(turn, 1)))).queue_s for turn in range(6)]

    waits = asyncio.run(scenario())
    assert max(waits) > 0.03
    assert max(waits) < 0.5
    assert sum(wait > 0.03 for wait in waits) <= 2
    assert waits[5] < 0.03


def test_the_next_batch_is_joined_while_the_model_works(
    make_engine: Make, numbered: Any, numbers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    joins: list[tuple[int, bool]] = []

    def noted(batches: list[Any]) -> Any:
        joins.append((len(batches), numbered._one.locked()))
        return join(batches)

    monkeypatch.setattr("darkop_dist.scoring.server.batching.join", noted)
    engine = make_engine(best_events=6)

    async def scenario() -> None:
        await engine.start()
        numbered.gate.clear()
        tasks = [ask(engine, numbers(1, 1))]
        await until(lambda: engine.stats().running == 1)
        tasks += [ask(engine, numbers(first, 3)) for first in (2, 5)]
        await until(lambda: (2, True) in joins)
        gone = ask(engine, numbers(8, 2))
        await until(lambda: engine.stats().waiting["m"] == 3)
        gone.cancel()
        numbered.gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
    assert [len(call) for call in numbered.calls[1:]] == [1, 6]
    assert numbered.calls[2] == [2, 3, 4, 5, 6, 7]


def test_one_that_left_after_the_batch_was_joined_is_left_out(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine(best_events=6)

    async def scenario() -> None:
        await engine.start()
        numbered.gate.clear()
        tasks = [ask(engine, numbers(1, 1))]
        await until(lambda: engine.stats().running == 1)
        gone, stays = ask(engine, numbers(2, 3)), ask(engine, numbers(5, 3))
        await until(lambda: engine.stats().waiting["m"] == 2)
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        numbered.gate.set()
        assert (await stays).scores.tolist() == [5, 6, 7]
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
    assert numbered.calls[2:] == [[5, 6, 7]]


def test_only_the_guilty_request_of_a_batch_is_refused(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine()

    async def scenario() -> list[Any]:
        await engine.start()
        numbered.gate.clear()
        tasks = [ask(engine, numbers(1, 1))]
        await until(lambda: engine.stats().running == 1)
        guilty = numbers(5, 2)
        guilty["x"][1, 0] = -1
        tasks += [ask(engine, batch) for batch in (numbers(2, 3), guilty, numbers(7, 2))]
        await until(lambda: engine.stats().waiting["m"] == 3)
        numbered.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    _, before, refused, after = asyncio.run(scenario())
    assert before.scores.tolist() == [2, 3, 4]
    assert after.scores.tolist() == [7, 8]
    assert (refused.problem.code, refused.problem.detail) == ("failed", "the score of event 1 is not finite")
    assert len(numbered.calls) == 2 + 4


def test_who_left_is_not_scored_again_after_a_failure(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine()

    async def scenario() -> None:
        await engine.start()
        numbered.gate.clear()
        tasks = [ask(engine, numbers(1, 1))]
        await until(lambda: engine.stats().running == 1)
        guilty = numbers(5, 1)
        guilty["x"][0, 0] = -1
        tasks += [ask(engine, batch) for batch in (numbers(2, 2), guilty, numbers(7, 2))]
        await until(lambda: engine.stats().waiting["m"] == 3)
        numbered.call_s = 0.05
        numbered.gate.set()
        await until(lambda: [2, 3, -1, 7, 8] in numbered.calls)
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await engine.drain()

    asyncio.run(scenario())
    assert numbered.calls[1:] == [[1], [2, 3, -1, 7, 8], [2, 3], [-1]]


@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=15), st.integers(1, 20))
def test_a_line_is_taken_in_order_and_without_those_who_left(requests: list[tuple[int, bool]], best: int) -> None:
    async def scenario() -> tuple[list[Waiting], list[list[Waiting]]]:
        line, stay = Line(best, 1 << 20), []
        for events, leaves in requests:
            batch = {"x": np.zeros((events, 3), np.float32)}
            waiting = Waiting(batch, events, 0.0, asyncio.get_running_loop().create_future())
            line.append(waiting)
            if leaves:
                waiting.answer.cancel()  # its caller has not yet had time to take it out of the line
            else:
                stay.append(waiting)
        taken = list(iter(line.take, []))
        assert len(line) == 0
        return stay, taken

    stay, taken = asyncio.run(scenario())
    assert [one for batch in taken for one in batch] == stay
    for batch, after in itertools.pairwise(taken):
        events = sum(one.events for one in batch)
        assert events <= best or len(batch) == 1
        assert events + after[0].events > best  # as many as fit


def test_a_model_that_breaks_or_gives_too_few_scores_fails_the_request(
    make_engine: Make, numbered: Any, numbers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine()
    asyncio.run(engine.start())
    numbered.score = lambda batch: batch["x"][:-1, 0]
    with pytest.raises(RefusedError, match=r"gave float32 of shape \(2,\) for 3 events"):
        asyncio.run(engine.score(ScoreRequest("m", numbers(1, 3))))

    def broken(batch: Any) -> Any:
        raise ZeroDivisionError("no memory left")

    numbered.score = broken
    with pytest.raises(RefusedError, match="model m failed with ZeroDivisionError: no memory left") as refused:
        asyncio.run(engine.score(ScoreRequest("m", numbers(1, 3))))
    assert refused.value.problem.status == 500
    assert "model m failed" in caplog.text


def test_busy_says_how_long_from_what_was_measured(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine(most_waiting=2)

    async def scenario() -> tuple[RefusedError, RefusedError]:
        await engine.start()
        refused = []
        for call_s in (0.0, 0.2):
            numbered.call_s = call_s
            if call_s:
                await ask(engine, numbers(1, 10))  # 10 events in 0.2 s
            numbered.gate.clear()
            tasks = [ask(engine, numbers(1, 10))]
            await until(lambda: engine.stats().running == 1)
            tasks += [ask(engine, numbers(1, 10)) for _ in range(2)]
            await until(lambda: engine.stats().waiting["m"] == 2)
            with pytest.raises(RefusedError, match=r"2 requests wait for model m, no more may\. Try") as found:
                await ask(engine, numbers(1, 10))
            refused.append(found.value)
            numbered.gate.set()
            await asyncio.gather(*tasks)
        return refused[0], refused[1]

    unmeasured, measured = asyncio.run(scenario())
    assert (unmeasured.problem.code, unmeasured.problem.retry_after_s) == ("busy", 1.0)
    # 30 events, 10 of them in the model; the earlier, gated calls were slower or quicker than 0.2 s
    assert measured.problem.retry_after_s is not None
    assert 0.05 < measured.problem.retry_after_s < 5


def test_the_deadline_passes_while_a_request_waits(make_engine: Make, numbered: Any, numbers: Any) -> None:
    engine = make_engine()

    async def scenario() -> None:
        await engine.start()
        numbered.gate.clear()
        first = ask(engine, numbers(1, 1), timeout_s=0.05)  # in the model: its scores come late, but they come
        await until(lambda: engine.stats().running == 1)
        with pytest.raises(RefusedError, match=r"the request waited 0.03 s for model m") as refused:
            await ask(engine, numbers(2, 1), timeout_s=0.03)
        assert refused.value.problem.code == "deadline"
        assert engine.stats().waiting["m"] == 0
        await asyncio.sleep(0.05)
        numbered.gate.set()
        assert (await first).scores.tolist() == [1]

    asyncio.run(scenario())
    assert numbered.calls[1:] == [[1]]
