"""Real servers of the Open Inference Protocol on loopback, HTTP and gRPC before one engine, without Ray."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from starlette.applications import Starlette

from darkop_dist.scoring.contract import Batch, InputSpec, ScoreAxis, Scorer
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.server import Engine, EngineSettings
from darkop_dist.scoring.server.access import Access
from darkop_dist.scoring.server.front import Front
from darkop_dist.scoring.server.http import http_app
from darkop_dist.scoring.server.listen import Listen
from darkop_dist.scoring.server.run import serving
from darkop_dist.scoring.server.v2_grpc_server import GrpcSettings, grpc_server
from darkop_dist.scoring.server.v2_http import v2_routes

MOST_BYTES = 8 * 1024 * 1024


class Sums:
    """Scores an event with the sum of its numbers; calls wait until the gate is open."""

    def __init__(self) -> None:
        self.fingerprint = "5" * 64
        self.inputs = (
            InputSpec("x", (3,), "float32", "three numbers", "columns", {}),
            InputSpec("y", (2, 2), "float32", "four numbers", "columns", {}),
        )
        self.score_axis = ScoreAxis(edges=(0.0, 1.0, 2.0), label="sum", fixed_on="nothing")
        self.gate, self.called = threading.Event(), threading.Event()
        self.gate.set()

    def score(self, batch: Batch) -> npt.NDArray[np.float32]:
        self.called.set()
        assert self.gate.wait(30)
        if (batch["x"] == 666).any():
            raise ZeroDivisionError("a bug of the model")
        found: npt.NDArray[np.float32] = batch["x"].sum(axis=1) + batch["y"].sum(axis=(1, 2))
        return found


@dataclass
class Served:
    """What is served, and where.

    Attributes:
        engine: before which both stand.
        http: ``host:port``.
        grpc: ``host:port``.
    """

    engine: Engine
    http: str = ""
    grpc: str = ""
    _loop: list[asyncio.AbstractEventLoop] = field(default_factory=list)

    def drain(self) -> None:
        asyncio.run_coroutine_threadsafe(self.engine.drain(), self._loop[0]).result(30)


@contextmanager
def served(
    models: dict[str, Callable[[], Scorer]],
    settings: EngineSettings,
    access: Access | None = None,
    *,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[Served]:
    """Serve models for as long as the context lasts."""
    found = Served(Engine(models, settings))
    front = Front(found.engine, access or Access())
    listen = Listen(port=0, certificate=tls[0] if tls else None, key=tls[1] if tls else None)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        found._loop.append(asyncio.get_running_loop())
        await found.engine.start()
        async with grpc_server(front, listen, GrpcSettings(most_bytes=settings.most_bytes + 65536)) as port:
            found.grpc = f"localhost:{port}" if tls else f"127.0.0.1:{port}"
            yield
        await found.engine.drain()
        await found.engine.close()

    app = http_app(found.engine, front.access, routes=v2_routes(front), lifespan=lifespan)
    with serving(app, listen, needs_token=front.access.needs_token) as address:
        found.http = address.split("://")[1]
        yield found


@pytest.fixture(scope="session")
def serve_models() -> Callable[..., object]:
    return served


@pytest.fixture(scope="session")
def toy(checkpoint_directory: Path) -> LocalScorer:
    return LocalScorer.from_checkpoint(checkpoint_directory)


@pytest.fixture(scope="session")
def server(checkpoint_directory: Path) -> Iterator[Served]:
    """The toy autoencoder, under the name ``toy``."""
    settings = EngineSettings(best_events=512, most_bytes=MOST_BYTES)
    with served({"toy": lambda: LocalScorer.from_checkpoint(checkpoint_directory)}, settings) as found:
        yield found


@pytest.fixture
def sums() -> Iterator[Sums]:
    model = Sums()
    yield model
    model.gate.set()


@pytest.fixture
def sums_server(sums: Sums) -> Iterator[Served]:
    """The model ``sums``, which can be held."""
    settings = EngineSettings(best_events=64, most_events=1000, most_bytes=MOST_BYTES, most_waiting=1)
    with served({"sums": lambda: sums}, settings) as found:
        yield found


@pytest.fixture
def start_grpc(sums: Sums) -> Callable[[Access, Listen], None]:
    """Start a gRPC server, and stop it at once."""

    def start(access: Access, listen: Listen) -> None:
        async def run() -> None:
            async with grpc_server(Front(Engine({"sums": lambda: sums}), access), listen):
                pass

        asyncio.run(run())

    return start
