"""The pool for clients on its Ray cluster: batches through the object store, no HTTP in between."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from typing import Any

import grpc
import numpy as np
import ray
from pydantic import ValidationError
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException

from darkop_dist.errors import FingerprintError, UserError
from darkop_dist.scoring.contract import Batch
from darkop_dist.scoring.pool.head import check_reachable, check_same, join_ray
from darkop_dist.scoring.pool.settings import APPLICATION
from darkop_dist.scoring.remote.transport import Answer, BusyError, FailedError, OutageError, RejectedError
from darkop_dist.scoring.wire.description import ModelDescription
from darkop_dist.scoring.wire.problem import Problem

BUSY_S = 1.0
HEAD_S = 5.0
ASKED_OF_HEADS = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_JOINING = threading.Lock()


class RayTransport:
    """Keeps `remote.transport.Transport` through a handle of Ray Serve.

    The process joins the cluster when it first asks, and stays; a process can be in one cluster only.

    Args:
        address: ``ray://HOST:PORT``, of a head that this machine belongs to or of a server for Ray clients outside; by
            default what RAY_ADDRESS says, or the cluster of this machine.

    Raises:
        UserError: the cluster cannot be joined.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._handle: Any = None

    @property
    def address(self) -> str:
        """The cluster, for messages."""
        return self._address or "ray"

    def models(self, timeout_s: float) -> tuple[ModelDescription, ...]:
        """The models that are served."""
        return tuple(map(_described, self._asked("models", timeout_s)))

    def describe(self, model: str, timeout_s: float) -> ModelDescription:
        """One model."""
        return _described(self._asked("describe", timeout_s, model))

    def score(self, model: str, batch: Batch, fingerprint: str, timeout_s: float) -> Answer:
        """Score a batch that was checked before.

        Raises:
            OutageError: nobody answered, or not in time.
            BusyError: the pool asks to be left alone.
            RejectedError: it refuses the request.
            FingerprintError: another model answered.
        """
        found = self._asked("score", timeout_s, model, dict(batch), fingerprint, timeout_s)
        if found["fingerprint"] != fingerprint:
            raise FingerprintError(
                f"{self.address}: model {model} answers with the fingerprint {found['fingerprint']}, the run began "
                f"with {fingerprint}. Serve that model again, or begin a new run"
            )
        scores, events = found["scores"], len(next(iter(batch.values())))
        if scores.shape != (events,) or scores.dtype != np.float32 or not np.isfinite(scores).all():
            raise OutageError(f"{self.address}: {scores.shape} scores for {events} events, or some that are not finite")
        return Answer(scores, found["fingerprint"], found["queue_s"], found["compute_s"])

    def metrics(self, timeout_s: float) -> str:  # noqa: ARG002  # as the others
        """Nothing: replicas tell it over HTTP."""
        return ""

    def close(self) -> None:
        """Let go of the handle; the process stays in the cluster, where others may use it."""
        self._handle = None

    def _asked(self, method: str, timeout_s: float, *arguments: Any) -> Any:
        """What a replica answers, if that is no refusal."""
        if timeout_s <= 0:
            raise OutageError(f"{self.address}: no time is left")
        try:
            handle = self._joined(timeout_s)
            model = arguments[0] if method == "score" else ""
            named = handle.options(method_name=method, multiplexed_model_id=model)
            found = named.remote(*arguments).result(timeout_s=timeout_s)
        except BackPressureError as error:
            raise BusyError(f"{self.address}: {error}", BUSY_S) from error
        except (TimeoutError, concurrent.futures.TimeoutError) as error:
            self._handle = None
            raise OutageError(f"{self.address}: no answer within {timeout_s:.3g} s") from error
        except (RayError, RayServeException, OSError, RuntimeError, ValueError) as error:
            self._handle = None  # the next try looks for the pool anew
            raise OutageError(f"{self.address}: {type(error).__name__}: {_first_line(error)}") from error
        if isinstance(found, dict) and "problem" in found:
            raise _refusal(self.address, Problem.model_validate(found["problem"]))
        return found

    def _joined(self, timeout_s: float) -> Any:
        """The handle of the pool; without a head, Ray's own calls would wait for one for ever."""
        if self._handle is None:
            found: concurrent.futures.Future[Any] = concurrent.futures.Future()
            threading.Thread(target=_join, args=(self._address, found), name="darkop-join", daemon=True).start()
            self._handle = found.result(timeout=timeout_s)
        return self._handle


def _join(address: str | None, found: concurrent.futures.Future[Any]) -> None:
    try:
        if ray.is_initialized():
            check_reachable(address or str(ray.get_runtime_context().gcs_address))
            if address is not None and _is_head(address.removeprefix("ray://")):
                check_same(address)
        else:
            with _JOINING:
                if not ray.is_initialized():
                    join_ray(ray_address(address))
        found.set_result(serve.get_app_handle(APPLICATION))
    except UserError as error:
        found.set_exception(OutageError(str(error)))
    except BaseException as error:  # noqa: BLE001  # whatever it is, the one who waits is told
        found.set_exception(error)


def ray_address(given: str | None) -> str:
    """What Ray is told: of a head that answers its address, of anything else the address of a server for Ray clients.

    Args:
        given: as in a document; None for RAY_ADDRESS.

    Raises:
        UserError: nothing is said of where Ray is.
    """
    if given is None:
        given = os.environ.get("RAY_ADDRESS", "")
        if not given:
            raise UserError(
                "operator.serve: ray: nothing says where Ray is. Set RAY_ADDRESS to what darkop serve printed, or "
                "write serve: ray://HOST:PORT"
            )
    place = given.removeprefix("ray://")
    return place if _is_head(place) else f"ray://{place}"


def _is_head(place: str) -> bool:
    """Whether a head of Ray listens there; a server for Ray clients does not know what only a head is asked."""
    with grpc.insecure_channel(place) as channel:
        ask = channel.unary_unary(ASKED_OF_HEADS)
        try:
            ask(b"", timeout=HEAD_S)
        except grpc.RpcError as error:
            return bool(error.code() != grpc.StatusCode.UNIMPLEMENTED)
    return True


def _described(found: Any) -> ModelDescription:
    try:
        return ModelDescription.model_validate(found)
    except ValidationError as error:
        raise OutageError(f"the answer is no description of a model: {str(error).splitlines()[0]}") from error


def _refusal(address: str, problem: Problem) -> Exception:
    if problem.code in ("busy", "draining", "rate-limited"):
        return BusyError(f"{address}: {problem.detail}", problem.retry_after_s or BUSY_S)
    if problem.code == "deadline":
        return OutageError(f"{address}: {problem.detail}")
    if problem.code == "failed":
        return FailedError(f"{address}: {problem.detail}")
    return RejectedError(problem)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
