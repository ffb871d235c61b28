"""Engines in succession, without Ray: no request is lost, and none is answered by a model that went."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import numpy.typing as npt
import pytest

from darkop_dist.scoring.contract import Batch, InputSpec, ScoreAxis
from darkop_dist.scoring.pool.succession import Succession
from darkop_dist.scoring.server import EngineSettings, ScoreRequest
from darkop_dist.scoring.server.meter import NoMeter
from darkop_dist.scoring.wire.problem import RefusedError


class Scaled:
    """Scores events by their number times the model's factor, which is its fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        if fingerprint == "broken":
            raise RuntimeError("the weights are gone")
        self.fingerprint = fingerprint
        self.inputs = (InputSpec("x", (), "float32", "number", "columns", {}),)
        self.score_axis = ScoreAxis((0.0, 1.0), "score", "nothing")

    def score(self, batch: Batch) -> npt.NDArray[np.float32]:
        time.sleep(0.002)
        return batch["x"] * np.float32(self.fingerprint)


def succession(held: list[str] | None = None, **settings: int) -> Succession:
    async def hold(model: str) -> None:
        if held is not None:
            held.append(model)

    return Succession(EngineSettings(**settings), NoMeter(), Scaled, hold)  # type: ignore[arg-type]


def request(model: str, number: float, fingerprint: str | None = None) -> ScoreRequest:
    return ScoreRequest(model, {"x": np.full(3, number, np.float32)}, fingerprint)


def test_requests_during_successions_are_answered_by_one_model_each() -> None:
    async def run() -> None:
        models = succession(most_waiting=1000)
        await models.take_up({"m": "2"})
        seen: list[str] = []

        async def ask(client: int) -> None:
            for number in range(40):
                scored = await models.score(request("m", client + number))
                np.testing.assert_array_equal(scored.scores, np.float32((client + number) * int(scored.fingerprint)))
                seen.append(scored.fingerprint)

        async def follow() -> None:
            for fingerprint in ("3", "5", "7"):
                await asyncio.sleep(0.02)
                await models.take_up({"m": fingerprint})

        await asyncio.gather(follow(), *(ask(client) for client in range(8)))
        assert len(seen) == 320
        assert seen == sorted(seen)
        assert set(seen) == {"2", "3", "5", "7"}
        with pytest.raises(RefusedError, match="has the fingerprint 7, the run began with 2"):
            await models.score(request("m", 1, "2"))
        await models.close()

    asyncio.run(run())


def test_a_model_that_cannot_be_loaded_changes_nothing() -> None:
    async def run() -> None:
        models = succession()
        assert not models.is_ready
        await models.take_up({"m": "2"})
        with pytest.raises(RefusedError, match="model m cannot be loaded: the weights are gone"):
            await models.take_up({"m": "broken"})
        assert models.is_ready
        assert (await models.score(request("m", 4))).fingerprint == "2"
        await models.close()

    asyncio.run(run())


def test_models_come_and_go() -> None:
    async def run() -> None:
        models = succession()
        await models.take_up({"a": "2", "b": "3"})
        assert models.names == ("a", "b")
        await models.take_up({"b": "3", "c": "5"})
        assert (await models.describe("c")).fingerprint == "5"
        with pytest.raises(RefusedError, match="there is no model 'a'"):
            await models.score(request("a", 1))
        await models.close()

    asyncio.run(run())


def test_what_is_in_memory_is_told() -> None:
    async def run() -> None:
        held: list[str] = []
        models = succession(held, most_models=2)
        await models.take_up({"a": "2", "b": "3", "c": "5"})
        assert held == ["a", "b"]
        await models.score(request("c", 1))
        assert held[-1] == "c"
        assert models.stats().loaded == ("b", "c")
        with pytest.raises(RefusedError):
            await models.score(request("nix", 1))
        assert held[-1] == "c"
        await models.close()

    asyncio.run(run())


def test_a_draining_replica_answers_what_it_has_taken_on() -> None:
    async def run() -> None:
        models = succession()
        await models.take_up({"m": "2"})
        asked = [asyncio.create_task(models.score(request("m", number))) for number in range(5)]
        await asyncio.sleep(0)
        models.refuse()
        await asyncio.sleep(0)
        assert not models.is_ready
        with pytest.raises(RefusedError) as refused:
            await models.score(request("m", 1))
        assert refused.value.problem.code == "draining"
        assert refused.value.problem.retry_after_s
        assert [one.scores[0] for one in await asyncio.gather(*asked)] == [0, 2, 4, 6, 8]
        await models.close()

    asyncio.run(run())


def test_the_same_models_again_change_nothing() -> None:
    async def run() -> None:
        models = succession()
        await models.take_up({"m": "2"})
        engine = models._engine
        await models.take_up({"m": "2"})
        assert models._engine is engine
        await models.close()

    asyncio.run(run())
