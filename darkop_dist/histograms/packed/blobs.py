"""Values that are bytes with a meaning: tables, awkward arrays, data frames, unusual numpy arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from darkop_dist.histograms.packed.plain import decode_plain, encode_plain

Content = npt.NDArray[np.uint8]


def blob_of(value: Any) -> tuple[str, str, bytes]:
    """Kind, description and bytes of a value.

    Raises:
        TypeError: it is of no kind that can be written; the message names the type.
    """
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind is np.ndarray or isinstance(value, np.generic):
        return _array(value, scalar=kind is not np.ndarray)
    if kind is pa.Table:
        return _table(value)
    if kind.__module__.startswith("awkward.") and kind.__name__ == "Array":
        return _awkward(value)
    if kind.__module__.startswith("pandas") and kind.__name__ == "DataFrame":
        return _frame(value)
    raise TypeError(f"a value of type {name}")


def value_of(kind: str, about: str, content: Content) -> Any:
    """The value that ``blob_of`` wrote; tables share the memory of ``content``."""
    return _READERS[kind](about, content)


def _table(table: pa.Table) -> tuple[str, str, bytes]:
    """The schema stands in the structure, where equal results share it, and the rows in the payload.

    Tables with dictionaries, or of more than one batch, are written as a whole.
    """
    batches = table.combine_chunks().to_batches()
    if len(batches) > 1 or "dictionary" in str(table.schema.types):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return "arrow", "", sink.getvalue().to_pybytes()
    rows = batches[0].serialize().to_pybytes() if batches else b""
    return "arrow", table.schema.serialize().to_pybytes().hex(), rows


def _read_table(about: str, content: Content) -> pa.Table:
    if not about:
        return pa.ipc.open_stream(pa.py_buffer(content)).read_all()
    schema = _schema(about)
    if not len(content):
        return schema.empty_table()
    return pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(content), schema)])


@lru_cache(maxsize=64)
def _schema(about: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(about)))


def _array(value: Any, *, scalar: bool) -> tuple[str, str, bytes]:
    dtype = value.dtype
    if dtype.hasobject or dtype.kind not in "biufcSUMmV" or dtype.char in "gG":
        raise TypeError(f"a numpy array of dtype {dtype}")
    described = encode_plain(np.lib.format.dtype_to_descr(dtype))
    return ("scalar" if scalar else "array"), json.dumps([described, value.shape]), value.tobytes()


def _read_array(about: str, content: Content) -> Any:
    described, shape = json.loads(about)
    dtype = np.lib.format.descr_to_dtype(decode_plain(described))
    return np.frombuffer(content, dtype).reshape(shape).copy()


def _awkward(value: Any) -> tuple[str, str, bytes]:
    import awkward as ak

    if value.behavior is not None or value.attrs:
        raise TypeError("an awkward array with a behaviour or attributes (ak.Array(array.layout) takes them off)")
    form, length, buffers = ak.to_buffers(ak.to_packed(value))
    arrays = {name: np.ascontiguousarray(buffer) for name, buffer in buffers.items()}
    about = {
        "form": form.to_json(), "length": length, "buffers": [[name, one.nbytes] for name, one in arrays.items()],
    }  # fmt: skip
    return "awkward", json.dumps(about), b"".join(one.tobytes() for one in arrays.values())


def _read_awkward(about: str, content: Content) -> Any:
    import awkward as ak

    found, buffers, at = json.loads(about), {}, 0
    for name, size in found["buffers"]:
        buffers[name] = np.frombuffer(content[at : at + size], np.uint8)
        at += size
    return ak.from_buffers(ak.forms.from_json(found["form"]), found["length"], buffers)


def _frame(value: Any) -> tuple[str, str, bytes]:
    try:
        _, about, content = _table(pa.Table.from_pandas(value))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise TypeError(f"a data frame that Arrow cannot hold ({error})") from error
    again = _read_frame(about, np.frombuffer(content, np.uint8))
    same = (again.dtypes.equals(value.dtypes), again.index.equals(value.index), again.columns.equals(value.columns))
    if not all(same) or not again.equals(value) or value.attrs:
        raise TypeError("a data frame with columns of mixed type, an unusual index or attributes")
    return "frame", about, content


def _read_frame(about: str, content: Content) -> Any:
    return _read_table(about, content).to_pandas()


def _read_scalar(about: str, content: Content) -> Any:
    return _read_array(about, content)[()]


_READERS: dict[str, Callable[[str, Content], Any]] = {
    "array": _read_array,
    "scalar": _read_scalar,
    "arrow": _read_table,
    "awkward": _read_awkward,
    "frame": _read_frame,
}
