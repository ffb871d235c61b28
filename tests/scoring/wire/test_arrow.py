"""Batches and scores as Arrow bodies: what comes back, and what is refused."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from darkop_dist.scoring.contract import InputSpec
from darkop_dist.scoring.wire import TooLargeError, decode_batch, decode_scores, encode_batch, encode_scores
from darkop_dist.scoring.wire.size import MOST_MESSAGES, measure


def spec(name: str, *shape: int) -> InputSpec:
    return InputSpec(name, shape, "float32", "numbers", "columns", {})


FIELDS, COLUMNS = spec("fields", 2, 3), spec("columns", 4)


def written(columns: dict[str, Any], *, compress: bool = False) -> bytes:
    """A stream of one record batch, whatever it holds."""
    record = pa.record_batch(list(columns.values()), names=list(columns))
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd" if compress else None)
    with pa.ipc.new_stream(sink, record.schema, options=options) as writer:
        writer.write_batch(record)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def lists(values: Any, size: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values), size)


@given(
    data=st.data(),
    shapes=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=3),
    compress=st.booleans(),
)
def test_batches_come_back(data: st.DataObject, shapes: list[list[int]], *, compress: bool) -> None:
    events = data.draw(st.integers(0, 6))
    inputs = tuple(spec(f"input {number}", *shape) for number, shape in enumerate(shapes))
    any_bits = st.floats(width=32)  # NaN and infinities too: the wire does not judge
    batch = {one.name: data.draw(arrays(np.float32, (events, *one.shape), elements=any_bits)) for one in inputs}
    body = encode_batch(batch, inputs, compress=compress)
    found = decode_batch(body, inputs, most_bytes=sum(array.nbytes for array in batch.values()))
    assert list(found) == list(batch)
    for name, array in batch.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


@given(arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32)))
def test_scores_come_back(scores: np.ndarray) -> None:
    assert decode_scores(encode_scores(scores)).tobytes() == scores.tobytes()


def test_an_uncompressed_body_is_not_copied() -> None:
    body = bytearray(encode_batch({"columns": np.ones((5, 4), np.float32)}, (COLUMNS,)).to_pybytes())
    decoded = decode_batch(body, (COLUMNS,))["columns"]
    assert not decoded.flags.writeable
    position = bytes(body).index(struct.pack("<f", 1.0))
    body[position : position + 4] = struct.pack("<f", 7.0)
    assert decoded[0, 0] == 7.0


def test_arrays_that_are_not_contiguous_are_sent_as_they_read() -> None:
    turned = np.arange(20, dtype=np.float32).reshape(4, 5).T
    assert np.array_equal(decode_batch(encode_batch({"columns": turned}, (COLUMNS,)), (COLUMNS,))["columns"], turned)


def test_several_record_batches_are_put_together_and_other_columns_left_out() -> None:
    table = pa.table({"columns": lists(np.arange(24, dtype=np.float32), 4), "names": ["a", "b", "c", "d", "e", "f"]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    found = decode_batch(sink.getvalue(), (COLUMNS,))
    assert np.array_equal(found["columns"], np.arange(24, dtype=np.float32).reshape(6, 4))
    assert list(found) == ["columns"]


def test_a_stream_without_record_batches_holds_no_events() -> None:
    sink = pa.BufferOutputStream()
    schema = pa.schema({"columns": pa.list_(pa.float32(), 4)})
    pa.ipc.new_stream(sink, schema).close()
    assert decode_batch(sink.getvalue(), (COLUMNS,))["columns"].shape == (0, 4)


GOOD = encode_batch({"columns": np.ones((100, 4), np.float32)}, (COLUMNS,)).to_pybytes()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no Arrow IPC stream"),
        (b"hello, this is no Arrow", "no Arrow IPC stream"),
        (b'{"columns": [[1, 2, 3, 4]]}', "no Arrow IPC stream"),
        (GOOD[:-200], "no Arrow IPC stream"),
        (GOOD[:150], "no Arrow IPC stream"),
        (GOOD[8:], "no Arrow IPC stream"),
        (written({"other": lists(np.ones(8, np.float32), 4)}), "lacks the input columns; it holds other"),
        (written({"columns": lists(np.ones(8, np.float64), 4)}), r"columns is fixed_size_list<.*double.*>\[4\], not"),
        (written({"columns": lists(np.ones(9, np.float32), 3)}), r"is fixed_size_list<.*float.*>\[3\], not"),
        (written({"columns": pa.array(np.ones(9, np.float32))}), "columns is float, not"),
        (written({"columns": pa.array([[1.0] * 4, None], pa.list_(pa.float32(), 4))}), "columns holds nulls"),
        (written({"columns": pa.array([[1.0, None, 1.0, 1.0]], pa.list_(pa.float32(), 4))}), "columns holds nulls"),
    ],
)
def test_bodies_that_are_no_batch(body: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_batch(body, (COLUMNS,))


def test_an_input_given_twice_is_refused() -> None:
    column = lists(np.ones(8, np.float32), 4)
    record = pa.RecordBatch.from_arrays([column, column], names=["columns", "columns"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, record.schema) as writer:
        writer.write_batch(record)
    with pytest.raises(ValueError, match="lacks the input columns; it holds columns, columns"):
        decode_batch(sink.getvalue(), (COLUMNS,))


@pytest.mark.parametrize("column", [pa.array([1.0], pa.float64()), pa.array([None], pa.float32())])
def test_bodies_that_are_no_scores(column: pa.Array) -> None:
    with pytest.raises(ValueError, match="the body holds no scores"):
        decode_scores(written({"score": column}))
    with pytest.raises(ValueError, match="the body holds no scores"):
        decode_scores(written({"other": pa.array([1.0], pa.float32())}))


def test_a_column_that_claims_more_values_than_its_buffer_holds_is_refused() -> None:
    """Otherwise the memory behind the body would be read."""
    length = struct.pack("<q", 100)
    assert GOOD.count(length) >= 2  # rows of the record and of its column; the values are 400
    with pytest.raises(ValueError, match="no Arrow IPC stream"):
        decode_batch(
            GOOD.replace(length, struct.pack("<q", 1000)).replace(struct.pack("<q", 400), struct.pack("<q", 4000)),
            (COLUMNS,),
        )


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_bodies_are_refused_or_hold_a_batch(damage: list[tuple[int, int]]) -> None:
    body = bytearray(GOOD)
    for position, value in damage:
        body[position] = value
    try:
        found = decode_batch(bytes(body), (COLUMNS,), most_bytes=10_000)["columns"]
    except ValueError:
        return
    assert found.shape[1:] == (4,)
    assert found.size <= 400
    float(found.sum(dtype=np.float64))  # touches all of it


class TestSize:
    def test_it_is_that_of_the_arrays(self) -> None:
        batch = {"fields": np.zeros((50, 2, 3), np.float32), "columns": np.zeros((50, 4), np.float32)}
        for compress in (False, True):
            size = measure(encode_batch(batch, (FIELDS, COLUMNS), compress=compress))
            assert (size.decoded, size.compressed) == (50 * 40, compress)

    def test_a_bomb_is_refused_before_it_is_decompressed(self) -> None:
        zeros = np.zeros((4_000_000, 4), np.float32)
        body = encode_batch({"columns": zeros}, (COLUMNS,), compress=True)
        assert body.size < 20_000
        before = pa.total_allocated_bytes()
        peak = pa.default_memory_pool().max_memory()
        with pytest.raises(TooLargeError, match="becomes 64000000 bytes, more than the 1000000 that are allowed"):
            decode_batch(body, (COLUMNS,), most_bytes=1_000_000)
        assert pa.total_allocated_bytes() == before
        assert pa.default_memory_pool().max_memory() == peak

    def test_a_claim_is_believed_before_it_is_tried(self) -> None:
        """Arrow would reserve what the eight bytes before a compressed buffer say."""
        body = encode_batch({"columns": np.zeros((1000, 4), np.float32)}, (COLUMNS,), compress=True).to_pybytes()
        claim = struct.pack("<q", 16_000)
        assert claim in body
        with pytest.raises(TooLargeError, match="becomes 1099511627776 bytes"):
            decode_batch(body.replace(claim, struct.pack("<q", 1 << 40)), (COLUMNS,), most_bytes=1_000_000)
        with pytest.raises(ValueError, match="a buffer of -5 bytes"):
            measure(body.replace(claim, struct.pack("<q", -5)))
        with pytest.raises(ValueError, match="no Arrow IPC stream"):  # and one that is too small does not overflow
            decode_batch(body.replace(claim, struct.pack("<q", 8)), (COLUMNS,), most_bytes=1_000_000)

    def test_dictionaries_are_refused(self) -> None:
        body = written({"columns": pa.array(["a", "b"]).dictionary_encode()})
        with pytest.raises(ValueError, match="holds a dictionary; send record batches of plain numbers"):
            decode_batch(body, (COLUMNS,), most_bytes=1000)

    def test_more_messages_than_any_client_writes_are_refused(self) -> None:
        record = pa.record_batch([lists(np.ones(4, np.float32), 4)], names=["columns"])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, record.schema) as writer:
            for _ in range(MOST_MESSAGES):
                writer.write_batch(record)
        with pytest.raises(ValueError, match=f"more than {MOST_MESSAGES} messages"):
            measure(sink.getvalue())
