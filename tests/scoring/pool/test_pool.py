"""A real pool with three models: what clients get, what is seen of it, and an update under load."""

from __future__ import annotations

import json
import socket
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

from darkop_dist.errors import UserError
from darkop_dist.scoring.capacity import Curve
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.pool.head import joined_ray
from darkop_dist.scoring.wire import ModelDescription, Problem, decode_scores

pytestmark = pytest.mark.slow

EVENTS = 300


def test_a_handle_gives_the_scores_of_the_process(
    joined: Any, toy: LocalScorer, other: LocalScorer, make_batch: Callable[..., Any]
) -> None:
    batch = make_batch(toy, EVENTS)
    for name, scorer in (("toy", toy), ("other", other)):
        handle = joined.options(multiplexed_model_id=name)
        found = handle.score.remote(name, batch, scorer.fingerprint, 30.0).result(timeout_s=60)
        np.testing.assert_array_equal(found["scores"], scorer.score(batch))
        assert found["fingerprint"] == scorer.fingerprint
        assert found["queue_s"] >= 0
        assert found["compute_s"] > 0


def test_http_gives_the_scores_of_the_process(
    pool: Any, toy: LocalScorer, other: LocalScorer, make_batch: Callable[..., Any]
) -> None:
    batch = make_batch(toy, EVENTS)
    for name, scorer in (("toy", toy), ("other", other)):
        np.testing.assert_array_equal(pool.score(name, batch, scorer.inputs), scorer.score(batch))


def test_grpc_gives_the_scores_of_the_process(pool: Any, toy: LocalScorer, make_batch: Callable[..., Any]) -> None:
    from tritonclient import grpc

    batch = make_batch(toy, EVENTS)
    with grpc.InferenceServerClient(pool.said["grpc"]) as client:
        assert client.is_server_ready()
        asked = grpc.InferInput("fields", list(batch["fields"].shape), "FP32")
        asked.set_data_from_numpy(batch["fields"])
        scores = client.infer("toy", [asked]).as_numpy("score")
        assert scores is not None
        np.testing.assert_array_equal(scores.reshape(-1), toy.score(batch))
        with pytest.raises(Exception, match="there is no model 'nix'"):
            client.infer("nix", [asked])


def test_refusals_come_through_a_handle(joined: Any, toy: LocalScorer, make_batch: Callable[..., Any]) -> None:
    batch = make_batch(toy, 4)
    unknown = joined.score.remote("nix", batch, None, None).result(timeout_s=30)
    assert Problem.model_validate(unknown["problem"]).code == "unknown-model"
    stale = Problem.model_validate(joined.score.remote("toy", batch, "0" * 64, None).result(timeout_s=30)["problem"])
    assert stale.values == {"expected": "0" * 64, "found": toy.fingerprint}
    batch["fields"][2, 0, 0, 0] = np.nan
    nan = Problem.model_validate(joined.score.remote("toy", batch, None, None).result(timeout_s=30)["problem"])
    assert (nan.code, nan.retry_after_s) == ("invalid-input", None)
    assert "first in event 2" in nan.detail
    assert joined.describe.remote("nix").result(timeout_s=30)["problem"]["code"] == "unknown-model"


