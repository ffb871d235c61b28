"""A server of scores over HTTP: Arrow bodies, one attempt at a time."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import math
import os
import time
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import numpy as np
import urllib3
from pydantic import TypeAdapter, ValidationError

from darkop_dist.errors import FingerprintError, UserError
from darkop_dist.scoring.contract import Batch, InputSpec
from darkop_dist.scoring.remote.transport import Answer, BusyError, FailedError, OutageError, RejectedError
from darkop_dist.scoring.wire.arrow import CONTENT_TYPE, decode_scores, encode_batch
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import Code, Problem

CONNECT_S = 5.0
MOST_ANSWER_BYTES = 256 * 1024 * 1024
Found = TypeVar("Found")
BUSY: tuple[Code, ...] = ("busy", "draining", "rate-limited")
_OF_STATUS: dict[int, Code] = {
    400: "invalid-input", 401: "unauthorized", 403: "unauthorized", 409: "fingerprint", 413: "too-large",
    422: "invalid-input",
}  # fmt: skip
_PASSING = (404, 408, 500, 502, 503, 504)
"""Where the body is no problem, a proxy said it and no server of scores: Ray's says 500 when it has lost the replica in
the middle, and 404 when the pool is stopped."""
_MODELS = TypeAdapter(tuple[ModelDescription, ...])
_MODEL = TypeAdapter(ModelDescription)


class HttpTransport:
    """Keeps `remote.transport.Transport` over HTTP or HTTPS.

    Args:
        address: such as ``https://host:8000``.
        token_env: name of the environment variable that holds the token; None without one.
        ca: file with the certificate of the authority that signed the server's; None for those that the system knows.
        compress: compress what is sent.
        connections: kept open for the next requests.

    Raises:
        UserError: the token is not there, or would travel unencrypted; the file of the authority cannot be read.
    """

    def __init__(
        self,
        address: str,
        *,
        token_env: str | None = None,
        ca: str | None = None,
        compress: bool = False,
        connections: int = 8,
    ) -> None:
        self._address, self._compress = address.rstrip("/"), compress
        self._headers = _authorization(self._address, token_env)
        options: dict[str, Any] = {"maxsize": connections, "retries": False}
        if self._address.startswith("https://"):
            options["cert_reqs"] = "CERT_REQUIRED"
            if ca is not None:
                if not os.path.isfile(ca):  # noqa: PTH113  # the path is a string of the document
                    raise UserError(f"operator.serve.ca: {ca}: there is no such file. Correct the path")
                options["ca_certs"] = ca
        self._pool = urllib3.PoolManager(**options)

    @property
    def address(self) -> str:
        """The server, for messages."""
        return self._address

    def models(self, timeout_s: float) -> tuple[ModelDescription, ...]:
        """The models that are served."""
        _, body = self._ask("GET", "/v1/models", timeout_s)
        return _parsed(_MODELS, body)

    def describe(self, model: str, timeout_s: float) -> ModelDescription:
        """One model."""
        _, body = self._ask("GET", f"/v1/models/{quote(model, safe='')}", timeout_s)
        return _parsed(_MODEL, body)

    def score(self, model: str, batch: Batch, fingerprint: str, timeout_s: float) -> Answer:
        """Score a batch that was checked before.

        Raises:
            OutageError: nobody answered, or not wholly, or not in time.
            BusyError: the server asks to be left alone.
            RejectedError: it refuses the request.
            FingerprintError: another model answered.
        """
        began = time.monotonic()
        body = encode_batch(batch, _specs(batch), compress=self._compress)
        left_s = timeout_s - (time.monotonic() - began)
        headers = {
            "content-type": CONTENT_TYPE,
            "darkop-fingerprint": fingerprint,
            "serve-multiplexed-model-id": model,  # Serve sends it to a replica that holds the model
            "darkop-timeout-s": f"{max(left_s, 0.0):.3f}",
        }
        path = f"/v1/models/{quote(model, safe='')}/score"
        found, content = self._ask("POST", path, left_s, memoryview(body), headers)
        answered = found.get("darkop-fingerprint", "")
        if answered != fingerprint:
            raise FingerprintError(
                f"{self._address}: model {model} answers with the fingerprint {answered or 'none'}, the run began with "
                f"{fingerprint}. Serve that model again, or begin a new run"
            )
        try:
            scores = decode_scores(content)
        except ValueError as error:
            raise OutageError(f"{self._address}: {error}") from error
        events = len(next(iter(batch.values())))
        if scores.shape != (events,) or not np.isfinite(scores).all():
            raise OutageError(f"{self._address}: {len(scores)} scores for {events} events, or some that are not finite")
        return Answer(scores, answered, _number(found, "darkop-queue-s"), _number(found, "darkop-compute-s"))

    def metrics(self, timeout_s: float) -> str:
        """What one replica says of itself, as Prometheus reads it."""
        _, body = self._ask("GET", "/metrics", timeout_s)
        return body.decode(errors="replace")

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _ask(
        self, method: str, path: str, timeout_s: float, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[Any, bytes]:
        """One attempt: headers and body of an answer that is none of refusal."""
        if timeout_s <= 0:
            raise OutageError(f"{self._address}: no time is left")
        ends = time.monotonic() + timeout_s
        try:
            response = self._pool.request(
                method,
                self._address + path,
                body=body,
                headers=self._headers | (headers or {}),
                timeout=urllib3.Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s),
                preload_content=False,
                redirect=False,
            )
            content = _content(response, ends)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise OutageError(f"{self._address}: {_said(error)}") from error
        if response.status == 200:
            return response.headers, content
        raise _refusal(self._address, response.status, response.headers, content)


def _specs(batch: Batch) -> tuple[InputSpec, ...]:
    """The inputs of a batch that was checked, as far as its bytes need them."""
    return tuple(InputSpec(name, array.shape[1:], array.dtype.name, "", "", {}) for name, array in batch.items())


def _authorization(address: str, token_env: str | None) -> dict[str, str]:
    if token_env is None:
        return {}
    token = os.environ.get(token_env, "").strip()
    if not token:
        raise UserError(
            f"operator.serve.token_env: the environment variable {token_env} is empty. Put the server's token there"
        )
    if address.startswith("http://") and not _is_loopback(urlsplit(address).hostname or ""):
        raise UserError(
            f"operator.serve: the token would travel to {address} unencrypted. Use an https:// address, or no token"
        )
    return {"authorization": f"Bearer {token}"}


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _content(response: Any, ends: float) -> bytes:
    """The whole body, read until the deadline; what is not whole gives the connection up."""
    parts, size = [], 0
    try:
        for part in response.stream(1 << 20):
            parts.append(part)
            size += len(part)
            _require_room(size, ends)
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return b"".join(parts)


def _require_room(size: int, ends: float) -> None:
    if size > MOST_ANSWER_BYTES:
        raise OSError(f"the answer is longer than {MOST_ANSWER_BYTES} bytes")
    if time.monotonic() > ends:
        raise TimeoutError("the answer did not come in time")


def _refusal(address: str, status: int, headers: Any, body: bytes) -> Exception:
    """What an answer that is no success means."""
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        problem = None
    if problem is None:
        said = f"{address}: answers with status {status}: {body[:200].decode(errors='replace').strip()}"
        if status == 429 or (status == 503 and "retry-after" in headers):
            return BusyError(said, _retry_after(headers))
        if status in _PASSING:
            return OutageError(said)
        return RejectedError(Problem(code=_OF_STATUS.get(status, "failed"), detail=said))
    if problem.code in BUSY:
        after = problem.retry_after_s
        return BusyError(f"{address}: {problem.detail}", _retry_after(headers) if after is None else after)
    if problem.code == "deadline":
        return OutageError(f"{address}: {problem.detail}")
    if problem.code == "failed":
        return FailedError(f"{address}: {problem.detail}")
    return RejectedError(problem)


def _retry_after(headers: Any) -> float:
    """Seconds of a Retry-After header, given as seconds or as a date; one second where it says nothing."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
        return max(seconds, 0.0) if math.isfinite(seconds) else 1.0
    except ValueError:
        try:
            return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
        except ValueError:
            return 1.0


def _parsed(form: TypeAdapter[Found], body: bytes) -> Found:
    try:
        return form.validate_json(body)
    except ValidationError as error:
        raise OutageError(f"the answer is no description of models: {str(error).splitlines()[0]}") from error


def _number(headers: Any, name: str) -> float:
    try:
        return float(headers.get(name, 0.0))
    except ValueError:
        return 0.0


def _said(error: Exception) -> str:
    """The cause without the objects that urllib3 puts in front of it."""
    text = str(error.__cause__ or error) or type(error).__name__
    return text.split(">: ", 1)[-1].split("): ", 1)[-1]
