"""The Open Inference Protocol over gRPC: the service ``inference.GRPCInferenceService``, with tritonclient's messages.

Requests stay bytes until a method looks at them: between the processes of Ray Serve, tritonclient's messages do not
pickle, and bytes go faster. Refusals become status codes (``CODES``), with trailing metadata ``darkop-code``, and
``retry-after`` in seconds where another try may help. The token comes in the metadata ``authorization`` as
``Bearer TOKEN``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from darkop_dist.scoring.server.v2_messages import filled, infer_response, parsed
from darkop_dist.scoring.server.v2_service import V2Service
from darkop_dist.scoring.wire.problem import Code, Problem, RefusedError

logger = logging.getLogger(__name__)

CODES: dict[Code, grpc.StatusCode] = {
    "invalid-input": grpc.StatusCode.INVALID_ARGUMENT,
    "unauthorized": grpc.StatusCode.UNAUTHENTICATED,
    "unknown-address": grpc.StatusCode.UNIMPLEMENTED,
    "unknown-model": grpc.StatusCode.NOT_FOUND,
    "fingerprint": grpc.StatusCode.FAILED_PRECONDITION,
    "too-large": grpc.StatusCode.RESOURCE_EXHAUSTED,  # as grpc itself answers messages above its limit
    "rate-limited": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "busy": grpc.StatusCode.UNAVAILABLE,
    "draining": grpc.StatusCode.UNAVAILABLE,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
    "failed": grpc.StatusCode.INTERNAL,
}

_LONGEST_DETAIL = 2000
"""Characters; details travel in a header, which may not be long."""

_PEER = re.compile(r"(?:ipv4:|ipv6:)(.*):[0-9]+")

Method = Callable[..., Awaitable[Any]]


def add_to_server(servicer: InferenceServicer, server: Any) -> None:
    """Register a servicer with a server of grpc.aio, or with Ray Serve's proxy, whose options name this function."""
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    handlers = {
        method.name: (
            grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
        )(getattr(servicer, method.name), response_serializer=_serialised)
        for method in service.methods
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _serialised(message: Any) -> bytes:
    found: bytes = message.SerializeToString()
    return found


def _message(name: str, request: Any) -> Any:
    """The message of a method that bytes hold.

    Raises:
        RefusedError: they hold none.
    """
    kind = getattr(service_pb2, name)
    if isinstance(request, kind):
        return request
    try:
        return kind.FromString(request)
    except DecodeError as error:
        raise RefusedError(Problem(code="invalid-input", detail=f"the request is no {name}: {error}")) from error


def _method(method: Method) -> Method:
    """A method of messages, as one of bytes whose refusals, and failures, become a status."""
    name = method.__name__

    @wraps(method)
    async def answered(self: InferenceServicer, request: Any, grpc_context: Any) -> Any:
        try:
            return await method(self, _message(f"{name}Request", request), grpc_context)
        except RefusedError as error:
            _refuse(grpc_context, error.problem)
        except Exception as error:
            logger.exception("%s failed", name)
            detail = f"the server failed with {type(error).__name__}; its log says more"
            _refuse(grpc_context, Problem(code="failed", detail=detail))
        return getattr(service_pb2, f"{name}Response")()  # is not sent

    return answered


def _not_offered(why: str) -> Method:
    async def refuse(self: InferenceServicer, request: Any, grpc_context: Any) -> Any:
        _refuse(grpc_context, Problem(code="unknown-address", detail=why))
        return service_pb2.ServerLiveResponse()  # is not sent

    return refuse


_MODELS = "the models are those that the server was started with; clients cannot load or unload them"
_MEMORY = "shared memory is not offered. Send the data in the request"
_SETTINGS = "traces and logs are the server's business; clients cannot read or change them"


class InferenceServicer(ABC):
    """The methods of the service, for grpc.aio and for Ray Serve's gRPC proxy.

    The argument is called ``grpc_context`` because Ray Serve looks for this name. A status is set on it, and nothing
    is raised: Ray would report an exception as a failure of the replica. A deployment derives from this class and gives
    ``v2``; ``gRPCOptions.grpc_servicer_functions`` names ``add_to_server`` of this module.
    """

    @property
    @abstractmethod
    def v2(self) -> V2Service:
        """What answers."""

    @_method
    async def ServerLive(self, request: Any, grpc_context: Any) -> Any:
        """The server answers."""
        return service_pb2.ServerLiveResponse(live=True)

    @_method
    async def ServerReady(self, request: Any, grpc_context: Any) -> Any:
        """New requests are taken on."""
        return service_pb2.ServerReadyResponse(ready=self.v2.front.engine.is_ready)

    @_method
    async def ModelReady(self, request: Any, grpc_context: Any) -> Any:
        """Requests for a model are taken on."""
        self._admit(grpc_context)
        return service_pb2.ModelReadyResponse(ready=self.v2.is_model_ready(request.name, request.version))

    @_method
    async def ServerMetadata(self, request: Any, grpc_context: Any) -> Any:
        """What the server is."""
        self._admit(grpc_context)
        return filled(service_pb2.ServerMetadataResponse(), self.v2.server())

    @_method
    async def ModelMetadata(self, request: Any, grpc_context: Any) -> Any:
        """A model's inputs and output."""
        self._admit(grpc_context)
        content = await self.v2.metadata(request.name, request.version)
        return filled(service_pb2.ModelMetadataResponse(), content)

    @_method
    async def ModelConfig(self, request: Any, grpc_context: Any) -> Any:
        """A model's configuration; its parameters hold the fingerprint, the score axis and the meaning of inputs."""
        self._admit(grpc_context)
        content = {"config": await self.v2.config(request.name, request.version)}
        return filled(service_pb2.ModelConfigResponse(), content)

    @_method
    async def RepositoryIndex(self, request: Any, grpc_context: Any) -> Any:
        """The models that can be asked for."""
        self._admit(grpc_context)
        return filled(service_pb2.RepositoryIndexResponse(), {"models": self.v2.index()})

    @_method
    async def ModelStatistics(self, request: Any, grpc_context: Any) -> Any:
        """What became of the requests for a model, or for all."""
        self._admit(grpc_context)
        content = self.v2.statistics(request.name, request.version)
        return filled(service_pb2.ModelStatisticsResponse(), content)

    @_method
    async def ModelInfer(self, request: Any, grpc_context: Any) -> Any:
        """Scores of events."""
        return await self._infer(request, grpc_context)

    async def ModelStreamInfer(self, request: Any, grpc_context: Any) -> AsyncIterator[Any]:
        """Scores of events, request by request and in their order; a refusal does not end the stream."""
        async for one in request:
            answer = service_pb2.ModelStreamInferResponse()
            try:
                message = _message("ModelInferRequest", one)
                answer.infer_response.id = message.id
                answer.infer_response.CopyFrom(await self._infer(message, grpc_context))
            except RefusedError as error:
                answer.error_message = error.problem.detail
            yield answer

    RepositoryModelLoad = _not_offered(_MODELS)
    RepositoryModelUnload = _not_offered(_MODELS)
    SystemSharedMemoryStatus = _not_offered(_MEMORY)
    SystemSharedMemoryRegister = _not_offered(_MEMORY)
    SystemSharedMemoryUnregister = _not_offered(_MEMORY)
    CudaSharedMemoryStatus = _not_offered(_MEMORY)
    CudaSharedMemoryRegister = _not_offered(_MEMORY)
    CudaSharedMemoryUnregister = _not_offered(_MEMORY)
    TraceSetting = _not_offered(_SETTINGS)
    LogSettings = _not_offered(_SETTINGS)

    def _admit(self, context: Any) -> str:
        return self.v2.front.access.admit(_metadata(context, "authorization"), peer_of(context.peer()))

    async def _infer(self, request: Any, context: Any) -> Any:
        began, model, front = time.perf_counter(), request.model_name, self.v2.front
        try:
            client = self._admit(context)
            is_quick = bool(request.raw_input_contents)  # numbers one by one take a while
            batch, wanted = parsed(request) if is_quick else await asyncio.to_thread(parsed, request)
            front.access.admit_events(client, max(map(len, batch.values())))
        except RefusedError as error:
            front.count_refusal(model, error.problem.code)
            raise
        given = [_time_left_s(context), wanted.timeout_s and wanted.timeout_s - (time.perf_counter() - began)]
        left = min((max(0.0, one) for one in given if one is not None), default=None)
        scored = await self.v2.score(model, batch, replace(wanted, timeout_s=left))
        return infer_response(model, scored, request.id)


class GrpcServicer(InferenceServicer):
    """The service alone, for grpc.aio.

    Args:
        service: what answers.
    """

    def __init__(self, service: V2Service) -> None:
        self._service = service

    @property
    def v2(self) -> V2Service:
        """What answers."""
        return self._service


def peer_of(peer: str) -> str:
    """The address of a peer as gRPC writes it, without its port.

    >>> peer_of("ipv4:127.0.0.1:53211"), peer_of("ipv6:%5B::1%5D:53211"), peer_of("unix:")
    ('127.0.0.1', '::1', 'unix:')
    """
    found = _PEER.fullmatch(peer)
    return unquote(found[1]).strip("[]") if found else peer


def _refuse(context: Any, problem: Problem) -> None:
    context.set_code(CODES[problem.code])
    context.set_details(problem.detail[:_LONGEST_DETAIL])
    trailing: list[tuple[str, str]] = [("darkop-code", problem.code)]
    if problem.retry_after_s is not None:
        trailing.append(("retry-after", str(math.ceil(problem.retry_after_s))))
    context.set_trailing_metadata(trailing)


def _metadata(context: Any, name: str) -> str | None:
    found = [value for key, value in context.invocation_metadata() or () if key == name]
    return found[0] if found and isinstance(found[0], str) else None


def _time_left_s(context: Any) -> float | None:
    """How long the client still waits: its deadline, where the context knows it (that of Ray Serve does not)."""
    time_remaining = getattr(context, "time_remaining", None)
    return None if time_remaining is None else time_remaining()
