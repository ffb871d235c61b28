"""Batches and scores as Arrow IPC streams, without a copy where Arrow allows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from darkop_dist.scoring.contract import Batch, InputSpec
from darkop_dist.scoring.wire.size import TooLargeError, measure

CONTENT_TYPE = "application/vnd.apache.arrow.stream"
SCORE = "score"


def encode_batch(batch: Batch, inputs: Sequence[InputSpec], *, compress: bool = False) -> pa.Buffer:
    """A batch as bytes: a column of lists of fixed size per input, one record batch.

    Args:
        batch: checked before, see ``scoring.check``.
        inputs: the model's inputs, in the order of the columns.
        compress: with zstd.
    """
    columns = [_lists(np.ascontiguousarray(batch[spec.name]), spec) for spec in inputs]
    return _written(pa.record_batch(columns, names=[spec.name for spec in inputs]), compress=compress)


def decode_batch(
    body: Any, inputs: Sequence[InputSpec], *, most_bytes: int | None = None
) -> dict[str, npt.NDArray[np.float32]]:
    """The batch of a body; the arrays are views of it, unless it is compressed, and cannot be written to.

    Args:
        body: bytes or another buffer.
        inputs: what the model takes; columns of other names are left out.
        most_bytes: most bytes that it may become, looked at before anything is decompressed.

    Raises:
        TooLargeError: it would become larger.
        ValueError: the body is no such stream, lacks an input, or holds another type or size than the model takes.
    """
    if most_bytes is not None and (found := measure(body).decoded) > most_bytes:
        raise TooLargeError(f"the body becomes {found} bytes, more than the {most_bytes} that are allowed")
    schema, records = _read(body)
    return {spec.name: _array(schema, records, spec) for spec in inputs}


def encode_scores(scores: npt.NDArray[np.float32]) -> pa.Buffer:
    """Scores as bytes."""
    return _written(pa.record_batch([pa.array(scores)], names=[SCORE]), compress=False)


def decode_scores(body: Any) -> npt.NDArray[np.float32]:
    """The scores of a body, shape (events,).

    Raises:
        ValueError: the body holds no scores.
    """
    schema, records = _read(body)
    columns = [record.column(0) for record in records]
    if schema.names != [SCORE] or schema.types != [pa.float32()] or any(column.null_count for column in columns):
        raise ValueError("the body holds no scores")
    return _joined([column.to_numpy() for column in columns], ())


def _lists(array: npt.NDArray[Any], spec: InputSpec) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), math.prod(spec.shape))


def _written(record: pa.RecordBatch, *, compress: bool) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd" if compress else None)
    with pa.ipc.new_stream(sink, record.schema, options=options) as writer:
        writer.write_batch(record)
    return sink.getvalue()


def _read(body: Any) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            records = list(reader)
        for record in records:
            record.validate(full=True)  # otherwise a column may claim more values than its buffer holds
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"the body is no Arrow IPC stream: {error}") from error
    return reader.schema, records


def _array(schema: pa.Schema, records: list[pa.RecordBatch], spec: InputSpec) -> npt.NDArray[np.float32]:
    names, parts = schema.names, []
    if names.count(spec.name) != 1:
        raise ValueError(f"the body lacks the input {spec.name}; it holds {', '.join(names) or 'nothing'}")
    index, wanted = names.index(spec.name), _list_type(spec.dtype, math.prod(spec.shape))
    if schema.types[index] != wanted:
        raise ValueError(f"input {spec.name} is {schema.types[index]}, not {wanted}")
    for record in records:
        column = record.column(index)
        values = column.flatten()
        if column.null_count or values.null_count:
            raise ValueError(f"input {spec.name} holds nulls")
        parts.append(values.to_numpy(zero_copy_only=True).reshape(-1, *spec.shape))
    return _joined(parts, spec.shape)


def _joined(parts: list[npt.NDArray[np.float32]], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """What the record batches of a body hold, without a copy if there is one."""
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, *shape), dtype=np.float32), *parts])


@lru_cache(maxsize=64)
def _list_type(dtype: str, size: int) -> pa.DataType:
    return pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), size)
