"""Calls and answers between the driver and the workers of a Dask cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from darkop_dist.errors import RunError
from darkop_dist.execution.backend import Answer, Call, by_value
from darkop_dist.execution.dask_backend import DaskBackend
from darkop_dist.execution.dask_calls import MOST_TOLD_BYTES, Told
from darkop_dist.execution.store import ChunkStore


class Words:
    """Stands for a processor."""

    words = ("jet", "muon")


def said(processor: Any, number: int) -> str:
    return str(processor.words[number])


def large(_processor: Any, size: int) -> bytes:
    return b"x" * size


def lock(_processor: Any) -> Any:
    return threading.Lock()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as found:
        yield found


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as found:
        yield found


@pytest.fixture
def backend(client: Client, tmp_path: Path) -> Iterator[DaskBackend]:
    store = ChunkStore(tmp_path / "chunks")
    store.create()
    made = DaskBackend(client, by_value(Words()), workers=1, store=store.path, no_workers_s=20)
    yield made
    made.close()


def answers(backend: DaskBackend, number: int) -> dict[int, Any]:
    found: dict[int, Any] = {}
    while len(found) < number:
        found |= {answer.token: answer for answer in backend.answers(10.0)}
    return found


def test_every_call_is_answered_once(backend: DaskBackend) -> None:
    for token in range(1200):  # more than go in one message
        backend.submit(Call(token, said, (token % 2,)))
    found: list[Answer] = []
    while len(found) < 1200:
        found += backend.answers(10.0)
    assert not backend.answers(0.5)
    assert sorted(answer.token for answer in found) == list(range(1200))
    assert {answer.token % 2: answer.value for answer in found} == {0: "jet", 1: "muon"}


def test_a_small_answer_needs_no_connection_of_its_own(backend: DaskBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DaskBackend, "_fetched", lambda *_: pytest.fail("fetched"))
    monkeypatch.setattr(DaskBackend, "_wait", lambda self, _: told(self._done, 2))
    for token in range(2):
        backend.submit(Call(token, said, (token,)))
    assert {token: answer.value for token, answer in answers(backend, 2).items()} == {0: "jet", 1: "muon"}


def told(done: Any, number: int) -> list[tuple[int, Told]]:
    """What came over the stream, whatever Dask itself tells of the same tasks."""
    found: list[tuple[int, Told]] = []
    while len(found) < number:
        token, answer = done.get(timeout=10)
        if isinstance(answer, Told):
            found.append((token, answer))
    return found


def test_a_large_answer_is_fetched(backend: DaskBackend) -> None:
    backend.submit(Call(1, large, (2 * MOST_TOLD_BYTES,)))
    assert answers(backend, 1)[1].value == b"x" * 2 * MOST_TOLD_BYTES


def test_an_answer_that_cannot_travel_is_an_error(backend: DaskBackend) -> None:
    backend.submit(Call(1, lock, ()))
    found = answers(backend, 1)[1]
    assert isinstance(found.error, TypeError)


def test_a_worker_that_comes_later_has_the_processor(
    backend: DaskBackend, cluster: LocalCluster, client: Client
) -> None:
    cluster.scale(2)
    client.wait_for_workers(2, timeout=30)
    old = next(iter(client.nthreads()))
    backend.submit(Call(1, said, (0,), avoid=frozenset({old})))
    assert answers(backend, 1)[1].value == "jet"


def test_workers_forget_the_processor_at_the_end(backend: DaskBackend, client: Client) -> None:
    def held(dask_worker: Any) -> list[str]:
        return [name for name in dask_worker.plugins if name.startswith("darkop-")]

    assert {len(names) for names in client.run(held).values()} == {1}
    backend.close()
    assert {len(names) for names in client.run(held).values()} == {0}


def test_a_processor_that_cannot_be_sent(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def fails(*_: Any, **__: Any) -> None:
        tries.append(1)
        raise OSError("Connection reset by peer")

    monkeypatch.setattr(client, "register_plugin", fails)
    ChunkStore(tmp_path).create()
    with pytest.raises(RunError, match=r"cannot be sent to the workers \(Connection reset by peer\)"):
        DaskBackend(client, by_value(Words()), workers=1, store=tmp_path, no_workers_s=20)
    assert len(tries) == 3
