"""The Open Inference Protocol's service for Serve's gRPC proxy, and how its messages get from there to a replica.

The proxy hands messages to replicas as Ray hands over everything, pickled by the name of their class. tritonclient's
classes name the module ``grpc_service_pb2``, which is where protoc wrote them and not where they are; so this module,
which proxy and replica both import, makes that name known. It may go when tritonclient's messages can be pickled.
"""

from __future__ import annotations

import sys
from typing import Any

from tritonclient.grpc import service_pb2, service_pb2_grpc

SERVICER = f"{__name__}.add_inference_service"
"""What ``grpc_servicer_functions`` of a Serve configuration names."""

sys.modules.setdefault(service_pb2.ModelInferRequest.__module__, service_pb2)


def add_inference_service(servicer: Any, server: Any) -> None:
    """Add ``inference.GRPCInferenceService`` to a server; Serve calls it in its proxies."""
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
