"""The HTTP application in a real uvicorn on loopback, asked by plain HTTP clients."""

from __future__ import annotations

import http.client
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.server import Engine, EngineSettings
from darkop_dist.scoring.server.access import Access, AccessSettings
from darkop_dist.scoring.server.body import Bodies
from darkop_dist.scoring.server.http import http_app
from darkop_dist.scoring.server.listen import Listen
from darkop_dist.scoring.server.metrics import PrometheusMeter
from darkop_dist.scoring.server.run import lifespan_of, serving
from darkop_dist.scoring.wire import ModelDescription, Problem, decode_scores, encode_batch

TOKEN = "a-token-of-32-characters-for-tests"  # noqa: S105


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Problem:
        assert self.headers["content-type"] == "application/problem+json"
        problem = Problem.model_validate_json(self.body)
        assert problem.status == self.status
        if problem.retry_after_s is not None:
            assert int(self.headers["retry-after"]) == math.ceil(problem.retry_after_s)
        return problem


@dataclass(frozen=True)
class Served:
    port: int
    engine: Engine
    meter: PrometheusMeter
    scorer: Any

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, connection: Any = None, **headers: str) -> Reply:
        own = connection or self.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            own.request(method, path, body=body, headers=named, encode_chunked=False)
            response = own.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            if connection is None:
                own.close()

    def encoded(self, batch: Any, **settings: Any) -> bytes:
        return encode_batch(batch, self.scorer.inputs, **settings).to_pybytes()  # type: ignore[no-any-return]

    def score(self, batch: Any, model: str = "m", **headers: str) -> Reply:
        return self.ask("POST", f"/v1/models/{model}/score", self.encoded(batch), **headers)

    def outcomes(self) -> dict[tuple[str, str], float]:
        families = text_string_to_metric_families(self.meter.text().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == "darkop_requests_total"]
        return {(sample.labels["model"], sample.labels["outcome"]): sample.value for sample in samples}


@pytest.fixture
def serve(numbered: Any) -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:
        stack.callback(numbered.gate.set)

        def start(scorer: Any = numbered, access: Access | None = None, app: Any = None, **settings: Any) -> Served:
            meter = PrometheusMeter()
            engine = Engine({"m": lambda: scorer}, EngineSettings(**settings), meter)
            meter.watch(engine.stats)
            application = http_app(
                engine, access, meter, metrics=meter.text, lifespan=lifespan_of(engine), **(app or {})
            )
            address = stack.enter_context(serving(application, Listen(port=0), needs_token=False))
            return Served(int(address.rpartition(":")[2]), engine, meter, scorer)

        yield start


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.002)


def waits(served: Served, count: int) -> Callable[[], bool]:
    return lambda: sum(served.engine.stats().waiting.values()) == count


