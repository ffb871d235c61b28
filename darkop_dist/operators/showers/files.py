"""Files of calorimeter showers in the layout of the CaloChallenge (arXiv:2410.21611).

An HDF5 file with ``incident_energies`` (showers, 1) and ``showers`` (showers, voxels), both in MeV. Any further dataset
with one number per shower is kept as a column. The attribute ``shape`` names layers, azimuths and radii; where it is
absent, the number of voxels must be that of a known geometry.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from darkop_dist.errors import DamagedFileError, InputFileError, InputValueError, MissingExtraError, OutputError
from darkop_dist.operators.showers.sample import KNOWN_GEOMETRIES, Floats, Showers, VoxelGeometry, join

PART = 1000
"""Showers that are read at a time where nothing else is said: 26 MB of dataset 2."""

ENERGIES, INCIDENT = "showers", "incident_energies"
LAYOUT = "A CaloChallenge file holds incident_energies (showers, 1) and showers (showers, voxels) in MeV"


def count_showers(path: Path) -> int:
    """Number of showers of a file.

    Raises:
        InputFileError: as for `shower_parts`.
    """
    with _opened(path) as file:
        return int(_checked(path, file, None)[0])


def shower_attributes(path: Path) -> dict[str, str]:
    """Attributes of a file in words, such as ``particle`` and ``simulator``.

    Raises:
        InputFileError: as for `shower_parts`.
    """
    with _opened(path) as file:
        return {str(name): str(value) for name, value in file.attrs.items()}


def shower_parts(
    path: Path,
    *,
    size: int = PART,
    start: int = 0,
    stop: int | None = None,
    geometry: VoxelGeometry | None = None,
) -> Iterator[Showers]:
    """Read a file in parts, with no more than one part in memory.

    Args:
        path: the file.
        size: most showers of a part.
        start: first shower.
        stop: shower to stop before; the end of the file by default.
        geometry: the voxels; by default those that the file names or that its number of voxels tells.

    Raises:
        InputFileError: the file is absent, is no HDF5, lacks a dataset, has another number of voxels, or holds energies
            that are negative or not finite, or an incident energy that is not positive.
        MissingExtraError: h5py is not installed.
    """
    if size < 1 or start < 0:
        raise InputValueError(
            "showers", f"parts of {size} from shower {start}", "Ask for one shower or more, from 0 on"
        )
    with _opened(path) as file:
        count, voxels = _checked(path, file, geometry)
        names = [name for name in file if name not in {ENERGIES, INCIDENT} and _is_column(file[name], count)]
        end = count if stop is None else min(stop, count)
        for first in range(start, end, size):
            rows = slice(first, min(first + size, end))
            try:
                incident = np.asarray(file[INCIDENT][rows], dtype=np.float32).reshape(-1)
                energies = np.asarray(file[ENERGIES][rows], dtype=np.float32)
                columns = {name: np.asarray(file[name][rows], dtype=np.float32) for name in names}
            except OSError as error:
                raise DamagedFileError(
                    str(path), f"showers {rows.start} to {rows.stop} cannot be read", "Fetch or make the file again"
                ) from error
            _check_values(path, incident, energies, first)
            yield Showers(incident, energies, voxels, columns)


def read_showers(
    path: Path, *, start: int = 0, stop: int | None = None, geometry: VoxelGeometry | None = None
) -> Showers:
    """Read the showers of a file, or some of them, into memory.

    Args:
        path: the file.
        start: first shower.
        stop: shower to stop before; the end of the file by default.
        geometry: the voxels; by default those that the file names or that its number of voxels tells.

    Raises:
        InputFileError: as for `shower_parts`, or there is no shower between ``start`` and ``stop``.
        MissingExtraError: h5py is not installed.
    """
    parts = list(shower_parts(path, start=start, stop=stop, geometry=geometry))
    if not parts:
        raise InputFileError(str(path), f"no showers from {start} on", "Ask for showers that the file has")
    return join(parts)


def write_showers(path: Path, parts: Showers | Iterable[Showers], *, attributes: dict[str, str] | None = None) -> int:
    """Write showers in the CaloChallenge layout, whole or not at all; returns their number.

    Args:
        path: the file; one that exists is replaced.
        parts: the showers, all at once or in parts, of one geometry and with the same columns.
        attributes: further attributes, such as ``particle`` and ``simulator``.

    Raises:
        InputValueError: there are no showers, or parts differ in voxels or columns.
        OutputError: the file cannot be written.
        MissingExtraError: h5py is not installed.
    """
    h5py = _h5py()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with h5py.File(temporary, "w") as file:
            count = _fill(file, [parts] if isinstance(parts, Showers) else parts)
            file.attrs.update(attributes or {})
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error}). Check the directory and the disk.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _fill(file: Any, parts: Iterable[Showers]) -> int:
    """Append the parts to the datasets of an open file."""
    count, geometry, names = 0, None, set[str]()
    for part in parts:
        rows = {INCIDENT: part.incident_energies[:, None], ENERGIES: part.energies, **part.columns}
        if geometry is None:
            geometry, names = part.geometry, set(rows)
            for name, values in rows.items():
                packing = {"compression": "gzip", "chunks": (200, geometry.voxels)} if name == ENERGIES else {}
                shape = values.shape[1:]
                file.create_dataset(name, shape=(0, *shape), maxshape=(None, *shape), dtype="f4", **packing)
            file.attrs["shape"] = geometry.shape
            file.attrs["radius_mm"] = geometry.radius_mm
        if part.geometry != geometry or set(rows) != names:
            raise InputValueError("showers", "parts differ in voxels or columns", "Write parts of one kind")
        for name, values in rows.items():
            file[name].resize(count + len(part), axis=0)
            file[name][count:] = values
        count += len(part)
    if not count:
        raise InputValueError("showers", "there are none to write", "Give at least one shower")
    return count


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "operators") from error
    return h5py


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = _h5py()
    if not path.is_file():
        raise InputFileError(str(path), "no such file of showers", "Check the path")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DamagedFileError(str(path), "not a readable HDF5 file", LAYOUT) from error
    with file:
        yield file


def _is_column(item: Any, count: int) -> bool:
    return getattr(item, "shape", None) == (count,) and item.dtype.kind in "fiu"


def _checked(path: Path, file: Any, wanted: VoxelGeometry | None) -> tuple[int, VoxelGeometry]:
    """Number of showers and the voxels of an open file."""
    for name in (INCIDENT, ENERGIES):
        if name not in file:
            raise InputFileError(str(path), f"there is no dataset {name!r}", LAYOUT)
    incident, energies = file[INCIDENT].shape, file[ENERGIES].shape
    if len(energies) != 2 or incident not in {(energies[0], 1), (energies[0],)}:
        raise InputFileError(str(path), f"incident_energies has shape {incident}, showers {energies}", LAYOUT)
    geometry = wanted or _named_geometry(file) or _known_geometry(energies[1])
    if geometry is None or geometry.voxels != energies[1]:
        known = ", ".join(f"{g.voxels} ({' x '.join(map(str, g.shape))})" for g in KNOWN_GEOMETRIES)
        expected = f"{geometry.voxels} ({' x '.join(map(str, geometry.shape))})" if geometry else f"one of {known}"
        raise InputFileError(
            str(path),
            f"wrong number of voxels: showers has {energies[1]}, expected {expected}",
            "Name the geometry, or write the attribute shape (layers, azimuths, radii)",
        )
    return energies[0], geometry


def _named_geometry(file: Any) -> VoxelGeometry | None:
    shape = np.asarray(file.attrs.get("shape", ())).ravel()
    if shape.size != 3:
        return None
    layers, azimuths, radii = map(int, shape)
    if "radius_mm" in file.attrs:
        return VoxelGeometry(layers, azimuths, radii, float(file.attrs["radius_mm"]))
    return VoxelGeometry(layers, azimuths, radii)


def _known_geometry(voxels: int) -> VoxelGeometry | None:
    return next((geometry for geometry in KNOWN_GEOMETRIES if geometry.voxels == voxels), None)


def _check_values(path: Path, incident: Floats, energies: Floats, first: int) -> None:
    bad = ~(np.isfinite(incident) & (incident > 0.0))
    if bad.any():
        raise InputFileError(
            str(path),
            f"shower {first + int(bad.argmax())} has an incident energy of {incident[bad][0]} MeV",
            "Incident energies must be above 0 and finite; remove such showers",
        )
    least, most = energies.min(axis=1), energies.max(axis=1)
    for rows, problem in ((~np.isfinite(least + most), "that is not finite"), (least < 0.0, "below 0")):
        if rows.any():
            raise InputFileError(
                str(path),
                f"shower {first + int(rows.argmax())} has an energy {problem}",
                "Voxel energies are finite and at least 0 MeV; set small negative ones to 0 and remove broken showers",
            )
