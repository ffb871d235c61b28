"""A scorer within coffea: awkward, numpy or dask-awkward in, awkward out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from darkop_dist.errors import InputValueError
from darkop_dist.scoring.apply import score_events
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.wrapper import ScorerWrapper

dask_awkward = pytest.importorskip("dask_awkward", reason="dask-awkward is not installed")


class Counting(LocalScorer):
    """Counts its calls."""

    calls = 0

    def score(self, batch: Any) -> Any:
        type(self).calls += 1
        return super().score(batch)


@pytest.fixture
def scorer(checkpoint_directory: Path) -> Counting:
    Counting.calls = 0
    return Counting.from_checkpoint(checkpoint_directory)  # type: ignore[return-value]


def fields(events: int) -> np.ndarray:
    return np.random.default_rng(1).exponential(size=(events, 2, 8, 16)).astype(np.float32)


def test_inputs_by_name(scorer: Counting) -> None:
    expected = scorer.score({"fields": fields(30)})
    wrapper = ScorerWrapper(scorer)
    for given in (fields(30), ak.from_numpy(fields(30)), ak.from_numpy(fields(30).astype(np.float64))):
        scores = wrapper(fields=given)
        assert isinstance(scores, ak.Array)
        np.testing.assert_array_equal(ak.to_numpy(scores), expected)


def test_events(scorer: Counting, make_events: Callable[..., ak.Array]) -> None:
    events = make_events(50, seed=4)
    scores = ScorerWrapper(scorer)(events)
    np.testing.assert_array_equal(ak.to_numpy(scores), score_events(scorer, events))


def test_collections_are_scored_when_they_are_computed(scorer: Counting, make_events: Callable[..., ak.Array]) -> None:
    events = make_events(60, seed=4)
    expected = score_events(scorer, events)
    Counting.calls = 0
    wrapper = ScorerWrapper(scorer)
    by_events = wrapper(dask_awkward.from_awkward(events, npartitions=3))
    by_name = wrapper(fields=dask_awkward.from_awkward(ak.from_numpy(fields(40)), npartitions=2))
    assert Counting.calls == 0, "building the graph asks nobody"
    np.testing.assert_array_equal(ak.to_numpy(by_events.compute(scheduler="sync")), expected)
    assert Counting.calls == 3
    np.testing.assert_array_equal(ak.to_numpy(by_name.compute(scheduler="sync")), scorer.score({"fields": fields(40)}))


def test_bad_inputs_are_named(scorer: Counting) -> None:
    with pytest.raises(InputValueError, match="input fields: it is absent"):
        ScorerWrapper(scorer)(towers=fields(3))
    with pytest.raises(InputValueError, match="instead of float32 of shape"):
        ScorerWrapper(scorer)(fields=ak.from_numpy(fields(3)[:, :1]))
