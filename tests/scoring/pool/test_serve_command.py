"""``darkop serve``: what it refuses before it starts anything, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from darkop_dist.cli.app import _run, app
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.pool.head import free_port

ADDRESS = "127.0.0.1:1"

TAKEN = """
import socket, sys
from darkop_dist.scoring.pool.head import free_port, own_ray
from darkop_dist.scoring.pool.launch import deploy
from darkop_dist.scoring.pool.settings import PoolSettings
from darkop_dist.scoring.server.listen import Listen
http, grpc = (free_port("127.0.0.1", 0, "--port") for _ in range(2))
settings = PoolSettings(models={"m": "m"}, listen=Listen(port=http), grpc_port=grpc)
with socket.create_server(("127.0.0.1", grpc)), own_ray(settings, folder=sys.argv[1]):
    try:
        deploy(settings, {})
    except Exception as error:
        print(f"said {type(error).__name__}: {error}".replace(str(http), "HTTP").replace(str(grpc), "GRPC"))
"""


def refusal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    """Exit status and message of a command that must not get as far as Ray."""
    monkeypatch.setattr("sys.argv", ["darkop", "serve", *arguments])
    monkeypatch.setattr("darkop_dist.scoring.pool.launch.own_ray", None)
    status = _run(app)
    return status, " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no checkpoint to serve. Give names or directories, as in: darkop serve cylinder-fno-v1"),
        (("cylinder-fno-v2",), "unknown checkpoint 'cylinder-fno-v2'. Did you mean cylinder-fno-v1?"),
        (("cylinder-fno-v1", "--replicas", "few"), "replicas: 'few' is no number and no range"),
        (("cylinder-fno-v1", "--host", "0.0.0.0"), "others can reach 0.0.0.0, so a token is needed"),  # noqa: S104
        (("cylinder-fno-v1", "--tls-cert", "a.pem"), "TLS needs both a certificate and its key"),
        (("cylinder-fno-v1", "--token-env", "NO_SUCH_TOKEN"), "environment variable NO_SUCH_TOKEN"),
        (("cylinder-fno-v1", "--max-events", "0"), "most_events is 0. Give at least 1"),
        (("cylinder-fno-v1", "--rate", "0"), "requests_per_s is 0.0. Give a number above zero"),
        (("m", "--status", ADDRESS), "--status takes no checkpoints"),
        (("--status", ADDRESS, "--stop", ADDRESS), "are done one at a time"),
        (("--update", ADDRESS), "no checkpoint to serve"),
        (("--stop", ADDRESS), "127.0.0.1:1: no Ray answers there"),
        (("cylinder-fno-v1", "--update", "http://here"), "'http://here' is no Ray address"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, told = refusal(capsys, monkeypatch, *arguments)
    assert status == 2
    assert message in told


def test_a_checkpoint_that_is_not_what_its_card_says(
    damaged: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, told = refusal(capsys, monkeypatch, "cylinder-fno-v1", f"mine={damaged}")
    assert status == 1
    assert "the weights or the architecture are not those of the card" in told


def test_a_port_in_use(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, told = refusal(capsys, monkeypatch, "cylinder-fno-v1", "--port", port)
    assert status == 2
    assert f"port {port} of 127.0.0.1 cannot be had: Address already in use. Give another one with --port" in told


@pytest.mark.slow
def test_with_tls_and_a_token_and_ended_by_sigterm_once_what_was_asked_is_answered(
    checkpoint_directory: Path, toy: LocalScorer, start_pool: Any, make_batch: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, tls: tuple[Path, Path],
) -> None:  # fmt: skip
    monkeypatch.setenv("POOL_TOKEN", "t" * 32)
    bearer, (cert, key) = {"authorization": "Bearer " + "t" * 32}, tls
    arguments = [f"m={checkpoint_directory}", "--token-env", "POOL_TOKEN", "--rate", "100", "--drain-s", "20"]
    arguments += ["--tls-cert", str(cert), "--tls-key", str(key), "--grpc-port", "0"]
    with start_pool(*arguments, folder=tmp_path) as pool:
        batch, few = make_batch(toy, 5_000), make_batch(toy, 2)
        assert pool.http.startswith("https://")
        assert pool.post("m", few, toy.inputs, ca=cert).status == 401
        with pytest.raises(urllib3.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            pool.post("m", few, toy.inputs, bearer)
        check_grpc(pool.said["grpc"], cert, bearer, few, toy)
        family = psutil.Process(pool.process.pid).children(recursive=True)
        answered = threading.Event()

        def ask_until_refused() -> list[urllib3.BaseHTTPResponse]:
            answers = []
            while not answers or answers[-1].status == 200:
                try:
                    answers.append(pool.post("m", batch, toy.inputs, bearer, cert))
                except urllib3.exceptions.NewConnectionError:  # nobody listens any more
                    break
                answered.set()
            return answers

        with ThreadPoolExecutor(3) as threads:
            asked = [threads.submit(ask_until_refused) for _ in range(3)]
            assert answered.wait(60)
            pool.process.send_signal(signal.SIGTERM)
            answers = [answer for one in asked for answer in one.result(timeout=90)]
        assert pool.process.wait(60) == 0
    for one in answers:
        assert one.status == 200 or (one.status == 503 and b'"draining"' in one.data), (one.status, one.data)
    assert 200 in {one.status for one in answers}
    told = (tmp_path / "told.txt").read_text()
    assert "stopping: what was asked is answered within 20 s" in told
    assert told.endswith("stopped\n")
    assert "t" * 32 not in told + (tmp_path / "said.json").read_text()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def check_grpc(address: str, cert: Path, headers: dict[str, str], batch: Any, toy: LocalScorer) -> None:
    from tritonclient import grpc

    asked = grpc.InferInput("fields", list(batch["fields"].shape), "FP32")
    asked.set_data_from_numpy(batch["fields"])
    with grpc.InferenceServerClient(address, ssl=True, root_certificates=str(cert)) as client:
        with pytest.raises(Exception, match="no bearer token"):
            client.infer("m", [asked])
        scores = client.infer("m", [asked], headers=headers).as_numpy("score")
        assert scores is not None
        np.testing.assert_array_equal(scores.reshape(-1), toy.score(batch))
    with grpc.InferenceServerClient(address) as plain, pytest.raises(Exception, match="UNAVAILABLE"):
        plain.is_server_live()


@pytest.mark.slow
def test_ctrl_c_reaches_every_process_and_the_pool_still_ends_well(
    checkpoint_directory: Path, toy: LocalScorer, start_pool: Any, make_batch: Callable[..., Any], tmp_path: Path,
    run_darkop: Callable[..., Any],
) -> None:  # fmt: skip
    """A terminal sends SIGINT to all processes of the group.

    Before that: two replicas with room for one model each share two models, and a second pool on this Ray is refused.
    """
    models = (f"m={checkpoint_directory}", f"n={checkpoint_directory}")
    more = ("--replicas", "2", "--cpus", "0.5", "--most-models", "1")
    with start_pool(*models, *more, folder=tmp_path) as pool:
        few = make_batch(toy, 2)
        for name in ("m", "n") * 3:
            time.sleep(0.3)  # until the proxy has heard which replica loaded what
            assert pool.post(name, few, toy.inputs, {"serve-multiplexed-model-id": name}).status == 200
        before = served_by(pool, 6)
        for name in ("m", "n") * 10:
            assert pool.post(name, few, toy.inputs, {"serve-multiplexed-model-id": name}).status == 200
        after = served_by(pool, 26)
        since = {pair: count - before.get(pair, 0) for pair, count in after.items() if count > before.get(pair, 0)}
        assert sorted(model for model, _ in since) == ["m", "n"]
        assert len({replica for _, replica in since}) == 2
        assert set(since.values()) == {10.0}
        second = run_darkop("serve", f"n={checkpoint_directory}", "--ray-address", pool.ray)
        assert second.returncode == 2
        assert "this Ray cluster has a pool already" in second.stderr
        batch = make_batch(toy, 10)
        np.testing.assert_array_equal(pool.score("m", batch, toy.inputs), toy.score(batch))
        family = psutil.Process(pool.process.pid).children(recursive=True)
        os.killpg(pool.process.pid, signal.SIGINT)
        assert pool.process.wait(40) == 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"{pool.http}/v2/health/ready", retries=False, timeout=2)
    assert free_port("127.0.0.1", int(pool.http.rpartition(":")[2]), "--port")


def served_by(pool: Any, requests: int) -> dict[tuple[str, str], float]:
    """Requests by model and replica, as soon as Ray's metrics have so many."""
    deadline = time.monotonic() + 40
    while True:
        text = urllib3.request("GET", pool.said["metrics"][0]).data.decode()
        found = {
            (sample.labels["model"], sample.labels["replica"]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "ray_darkop_requests_total"
        }
        if sum(found.values()) >= requests:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


@pytest.mark.slow
def test_a_pool_whose_ray_was_killed_ends_too(
    checkpoint_directory: Path, start_pool: Any, run_darkop: Callable[..., Any], tmp_path: Path
) -> None:
    with start_pool(f"m={checkpoint_directory}", "--drain-s", "1", folder=tmp_path) as pool:
        for one in pool.processes("raylet/raylet"):
            one.kill()
        pool.process.send_signal(signal.SIGTERM)
        pool.process.wait(60)  # the drain is given up after 1 + 15 s
    assert run_darkop("serve", "--status", pool.ray).returncode == 2


@pytest.mark.slow
def test_a_port_that_is_taken_while_ray_starts(short_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TAKEN, str(short_folder)], capture_output=True, text=True, timeout=120, check=False
    )
    said = next((line for line in done.stdout.splitlines() if line.startswith("said ")), done.stderr[-4000:])
    assert said.startswith("said RunError: Serve does not listen at port HTTP and GRPC of 127.0.0.1: ")
    assert "bind to address 127.0.0.1:GRPC" in said
    assert "If somebody has taken a port meanwhile, start it again" in said
