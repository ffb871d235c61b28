"""A small model, a server of it with faults on command, and patient and impatient clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from darkop_dist.config.serving import Serving
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.remote.scorer import RemoteScorer

Make = Callable[..., RemoteScorer]


@pytest.fixture(scope="session")
def local(checkpoint_directory: Path) -> LocalScorer:
    return LocalScorer.from_checkpoint(checkpoint_directory)


@pytest.fixture
def serve(score_servers: ModuleType, local: LocalScorer) -> Iterator[Callable[..., Any]]:
    """Starts servers of the model, for the length of the test."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(score_servers.score_server(local, **changes))


@pytest.fixture
def scorer_of() -> Make:
    def make(server: Any, **changes: Any) -> RemoteScorer:
        serving = Serving.model_validate({"at": server.url, "deadline_s": 10.0} | changes)
        return RemoteScorer(serving, server.description())

    return make


def fields(events: int, seed: int = 1) -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(seed).exponential(size=(events, 2, 8, 16))
    return {"fields": drawn.astype(np.float32)}


@pytest.fixture
def make_batch() -> Callable[..., dict[str, np.ndarray]]:
    return fields
