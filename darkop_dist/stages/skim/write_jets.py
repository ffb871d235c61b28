"""Jet sets as HDF5, in the arrays of AspenOpenJets, or as Parquet, with the names of JetClass.

HDF5: ``PFCands`` (jets, constituents, features) float32, zero-padded, with ``mask`` (jets, constituents);
``jet_kinematics`` (jets, 4); ``jet_tagging`` (jets, columns); ``event_info`` (jets, 3) int64: run, luminosity block,
event; ``weight``, ``jet_index`` and ``jet_nparticles`` (jets,). Each array names its columns and their units in the
attributes ``columns`` and ``units``; the file's attributes hold schema, writer and provenance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from darkop_dist.errors import MissingExtraError
from darkop_dist.events.jet_sets import FEATURES, JetSetRules
from darkop_dist.stages.skim.part import Part
from darkop_dist.stages.skim.write_events import gathered

SCHEMA = "darkop.jet-set/1"
EVENT = ("run", "luminosity_block", "event")
JET_UNITS = {"pt": "GeV", "mass": "GeV", "msoftdrop": "GeV", "phi": "rad"}
ROWS_PER_BLOCK = 256
SUFFIXES = {"hdf5": ".h5", "parquet": ".parquet"}


def write_jets(
    path: Path, layout_name: str, parts: Sequence[Part], rules: JetSetRules, *, about: Mapping[str, Any]
) -> None:
    """Write an output.

    Args:
        path: the file.
        layout_name: ``hdf5`` or ``parquet``.
        parts: in the order of the events.
        rules: what the set holds.
        about: kept in the file: what it was made from, and what its weights are normalised with.

    Raises:
        OSError: the file cannot be written.
        MissingExtraError: h5py is not installed.
    """
    if layout_name == "parquet":
        kept = {"darkop.schema": SCHEMA, "darkop.jet-set": json.dumps({**about, "units": dict(FEATURES)})}
        with pq.ParquetWriter(path, parts[0].schema.with_metadata(kept), compression="zstd") as file:
            for table in gathered(parts):
                file.write_table(table.replace_schema_metadata(file.schema.metadata))
        return
    _write_hdf5(path, parts, rules, about)


def _write_hdf5(path: Path, parts: Sequence[Part], rules: JetSetRules, about: Mapping[str, Any]) -> None:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "skims") from error
    columns = _arrays_columns(parts[0].schema, rules)
    with h5py.File(path, "w") as file:
        file.attrs.update({"schema": SCHEMA, **{key: _attribute(value) for key, value in about.items()}})
        empty = _arrays_of(parts[0].schema.empty_table(), columns, rules)
        for name, array in empty.items():
            rows = (ROWS_PER_BLOCK, *array.shape[1:])
            made = file.create_dataset(
                name, array.shape, array.dtype, maxshape=(None, *array.shape[1:]), chunks=rows,
                compression="gzip", compression_opts=4, shuffle=True,
            )  # fmt: skip
            if name in columns:
                made.attrs["columns"] = list(columns[name])
                units = FEATURES if name == "PFCands" else JET_UNITS
                made.attrs["units"] = [units.get(column, "") for column in columns[name]]
        for table in gathered(parts):
            for name, array in _arrays_of(table, columns, rules).items():
                rows_before = len(file[name])
                file[name].resize(rows_before + len(array), axis=0)
                file[name][rows_before:] = array


def _arrays_columns(schema: pa.Schema, rules: JetSetRules) -> dict[str, tuple[str, ...]]:
    others = {f"jet_{name}" for name in (*rules.jet_kinematics, "index", "nparticles")}
    tagging = [name for name in schema.names if name.startswith("jet_") and name not in others]
    return {
        "event_info": EVENT,
        "jet_kinematics": rules.jet_kinematics,
        "jet_tagging": tuple(name.removeprefix("jet_") for name in tagging),
        "PFCands": rules.features,
    }


def _arrays_of(
    table: pa.Table, columns: Mapping[str, tuple[str, ...]], rules: JetSetRules
) -> dict[str, np.ndarray[Any, Any]]:
    def numbers(name: str) -> np.ndarray[Any, Any]:
        return np.asarray(table.column(name).to_numpy())

    def jets(names: Sequence[str]) -> np.ndarray[Any, Any]:
        found = [numbers(f"jet_{name}").astype(np.float32) for name in names]
        return np.stack(found, axis=1) if found else np.zeros((table.num_rows, 0), np.float32)

    def fixed(name: str) -> np.ndarray[Any, Any]:
        arrays = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table.column(name).chunks]
        flat = np.concatenate(arrays) if arrays else np.zeros(0, np.bool_ if name == "part_mask" else np.float32)
        return flat.reshape(-1, rules.constituents)

    return {
        "event_info": np.stack([numbers(name) for name in EVENT], axis=1).astype(np.int64),
        "jet_kinematics": jets(columns["jet_kinematics"]),
        "jet_tagging": jets(columns["jet_tagging"]),
        "PFCands": np.stack([fixed(f"part_{name}") for name in columns["PFCands"]], axis=2),
        "mask": fixed("part_mask"),
        "weight": numbers("weight").astype(np.float64),
        "jet_index": numbers("jet_index"),
        "jet_nparticles": numbers("jet_nparticles"),
    }


def _attribute(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else json.dumps(value)
