"""coffea's ``triton_wrapper``, unchanged, with awkward arrays in and out."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from coffea.ml_tools.triton_wrapper import triton_wrapper

from darkop_dist.scoring.local import LocalScorer

FIELDS = np.random.default_rng(3).exponential(1.0, (1200, 2, 8, 16)).astype(np.float32)


class Scores(triton_wrapper):  # type: ignore[misc]  # coffea has no types
    """What a user of coffea writes."""

    def prepare_awkward(self, fields: ak.Array) -> tuple[tuple[list[str], dict[str, ak.Array]], dict[str, Any]]:
        return (["score"], {"fields": fields}), {}


def wrapper(server: Any, version: str = "1", **settings: Any) -> Scores:
    return Scores(f"triton+grpc://{server.grpc}/toy/{version}", client_args={"ssl": False}, **settings)


@pytest.mark.parametrize("events", [1, 511, 512, 1200])
def test_scores_over_grpc_with_the_servers_batch_size(server: Any, toy: LocalScorer, events: int) -> None:
    scorer = wrapper(server)

    answer = scorer(ak.from_numpy(FIELDS[:events]))

    assert scorer.batch_size == 512
    np.testing.assert_array_equal(ak.to_numpy(answer["score"]), toy.score({"fields": FIELDS[:events]}))


def test_no_events(server: Any) -> None:
    answer = wrapper(server)(ak.from_numpy(FIELDS[:0]))
    assert len(answer["score"]) == 0


def test_a_batch_size_of_the_users_own(server: Any, toy: LocalScorer) -> None:
    answer = wrapper(server, batch_size=77)(ak.from_numpy(FIELDS[:200]))
    np.testing.assert_array_equal(ak.to_numpy(answer["score"]), toy.score({"fields": FIELDS[:200]}))


def test_the_version_of_the_address_may_be_the_fingerprint(server: Any, toy: LocalScorer) -> None:
    answer = wrapper(server, toy.fingerprint)(ak.from_numpy(FIELDS[:10]))
    np.testing.assert_array_equal(ak.to_numpy(answer["score"]), toy.score({"fields": FIELDS[:10]}))


def test_the_shape_is_checked_before_anything_is_sent(server: Any) -> None:
    with pytest.raises(ValueError, match="got array of shape"):
        wrapper(server)(ak.from_numpy(FIELDS[:5, :1]))


def test_over_http_coffea_itself_fails(server: Any) -> None:
    # before it sends anything: it asks tritonclient.http for as_json, which only tritonclient.grpc has (and then gives it
    # shapes that it cannot write as JSON). Once this test fails, coffea can do it, and HTTP belongs into those above.
    scorer = Scores(f"triton+http://{server.http}/toy/1")
    with pytest.raises(TypeError, match="as_json"):
        scorer(ak.from_numpy(FIELDS[:5]))


@pytest.mark.slow
def test_a_hundred_thousand_events(server: Any, toy: LocalScorer) -> None:
    many = np.random.default_rng(4).exponential(1.0, (100_000, 2, 8, 16)).astype(np.float32)
    answer = wrapper(server, batch_size=5000)(ak.from_numpy(many))
    np.testing.assert_array_equal(ak.to_numpy(answer["score"]), toy.score({"fields": many}))