class TestScores:
    def test_they_are_those_of_the_process_bit_for_bit(
        self, serve: Callable[..., Served], checkpoint_directory: Path
    ) -> None:
        """Many clients at once, odd sizes, compressed or not: each gets what the model in the process gives."""
        local = LocalScorer.from_checkpoint(checkpoint_directory)
        served = serve(LocalScorer.from_checkpoint(checkpoint_directory), best_events=257)
        fields = np.random.default_rng(2).exponential(size=(3000, 2, 8, 16)).astype(np.float32)
        expected = local.score({"fields": fields})
        sizes = [1, 2, 3, 127, 128, 129, 300, 0, 511, 77, 64, 5] * 2
        bounds = np.cumsum([0, *sizes])
        assert bounds[-1] < len(fields)

        def one(number: int) -> Reply:
            part = fields[bounds[number] : bounds[number + 1]]
            body = served.encoded({"fields": part}, compress=number % 3 == 0)
            return served.ask("POST", "/v1/models/m/score", body, darkop_fingerprint=local.fingerprint)

        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(one, range(len(sizes))))
        assert {reply.status for reply in replies} == {200}
        for number, reply in enumerate(replies):
            scores = decode_scores(reply.body)
            assert np.array_equal(scores, expected[bounds[number] : bounds[number + 1]])
            assert reply.headers["content-type"] == "application/vnd.apache.arrow.stream"
            assert reply.headers["darkop-fingerprint"] == local.fingerprint
            assert float(reply.headers["darkop-queue-s"]) >= 0
            assert float(reply.headers["darkop-compute-s"]) >= 0
        description = ModelDescription.model_validate_json(served.ask("GET", "/v1/models/m").body)
        assert description.input_specs == local.inputs
        assert description.fingerprint == local.fingerprint
        assert json.loads(served.ask("GET", "/v1/models").body) == [description.model_dump(mode="json")]
        assert served.outcomes() == {("m", "scored"): len(sizes)}

    def test_a_large_body_in_chunks_of_unknown_number(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve()
        body = served.encoded(numbers(1, 200_000))
        with closing(served.connect()) as connection:
            pieces = (body[start : start + 100_001] for start in range(0, len(body), 100_001))
            connection.request("POST", "/v1/models/m/score", body=pieces, encode_chunked=True,
                               headers={"transfer-encoding": "chunked"})  # fmt: skip
            response = connection.getresponse()
            assert response.status == 200
            assert np.array_equal(decode_scores(response.read()), numbers(1, 200_000)["x"][:, 0])

    def test_one_connection_for_many_requests(self, serve: Callable[..., Served], numbers: Any) -> None:
        """Also after refusals, whose bodies were not read."""
        served = serve()
        with closing(served.connect()) as connection:
            for turn in range(5):
                body = served.encoded(numbers(turn, 50_000))
                assert served.ask("POST", "/v1/models/none/score", body, connection).problem.code == "unknown-model"
                sock = connection.sock
                assert decode_scores(served.ask("POST", "/v1/models/m/score", body, connection).body)[0] == turn
                assert connection.sock is sock

    def test_health_and_metrics(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve()
        served.score(numbers(1, 10))
        assert served.ask("GET", "/v2/health/live").status == served.ask("GET", "/v2/health/ready").status == 200
        metrics = served.ask("GET", "/metrics")
        assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b'darkop_events_total{model="m"} 10.0' in metrics.body

    def test_routes_of_other_protocols(self, serve: Callable[..., Served]) -> None:
        served = serve(app={"routes": [Route("/v2", lambda _: PlainTextResponse("hello"))]})
        assert served.ask("GET", "/v2").body == b"hello"


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda _: b"", "no Arrow IPC stream"),
            (lambda _: b"garbage" * 100, "no Arrow IPC stream"),
            (lambda body: body[:-40], "no Arrow IPC stream"),
        ],
    )
    def test_bodies_that_are_no_arrow(
        self, serve: Callable[..., Served], numbers: Any, change: Callable[[bytes], bytes], message: str
    ) -> None:
        served = serve()
        reply = served.ask("POST", "/v1/models/m/score", change(served.encoded(numbers(1, 10))))
        assert (reply.problem.code, reply.status) == ("invalid-input", 400)
        assert message in reply.problem.detail
        assert len(served.scorer.calls) == 1  # that of the load
        assert served.outcomes() == {("m", "invalid-input"): 1}

    def test_inputs_that_do_not_match(self, serve: Callable[..., Served], numbers: Any, make_numbered: Any) -> None:
        served = serve()
        good = numbers(1, 10)
        nan = {"x": good["x"].copy()}
        nan["x"][7, 1] = np.nan
        assert "input x: not finite, first in event 7" in served.score(nan).problem.detail
        other = make_numbered()
        other.inputs = tuple(type(spec)(**{**vars(spec), "name": "y"}) for spec in other.inputs)
        absent = encode_batch({"y": good["x"]}, other.inputs).to_pybytes()
        reply = served.ask("POST", "/v1/models/m/score", absent)
        assert reply.problem.detail == "the body lacks the input x; it holds y"
        other.inputs = tuple(type(spec)(**{**vars(spec), "shape": (2,)}) for spec in served.scorer.inputs)
        narrow = encode_batch({"x": good["x"][:, :2]}, other.inputs).to_pybytes()
        assert "[2], not fixed_size_list" in served.ask("POST", "/v1/models/m/score", narrow).problem.detail
        assert len(served.scorer.calls) == 1  # that of the load

    def test_a_body_that_is_too_large_is_not_read(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve(most_bytes=100_000)
        large = served.encoded(numbers(1, 20_000))
        reply = served.ask("POST", "/v1/models/m/score", large)
        assert (reply.problem.code, reply.status) == ("too-large", 413)
        assert "longer than the 165536 bytes that are allowed. Send the events in pieces" in reply.problem.detail
        assert reply.problem.values == {"most_bytes": 165536}
        with closing(served.connect()) as connection:  # the header alone is enough
            connection.putrequest("POST", "/v1/models/m/score")
            connection.putheader("content-length", str(1 << 40))
            connection.endheaders()
            response = connection.getresponse()
            assert (response.status, response.getheader("connection")) == (413, "close")
        reply = served.ask("POST", "/v1/models/m/score", served.encoded(numbers(1, 10_000)))
        assert reply.problem.detail.startswith("the body becomes 120000 bytes, more than the 100000")
        assert served.score(numbers(1, 8000)).status == 200

    def test_a_body_in_chunks_is_read_no_further_than_allowed(self, serve: Callable[..., Served]) -> None:
        served = serve(most_bytes=100_000)
        sent = 0

        def endless() -> Iterator[bytes]:
            nonlocal sent
            while sent < 1 << 30:
                sent += 65536
                yield bytes(65536)

        with closing(served.connect()) as connection:
            with pytest.raises(OSError, match=r"[Bb]roken pipe|reset"):
                connection.request("POST", "/v1/models/m/score", body=endless(), encode_chunked=True,
                                   headers={"transfer-encoding": "chunked"})  # fmt: skip
            assert sent < 1 << 29
        until(lambda: served.outcomes() == {("m", "too-large"): 1})

    def test_a_client_that_sends_too_much_reads_why(self, serve: Callable[..., Served]) -> None:
        """An early close would reach it as a reset."""
        served = serve(most_bytes=100_000)
        for _ in range(5):
            with closing(served.connect()) as connection:
                pieces = (bytes(65536) for _ in range(200))
                connection.request("POST", "/v1/models/m/score", body=pieces, encode_chunked=True,
                                   headers={"transfer-encoding": "chunked"})  # fmt: skip
                response = connection.getresponse()
                assert (response.status, response.getheader("connection")) == (413, "close")
                assert Problem.model_validate_json(response.read()).code == "too-large"

    def test_a_bomb(self, serve: Callable[..., Served]) -> None:
        served = serve(most_bytes=1_000_000, most_events=10_000_000)
        bomb = served.encoded({"x": np.zeros((5_000_000, 3), np.float32)}, compress=True)
        assert len(bomb) < 50_000
        reply = served.ask("POST", "/v1/models/m/score", bomb)
        assert (reply.problem.code, reply.status) == ("too-large", 413)
        assert "the body becomes 60000000 bytes, more than the 1000000 that are allowed" in reply.problem.detail

    def test_too_many_events(self, serve: Callable[..., Served], numbers: Any) -> None:
        reply = serve(best_events=5, most_events=10).score(numbers(1, 11))
        assert reply.problem.code == "too-large"
        assert reply.problem.values["most_events"] == 10

    def test_another_encoding(self, serve: Callable[..., Served]) -> None:
        reply = serve().ask("POST", "/v1/models/m/score", b"x", content_encoding="gzip")
        assert "content-encoding 'gzip' is not understood. Compress inside Arrow, with zstd" in reply.problem.detail

    def test_unknown_models_and_addresses(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve()
        assert served.score(numbers(1, 1), model="mm").problem.detail == "there is no model 'mm'; did you mean m?"
        assert served.ask("GET", "/v1/models/zzz").problem.detail == "there is no model 'zzz'; there is m"
        assert served.outcomes() == {("unknown", "unknown-model"): 1}
        for method, path in (("GET", "/v1/models/m/score"), ("POST", "/"), ("DELETE", "/v1/models")):
            problem = served.ask(method, path).problem
            assert problem.code == "unknown-address"
            assert problem.detail.startswith(f"{method} {path}: there is no such address, or it takes another method")

    def test_another_fingerprint(self, serve: Callable[..., Served], numbers: Any) -> None:
        reply = serve().score(numbers(1, 1), darkop_fingerprint="0" * 64)
        assert (reply.problem.code, reply.status) == ("fingerprint", 409)
        assert reply.problem.values == {"expected": "0" * 64, "found": "f" * 64}

    @pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
    def test_a_time_that_is_none(self, serve: Callable[..., Served], numbers: Any, text: str) -> None:
        reply = serve().score(numbers(1, 1), darkop_timeout_s=text)
        assert f"the header darkop-timeout-s is '{text}'. Send seconds above zero" in reply.problem.detail

    def test_what_the_model_cannot_score(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve()
        bad = numbers(1, 3)
        bad["x"][2, 0] = -1
        reply = served.score(bad)
        assert (reply.problem.code, reply.status) == ("failed", 500)
        assert reply.problem.detail == "the score of event 2 is not finite"
        assert served.score(numbers(1, 3)).status == 200

    def test_a_fault_of_the_server_is_told_without_its_secrets(
        self,
        serve: Callable[..., Served],
        numbers: Any,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        served = serve()

        async def broken(_: Any) -> Any:
            raise LookupError("the inside of the server")

        monkeypatch.setattr(served.engine, "score", broken)
        reply = served.score(numbers(1, 1))
        assert (reply.problem.code, reply.status) == ("failed", 500)
        assert reply.problem.detail == "the server failed with LookupError; its log says more"
        until(lambda: "the inside of the server" in caplog.text)


class TestAccess:
    @pytest.fixture
    def token_file(self, tmp_path: Path) -> Path:
        path = tmp_path / "token"
        path.write_text(TOKEN)
        path.chmod(0o600)
        return path

    def test_nobody_without_the_token(
        self, serve: Callable[..., Served], numbers: Any, token_file: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        served = serve(access=Access(AccessSettings(token_file=token_file)))
        large = served.encoded(numbers(1, 1_000_000))  # refused before it is read, and the client is told all the same
        for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}):
            reply = served.ask("POST", "/v1/models/m/score", large, **headers)
            assert (reply.problem.code, reply.status) == ("unauthorized", 401)
            assert reply.headers["www-authenticate"] == "Bearer"
        for path in ("/v1/models", "/v1/models/m", "/metrics"):
            assert served.ask("GET", path).problem.code == "unauthorized"
            assert served.ask("GET", path, authorization=f"Bearer {TOKEN}").status == 200
        assert served.ask("GET", "/v2/health/live").status == served.ask("GET", "/v2/health/ready").status == 200
        assert served.score(numbers(1, 2), authorization=f"Bearer {TOKEN}").status == 200
        assert TOKEN not in caplog.text
        assert served.outcomes() == {("m", "unauthorized"): 2, ("m", "scored"): 1}

    def test_no_more_requests_and_events_than_the_rate(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve(access=Access(AccessSettings(requests_per_s=0.2, burst_s=10)))
        assert [served.score(numbers(1, 1)).status for _ in range(2)] == [200, 200]
        reply = served.score(numbers(1, 1))
        assert (reply.problem.code, reply.status) == ("rate-limited", 429)
        assert 4 <= int(reply.headers["retry-after"]) <= 5
        served = serve(access=Access(AccessSettings(events_per_s=100, burst_s=1)))
        assert served.score(numbers(1, 90)).status == 200
        reply = served.score(numbers(1, 90))
        assert "more than 100 events a second" in reply.problem.detail
        assert reply.problem.retry_after_s is not None
        time.sleep(reply.problem.retry_after_s)
        assert served.score(numbers(1, 90)).status == 200


class TestLoad:
    def test_busy_deadline_and_draining(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve(most_waiting=2)
        served.scorer.gate.clear()
        with ThreadPoolExecutor(8) as pool:
            running = pool.submit(served.score, numbers(1, 5))
            until(lambda: served.engine.stats().running == 1)
            late = pool.submit(served.score, numbers(6, 5), darkop_timeout_s="0.1")
            waiting = pool.submit(served.score, numbers(11, 5))
            until(waits(served, 2))
            reply = served.score(numbers(16, 5))
            assert (reply.problem.code, reply.status) == ("busy", 503)
            assert "2 requests wait for model m, no more may" in reply.problem.detail
            assert reply.problem.retry_after_s is not None
            assert late.result().problem.code == "deadline"
            assert late.result().status == 504
            served.engine._draining = True
            reply = served.score(numbers(16, 5))
            assert (reply.problem.code, reply.status, reply.headers["retry-after"]) == ("draining", 503, "1")
            assert served.ask("GET", "/v2/health/ready").status == 503
            assert served.ask("GET", "/v2/health/live").status == 200
            served.scorer.gate.set()
            assert decode_scores(running.result().body).tolist() == [1, 2, 3, 4, 5]
            assert decode_scores(waiting.result().body).tolist() == [11, 12, 13, 14, 15]
        assert served.scorer.calls[1:] == [[1, 2, 3, 4, 5], [11, 12, 13, 14, 15]]

    def test_a_client_that_goes_away_is_dropped_before_the_model(
        self, serve: Callable[..., Served], numbers: Any
    ) -> None:
        served = serve()
        served.scorer.gate.clear()
        with ThreadPoolExecutor(4) as pool:
            running = pool.submit(served.score, numbers(1, 1))
            until(lambda: served.engine.stats().running == 1)
            body = served.encoded(numbers(50, 3))
            leaving = served.connect()
            leaving.request("POST", "/v1/models/m/score", body=body)
            until(waits(served, 1))
            leaving.close()
            until(waits(served, 0))
            served.scorer.gate.set()
            assert running.result().status == 200
        assert served.score(numbers(7, 1)).status == 200
        assert served.scorer.calls[1:] == [[1], [7]]
        assert served.outcomes() == {("m", "scored"): 2, ("m", "cancelled"): 1}

    def test_a_client_that_goes_away_in_the_middle_of_its_body(
        self, serve: Callable[..., Served], numbers: Any
    ) -> None:
        served = serve(app={"bodies": Bodies(2_000_000)})
        body = served.encoded(numbers(50, 100_000))
        with socket.create_connection(("127.0.0.1", served.port)) as leaving:
            head = f"POST /v1/models/m/score HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            leaving.sendall(head.encode() + body[:500_000])
            until(lambda: served.score(numbers(1, 100_000)).status == 503)
        # the room that its body was to have is free again
        until(lambda: served.score(numbers(1, 100_000)).status == 200)
        assert served.outcomes()["m", "cancelled"] == 1

    def test_bodies_have_only_so_much_memory(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve(app={"bodies": Bodies(30_000)})
        served.scorer.gate.clear()
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(served.score, numbers(1, 2000))
            until(lambda: served.engine.stats().running == 1)
            reply = served.score(numbers(1, 2000))
            assert reply.problem.code == "busy"
            assert "the bodies of other requests take 24" in reply.problem.detail
            served.scorer.gate.set()
            assert first.result().status == 200
        assert served.score(numbers(1, 2000)).status == 200

    def test_a_body_that_comes_too_slowly(self, serve: Callable[..., Served]) -> None:
        served = serve(app={"bodies": Bodies(patience_s=0.1)})
        with closing(served.connect()) as slow:
            slow.putrequest("POST", "/v1/models/m/score")
            slow.putheader("content-length", "1000")
            slow.endheaders()
            slow.send(b"x" * 10)
            response = slow.getresponse()
            problem = Problem.model_validate_json(response.read())
        assert (response.status, problem.code) == (504, "deadline")
        assert "the body did not come within 0.104 s" in problem.detail

    def test_a_client_that_waits_to_be_asked_for_its_body(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve()
        body = served.encoded(numbers(1, 10))
        for model, status in (("none", b"404"), ("m", b"100")):
            with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
                head = f"POST /v1/models/{model}/score HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
                client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode())
                answer = client.recv(65536)
                assert answer.split(b" ")[1] == status
                if status == b"100":
                    client.sendall(body)
                    assert b" 200 " in client.recv(65536).partition(b"\r\n")[0]

    def test_small_requests_of_many_clients_are_joined(self, serve: Callable[..., Served], numbers: Any) -> None:
        served = serve(most_waiting=200)
        served.scorer.call_s = 0.02
        done: list[bool] = []

        def client(number: int) -> None:
            with closing(served.connect()) as connection:
                for turn in range(10):
                    first = 1000 * number + 10 * turn
                    body = served.encoded(numbers(first, 1 + turn % 4))
                    reply = served.ask("POST", "/v1/models/m/score", body, connection)
                    done.append(decode_scores(reply.body).tolist() == numbers(first, 1 + turn % 4)["x"][:, 0].tolist())

        threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done == [True] * 160
        assert len(served.scorer.calls) < 80
