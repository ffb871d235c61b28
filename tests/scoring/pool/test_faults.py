"""Faults of a real pool: whatever happens, scores are those of the process, or the client stops and says why."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import urllib3
from pydantic import TypeAdapter

from darkop_dist.config.serving import Serving
from darkop_dist.errors import FingerprintError, InputValueError, ScoringOutageError
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.origins import recorded_origins
from darkop_dist.scoring.pool.last_words import WHY
from darkop_dist.scoring.remote.fallback import FALLBACK, FallbackScorer
from darkop_dist.scoring.remote.http import HttpTransport
from darkop_dist.scoring.remote.scorer import RemoteScorer
from darkop_dist.scoring.remote.transport import RejectedError
from darkop_dist.scoring.wire import ModelDescription

pytestmark = pytest.mark.slow

PATIENT = {"deadline_s": 90.0, "tries": 60}
MOST_EVENTS = 200
WAIT_S = 90.0
CLIENT = Path(__file__).resolve().parents[2] / "servers" / "score_client.py"


@dataclass
class Client:
    """A process of ``servers/score_client.py``."""

    process: subprocess.Popen[str]
    output: Path
    errors: Path
    ended: Path

    @property
    def batches(self) -> int:
        return self.output.read_text().count("equal\n")

    def has_scored(self, more: int) -> None:
        """Waits until so many further batches were as they should be."""
        wanted = self.batches + more
        until(lambda: self.batches >= wanted or self.process.poll() is not None, self.told)
        assert self.batches >= wanted, self.told()

    def ends_with_ray(self) -> bool:
        """Waits until it goes on, stops and says why, or Ray has ended it; that must be said too."""
        said = ("runs in the process", '"error"')
        until(
            lambda: (
                self.process.poll() is not None
                or any(one in self.errors.read_text() + self.output.read_text() for one in said)
            ),
            self.told,
        )
        if self.process.poll() in {None, 0}:
            return False
        assert self.process.returncode == 1, self.told()
        until(lambda: WHY in self.errors.read_text(), self.told)
        assert "--resume" in self.errors.read_text()
        return True

    def result(self, *, end: bool = True) -> dict[str, Any]:
        """What it says at its end; with ``end=False`` it must come to one by itself."""
        if end:
            self.ended.touch()
        self.process.wait(WAIT_S)
        assert self.process.returncode == 0, self.told()
        found: dict[str, Any] = json.loads(self.output.read_text().splitlines()[-1])
        return found

    def said(self) -> dict[str, Any]:
        """The same, without waiting for the end of the process."""
        until(lambda: self.output.read_text().endswith("}\n"), self.told)
        found: dict[str, Any] = json.loads(self.output.read_text().splitlines()[-1])
        return found

    def told(self) -> str:
        return f"exit {self.process.poll()}\n{self.output.read_text()[-2000:]}\n{self.errors.read_text()[-4000:]}"


Start = Callable[..., Client]


def until(condition: Callable[[], bool], told: Callable[[], object] = str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


@pytest.fixture
def start_client(checkpoint_directory: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts clients: ``start_client(at, **serving)``; what is left of them is ended with the test."""
    started: list[Client] = []

    def start(at: str, **serving: Any) -> Client:
        stem = tmp_path / f"client{len(started)}"
        output, errors, ended = (stem.with_suffix(one) for one in (".out", ".err", ".end"))
        given = json.dumps({"at": at, **PATIENT} | serving)
        with output.open("w") as out, errors.open("w") as err:
            command = [sys.executable, str(CLIENT), str(checkpoint_directory), given, str(ended)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            process = subprocess.Popen(command, stdout=out, stderr=err, text=True, env=environment)
        started.append(Client(process, output, errors, ended))
        return started[-1]

    yield start
    for client in started:
        client.process.kill()
        client.process.wait()


@pytest.fixture(scope="module")
def harmed(
    start_pool: Callable[..., Any], checkpoint_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Two replicas of two models that are alike at first; it survives what is done to it."""
    models = (f"toy={checkpoint_directory}", f"changing={checkpoint_directory}")
    limits = ("--replicas", "2", "--cpus", "0.5", "--max-events", str(MOST_EVENTS))
    with start_pool(*models, *limits, folder=tmp_path_factory.mktemp("harmed")) as served:
        yield served


def by_ray(pool: Any) -> str:
    return f"ray://{pool.ray}"


def described(pool: Any, model: str) -> ModelDescription:
    return ModelDescription.model_validate(urllib3.request("GET", f"{pool.http}/v1/models/{model}").json())


def scorer_of(
    pool: Any, model: str = "toy", changes: dict[str, Any] | None = None, one: ModelDescription | None = None,
    **serving: Any,
) -> RemoteScorer:  # fmt: skip
    description = (one or described(pool, model)).model_copy(update=changes or {})
    return RemoteScorer(Serving.model_validate({"at": pool.http, **PATIENT} | serving), description)


def kill(processes: list[psutil.Process]) -> None:
    assert processes
    for one in processes:
        one.kill()


def test_a_replica_is_killed_under_load(harmed: Any, start_client: Start) -> None:
    clients = [start_client(harmed.http, model="toy"), start_client(by_ray(harmed), model="toy")]
    for client in clients:
        client.has_scored(2)
    before = {one.pid for one in harmed.replicas}
    kill(harmed.replicas[:1])
    for client in clients:
        client.has_scored(3)
    until(lambda: len({one.pid for one in harmed.replicas} - before) == 1)  # Serve makes another one
    kill([one for one in harmed.replicas if one.pid in before])
    for client, at in zip(clients, (harmed.http, by_ray(harmed)), strict=True):
        client.has_scored(3)
        found = client.result()
        assert found["error"] is None
        assert found["origins"] == {at: 700 * client.batches}, "each event once, and from the pool"


def test_the_proxy_is_restarted_under_load(harmed: Any, start_client: Start) -> None:
    clients = [start_client(harmed.http, model="toy"), start_client(by_ray(harmed), model="toy")]
    for client in clients:
        client.has_scored(2)
    kill(harmed.processes("ProxyActor"))
    for client in clients:
        client.has_scored(3)
        assert client.result()["error"] is None


def test_a_slow_replica_holds_nobody_beyond_the_deadline(
    harmed: Any, toy: LocalScorer, make_batch: Callable[..., Any]
) -> None:
    batch = make_batch(toy, 900)
    expected, serving = toy.score(batch), {"deadline_s": 1.5, "tries": 1}
    hasty, bridged = scorer_of(harmed, **serving), FallbackScorer(scorer_of(harmed, **serving), toy)
    np.testing.assert_array_equal(hasty.score(batch), expected)
    with harmed.slow():
        began = time.monotonic()
        with pytest.raises(ScoringOutageError, match=r"no scores: http://127.*(timed out|within).*fallback: local"):
            hasty.score(batch)
        assert time.monotonic() - began < 5
        with recorded_origins() as origins:
            np.testing.assert_array_equal(bridged.score(batch), expected)
        assert origins.events == {FALLBACK: 900}
    np.testing.assert_array_equal(scorer_of(harmed).score(batch), expected)


def test_one_slow_replica_of_two(harmed: Any, toy: LocalScorer, make_batch: Callable[..., Any]) -> None:
    batch = make_batch(toy, 900)
    expected, scorer = toy.score(batch), scorer_of(harmed)
    until(lambda: len(harmed.replicas) == 2)
    slow = harmed.replicas[0]
    slow.suspend()
    try:
        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(scorer.score, batch)
            np.testing.assert_array_equal(asked.result(timeout=PATIENT["deadline_s"] + 30), expected)
    finally:
        with contextlib.suppress(psutil.Error):  # Serve may have ended it
            slow.resume()


def test_requests_beyond_the_limits(harmed: Any, toy: LocalScorer, make_batch: Callable[..., Any]) -> None:
    batch = make_batch(toy, MOST_EVENTS + 1)
    np.testing.assert_array_equal(scorer_of(harmed).score(batch), toy.score(batch))  # in two
    careless = scorer_of(harmed, changes={"most_events": 10_000, "best_events": 10_000})
    with pytest.raises(InputValueError, match=rf"the events sent to http://127.*{MOST_EVENTS + 1}.*{MOST_EVENTS}"):
        careless.score(batch)


def test_events_that_are_wrong(harmed: Any, toy: LocalScorer, make_batch: Callable[..., Any]) -> None:
    batch = make_batch(toy, 6)
    careless = HttpTransport(harmed.http)
    try:
        narrow = {"fields": np.ascontiguousarray(batch["fields"][:, :1])}
        with pytest.raises(RejectedError, match=r"input fields is fixed_size_list.*\[128\], not .*\[256\]"):
            careless.score("toy", narrow, toy.fingerprint, 30.0)
        batch["fields"][4, 0, 0, 0] = np.inf
        with pytest.raises(RejectedError, match="not finite, first in event 4"):
            careless.score("toy", batch, toy.fingerprint, 30.0)
    finally:
        careless.close()
    with pytest.raises(InputValueError, match="not finite, first in event 4"):
        scorer_of(harmed).score(batch)


def test_a_client_is_killed_in_the_middle(
    harmed: Any, start_client: Start, toy: LocalScorer, make_batch: Callable[..., Any]
) -> None:
    clients = [start_client(harmed.http, model="toy"), start_client(by_ray(harmed), model="toy")]
    for client in clients:
        client.has_scored(1)
    with harmed.slow():
        time.sleep(0.5)  # by now their next requests are on their way
        for client in clients:
            client.process.kill()
            client.process.wait(WAIT_S)
    batch = make_batch(toy, 500)
    for _ in range(4):  # either replica answers, and nothing of those who went is mixed in
        np.testing.assert_array_equal(scorer_of(harmed).score(batch), toy.score(batch))
    until(lambda: "darkop_waiting_requests" in urllib3.request("GET", f"{harmed.http}/metrics").data.decode())
    until(lambda: _waiting(harmed) == 0)


def _waiting(pool: Any) -> float:
    lines = urllib3.request("GET", f"{pool.http}/metrics").data.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("darkop_waiting_requests"))


def test_descriptions_of_a_newer_server(harmed: Any, toy: LocalScorer, make_batch: Callable[..., Any]) -> None:
    told = urllib3.request("GET", f"{harmed.http}/v1/models").json()
    for one in told:
        one |= {"version": "99.0", "moods": ["good"]}
        one["score_axis"]["colour"] = "red"
        one["inputs"][0]["unit"] = {"of": "energy"}
    (newer,) = (one for one in TypeAdapter(tuple[ModelDescription, ...]).validate_python(told) if one.name == "toy")
    scorer = RemoteScorer(Serving.model_validate({"at": harmed.http}), newer)
    assert (scorer.inputs, scorer.score_axis) == (toy.inputs, toy.score_axis)
    batch = make_batch(toy, 30)
    np.testing.assert_array_equal(scorer.score(batch), toy.score(batch))


def test_another_model_in_the_middle_stops_the_client(
    harmed: Any, start_client: Start, other_checkpoint: Path, run_darkop: Callable[..., Any], toy: LocalScorer,
    other: LocalScorer, make_batch: Callable[..., Any],
) -> None:  # fmt: skip
    # a fallback is for outages: it may not hide that the server has another model
    clients = [start_client(at, model="changing", fallback="local") for at in (harmed.http, by_ray(harmed))]
    for client in clients:
        client.has_scored(1)
    done = run_darkop("serve", "--update", harmed.ray, f"changing={other_checkpoint}")
    assert done.returncode == 0, done.stderr
    for client in clients:
        found = client.result(end=False)
        assert found["error"].startswith("FingerprintError: ")
        assert toy.fingerprint in found["error"]
        assert other.fingerprint in found["error"]
    with pytest.raises(FingerprintError, match=other.fingerprint):
        FallbackScorer(scorer_of(harmed, "changing"), toy)
    batch = make_batch(toy, 10)
    np.testing.assert_array_equal(scorer_of(harmed, "toy").score(batch), toy.score(batch))


def test_a_time_to_wait_and_the_end_of_a_pool(
    start_pool: Callable[..., Any], start_client: Start, checkpoint_directory: Path, toy: LocalScorer, tmp_path: Path,
    make_batch: Callable[..., Any], run_darkop: Callable[..., Any],
) -> None:  # fmt: skip
    limits = ("--cpus", "0.5", "--rate", "1")
    with start_pool(f"toy={checkpoint_directory}", *limits, folder=tmp_path) as served:
        one, few = described(served, "toy"), make_batch(toy, 1)
        with ThreadPoolExecutor(8) as threads:  # all at once: how quick the machine is decides nothing
            answers = list(threads.map(lambda _: served.post("toy", few, toy.inputs), range(40)))
        refused = [answer for answer in answers if answer.status == 429]
        assert refused
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        with pytest.raises(ScoringOutageError, match=r"beyond the deadline of 0\.05 s"):
            for _ in range(30):
                scorer_of(served, one=one, deadline_s=0.05).score(few)
        # being told to wait is no failed try
        client = start_client(served.http, model="toy", fallback="local", tries=1)
        client.has_scored(3)
        done = run_darkop("serve", "--stop", served.ray)
        assert done.returncode == 0, done.stderr
        until(lambda: "runs in the process" in client.errors.read_text())
        client.has_scored(2)
        found = client.result()
    assert found["error"] is None
    assert found["origins"][served.http] >= 3 * 700
    assert found["origins"][FALLBACK] > 0
    assert sum(found["origins"].values()) == 700 * client.batches


def test_the_head_is_gone(
    start_pool: Callable[..., Any], start_client: Start, checkpoint_directory: Path, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="dk", ignore_cleanup_errors=True) as ray_folder:
        limits = ("--cpus", "0.5", "--ray-folder", ray_folder)
        with start_pool(f"toy={checkpoint_directory}", *limits, folder=tmp_path) as served:
            serving = {"model": "toy", "deadline_s": 15.0, "tries": 3}
            ways = (served.http, *[by_ray(served)] * 3)  # in the middle of a transfer Ray ends the process
            bridged = [start_client(at, fallback="local", **serving) for at in ways]
            strict = [start_client(at, **serving) for at in ways[:2]]
            for client in (*bridged, *strict):
                client.has_scored(1)
            kill(
                [
                    one
                    for kind in ("gcs_server", "raylet/raylet", "ServeReplica", "ProxyActor", "ServeController")
                    for one in served.processes(kind)
                ]
            )
            for client in strict:
                if client.ends_with_ray():
                    continue
                found = client.said()
                assert found["error"].startswith("ScoringOutageError: no scores: ")
                assert "fallback: local" in found["error"]
            for client, at in zip(bridged, ways, strict=True):
                if client.ends_with_ray():
                    continue
                client.has_scored(2)
                client.ended.touch()
                found = client.said()  # Ray itself may hold the process up at its end
                assert found["error"] is None
                assert set(found["origins"]) == {at, FALLBACK}
                assert sum(found["origins"].values()) == 700 * client.batches
            assert not bridged[0].ends_with_ray(), "over HTTP such a fault is an error like others"
            served.process.kill()
