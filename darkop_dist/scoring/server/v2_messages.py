"""Messages of the Open Inference Protocol over gRPC: what a request holds, and answers from JSON and from scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import json_format
from tritonclient.grpc import service_pb2

from darkop_dist.scoring.server.request import Scored
from darkop_dist.scoring.server.v2_service import answer_parameters
from darkop_dist.scoring.server.v2_tensors import (
    FP32,
    SCORE,
    VERSION,
    Wanted,
    by_name,
    check_output,
    check_tensor,
    from_bytes,
    from_numbers,
    invalid,
    wanted,
)

Arrays = dict[str, npt.NDArray[np.float32]]


def filled(message: Any, content: Mapping[str, Any]) -> Any:
    """A message with the content that JSON describes; keys that it has no field for are left out."""
    return json_format.ParseDict(content, message, ignore_unknown_fields=True)


def parsed(request: Any) -> tuple[Arrays, Wanted]:
    """What a ``ModelInferRequest`` holds.

    Returns:
        Arrays by name, views of the message where they can be, and what is wanted besides.

    Raises:
        RefusedError: it is no request for scores, or asks for what is not offered.
    """
    raw, tensors = request.raw_input_contents, request.inputs
    for tensor in tensors:
        check_tensor(tensor.name, tensor.datatype, tensor.shape, _plain(tensor.parameters))
    if raw and len(raw) != len(tensors):
        raise invalid(f"{len(tensors)} inputs, but {len(raw)} raw_input_contents. Send as many")
    if not tensors:
        raise invalid("the request holds no inputs. Send those that the model's metadata names")
    arrays = [(tensor.name, _array(tensor, raw[position] if raw else None)) for position, tensor in enumerate(tensors)]
    for output in request.outputs:
        check_output(output.name, _plain(output.parameters))
    return by_name(arrays), wanted(request.id, request.model_version, _plain(request.parameters))


def infer_response(model: str, scored: Scored, request_id: str) -> Any:
    """The ``ModelInferResponse`` of scores."""
    response = service_pb2.ModelInferResponse(
        model_name=model,
        model_version=VERSION,
        id=request_id,
        outputs=[{"name": SCORE, "datatype": FP32, "shape": [len(scored.scores)]}],
        raw_output_contents=[scored.scores.astype("<f4", copy=False).tobytes()],
    )
    for key, value in answer_parameters(scored).items():
        if isinstance(value, str):
            response.parameters[key].string_param = value
        else:
            response.parameters[key].double_param = value
    return response


def _array(tensor: Any, raw: bytes | None) -> npt.NDArray[np.float32]:
    shape, contents = list(tensor.shape), tensor.contents
    if raw is not None:
        if contents.ListFields():
            raise invalid(f"input {tensor.name[:100]} holds both contents and raw_input_contents. Send one of them")
        return from_bytes(tensor.name, shape, raw)
    if any(field.name != "fp32_contents" for field, _ in contents.ListFields()):
        raise invalid(f"input {tensor.name[:100]}: contents other than fp32_contents are not taken")
    numbers = contents.fp32_contents
    return from_numbers(tensor.name, shape, np.fromiter(numbers, dtype=np.float32, count=len(numbers)))


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {key: value.WhichOneof("parameter_choice") for key, value in parameters.items()}
    return {key: getattr(parameters[key], choice) for key, choice in chosen.items() if choice is not None}