def test_a_process_is_in_one_cluster(joined: Any, pool: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        told = rf"{address}: this process is in the Ray cluster at {pool.ray} and cannot be in another one"
        with pytest.raises(UserError, match=told), joined_ray(address):
            pass
    with joined_ray(pool.ray.replace("127.0.0.1", "localhost")):
        assert joined.models.remote().result(timeout_s=30)


def test_models_are_described_alike_by_handle_and_http(pool: Any, joined: Any, toy: LocalScorer) -> None:
    by_http = urllib3.request("GET", f"{pool.http}/v1/models").json()
    assert joined.models.remote().result(timeout_s=30) == by_http
    assert {one["name"]: one["fingerprint"] for one in by_http}.items() >= {("toy", toy.fingerprint)}
    assert ModelDescription.model_validate(joined.describe.remote("toy").result(timeout_s=30)).input_specs == toy.inputs


def test_health_and_readiness(pool: Any) -> None:
    for path in ("live", "ready"):
        assert urllib3.request("GET", f"{pool.http}/v2/health/{path}").status == 200


def _metrics(address: str) -> dict[str, list[Any]]:
    text = urllib3.request("GET", address).data.decode()
    return {family.name: family.samples for family in text_string_to_metric_families(text)}


def test_metrics_of_a_replica_and_of_ray(pool: Any, toy: LocalScorer, make_batch: Callable[..., Any]) -> None:
    pool.score("toy", make_batch(toy, 1), toy.inputs)
    shown = _metrics(f"{pool.http}/metrics")
    before = {s.labels["model"]: s.value for s in shown["darkop_events"] if s.name.endswith("_total")}
    pool.score("toy", make_batch(toy, 77), toy.inputs)
    shown = _metrics(f"{pool.http}/metrics")
    after = {s.labels["model"]: s.value for s in shown["darkop_events"] if s.name.endswith("_total")}
    assert after["toy"] - before["toy"] == 77
    assert {"darkop_queue_seconds", "darkop_batch_events", "darkop_waiting_requests"} <= set(shown)

    wanted = {"ray_darkop_events_total", "ray_darkop_queue_seconds", "ray_darkop_request_seconds",
              "ray_darkop_batch_events", "ray_darkop_waiting_requests", "ray_darkop_requests_total"}  # fmt: skip
    deadline = time.monotonic() + 30  # Ray's processes report every few seconds
    while True:
        by_ray = _metrics(pool.said["metrics"][0])
        names = {sample.name for samples in by_ray.values() for sample in samples} | set(by_ray)
        samples = [s for samples in by_ray.values() for s in samples if s.name == "ray_darkop_events_total"]
        values = {s.labels["model"]: s.value for s in samples}
        if wanted <= names and values.get("toy", 0) >= after["toy"]:
            break
        assert time.monotonic() < deadline, (wanted - names, values, after)
        time.sleep(0.5)
    assert {s.labels["replica"] for s in samples}
    assert values["toy"] == after["toy"]


def test_nothing_listens_beyond_the_loopback_interface(pool: Any) -> None:
    own = psutil.Process(pool.process.pid)
    listening = [
        (one.cmdline()[0], connection.laddr)
        for one in (own, *own.children(recursive=True))
        for connection in one.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5
    assert [one for one in listening if one[1].ip.removeprefix("::ffff:") != "127.0.0.1"] == []


def test_other_users_do_not_get_at_the_files_of_ray(pool: Any) -> None:
    """Ray makes its folders, with the socket of the object store in them, open to everybody."""
    (raylet,) = pool.processes("raylet/raylet")
    found = [one.partition("=")[2] for one in raylet.cmdline() if one.startswith("--temp_dir=")]
    assert Path(found[0]).stat().st_mode & 0o777 == 0o777
    assert Path(found[0]).parent.stat().st_mode & 0o777 == 0o700


def test_status_of_a_running_pool(pool: Any, toy: LocalScorer, run_darkop: Callable[..., Any]) -> None:
    done = run_darkop("serve", "--status", pool.ray, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["state"], found["ready"], found["replicas"]) == ("RUNNING", True, {"RUNNING": 1})
    assert found["models"]["toy"] == toy.fingerprint
    assert (found["http"], found["metrics"]) == (pool.http, pool.said["metrics"])


def test_an_update_under_load_loses_no_request(
    pool: Any, toy: LocalScorer, other: LocalScorer, other_checkpoint: Path, make_batch: Callable[..., Any],
    run_darkop: Callable[..., Any],
) -> None:  # fmt: skip
    batch = make_batch(toy, 50)
    expected = {scorer.fingerprint: scorer.score(batch) for scorer in (toy, other)}
    ended = threading.Event()

    def ask() -> list[str]:
        seen = []
        while not ended.is_set():
            answer = pool.post("changing", batch, toy.inputs)
            assert answer.status == 200, answer.data
            fingerprint = answer.headers["darkop-fingerprint"]
            np.testing.assert_array_equal(decode_scores(answer.data), expected[fingerprint])
            seen.append(fingerprint)
            time.sleep(0.02)  # the update needs the two cores too
        return seen

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask) for _ in range(4)]
        try:
            time.sleep(0.5)
            done = run_darkop("serve", "--update", pool.ray, f"changing={other_checkpoint}")
            time.sleep(0.5)
        finally:
            ended.set()
        seen = [one.result(timeout=60) for one in asking]
    assert done.returncode == 0, done.stderr
    assert f"changing {other.fingerprint}" in done.stdout
    for one in seen:  # the old model, then the new one, and never the old one again
        assert one[0] == toy.fingerprint
        assert one[-1] == other.fingerprint
        assert one == sorted(one, key=[toy.fingerprint, other.fingerprint].index)

    stale = pool.post("changing", batch, toy.inputs, {"darkop-fingerprint": toy.fingerprint})
    assert stale.status == 409
    detail = Problem.model_validate_json(stale.data).detail
    assert toy.fingerprint in detail
    assert other.fingerprint in detail
    np.testing.assert_array_equal(pool.score("toy", batch, toy.inputs), expected[toy.fingerprint])  # untouched


def test_an_update_with_a_damaged_checkpoint_changes_nothing(
    pool: Any, toy: LocalScorer, damaged: Path, run_darkop: Callable[..., Any], make_batch: Callable[..., Any]
) -> None:
    done = run_darkop("serve", "--update", pool.ray, f"toy={damaged}")
    assert done.returncode == 1
    assert "the weights or the architecture are not those of the card" in done.stderr
    batch = make_batch(toy, 5)
    np.testing.assert_array_equal(pool.score("toy", batch, toy.inputs), toy.score(batch))


def test_a_slow_replica_answers_once_it_can(pool: Any, toy: LocalScorer, make_batch: Callable[..., Any]) -> None:
    batch = make_batch(toy, 5)
    with ThreadPoolExecutor(1) as thread, pool.slow():
        asked = thread.submit(pool.score, "toy", batch, toy.inputs)
        time.sleep(1.0)
        assert not asked.done()
    np.testing.assert_array_equal(asked.result(timeout=30), toy.score(batch))


@pytest.mark.parametrize("way", ["http", "ray"])
def test_the_pool_is_measured(pool: Any, run_darkop: Callable[..., Any], tmp_path: Path, way: str) -> None:
    address = pool.http if way == "http" else f"ray://{pool.ray}"
    curve = tmp_path / "curve.json"
    asked = ("--model", "toy", "--events", "50", "--clients", "1,2,4", "--seconds", "0.5", "--curve", str(curve))
    done = run_darkop("serve", "--measure", address, *asked)
    assert done.returncode == 0, done.stderr
    assert f"toy at {address}, 50 events a request" in done.stdout
    assert "Traceback" not in done.stderr
    found = Curve.model_validate_json(curve.read_bytes())
    assert (found.replicas, len(found.points)) == (1, 3)
    for point in found.points:
        assert (point.model_share is not None) is (way == "http")
        assert 0 < point.inside_share < 1
    planned = run_darkop("serve", "--plan", str(curve), "--workers", "10", "--worker-rate", "1")
    assert planned.stdout.startswith("1 replica (1 core): 10 workers ask for 10 events/s"), planned.stderr
