"""Samples of the trigger's inputs: one Parquet file each, with what they were made of."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkop_dist.errors import InputFileError, InputValueError, OutputError
from darkop_dist.events.level1 import INPUTS, input_ranges
from darkop_dist.trigger.crossings import Crossings
from darkop_dist.trigger.detector import Seen

ABOUT = b"darkop-level1"
REGIONS = (14, 18)


class SampleAbout(BaseModel):
    """What a sample is.

    Attributes:
        schema_version: of this layout.
        kind: ``zero-bias`` for crossings in strata, ``signal`` for one event of a process in each crossing.
        process: what was generated, with its parameters.
        mean_collisions: mu, the mean number of inelastic pile-up collisions in a crossing.
        energy_tev: of the collisions.
        slices_mb: cross section of each slice of collisions, from soft to hard.
        slice_collisions: different collisions in each slice.
        seed: of the random numbers.
        collisions_seed: of the collisions; samples share none of them if theirs differ.
        created_with: versions of the software.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    kind: Literal["zero-bias", "signal"]
    process: str
    mean_collisions: Annotated[float, Field(gt=0)]
    energy_tev: float
    slices_mb: tuple[float, ...]
    slice_collisions: tuple[int, ...]
    seed: int
    collisions_seed: int = 0
    created_with: dict[str, str]


@dataclass(frozen=True)
class Level1Sample:
    """Crossings as the trigger sees them.

    Attributes:
        about: what they are.
        crossings: the inputs, with stratum, number of collisions and weight of each.
    """

    about: SampleAbout
    crossings: Crossings

    def __len__(self) -> int:
        return len(self.crossings.weight)

    @property
    def inputs(self) -> npt.NDArray[np.float32]:
        """The 57 inputs, whole numbers, shape (crossings, 57)."""
        return self.crossings.seen.inputs.astype(np.float32)

    @property
    def regions(self) -> npt.NDArray[np.float32]:
        """Transverse energies of the regions in steps of the hardware, shape (crossings, 14, 18)."""
        return self.crossings.seen.regions.astype(np.float32)

    def rows(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Level1Sample:
        """Some of the crossings, with their weights as they are."""
        c = self.crossings
        return replace(
            self,
            crossings=Crossings(
                Seen(c.seen.inputs[chosen], c.seen.regions[chosen]),
                c.stratum[chosen],
                c.collisions[chosen],
                c.weight[chosen],
            ),
        )


def versions() -> dict[str, str]:
    """Versions of the software that decide a sample."""
    return {name: metadata.version(name) for name in ("darkop-dist", "numpy", "pythia8mc")}


def require_zero_bias(sample: Level1Sample) -> None:
    """Check that a sample is one of zero bias.

    Raises:
        InputValueError: it is one of a signal.
    """
    if sample.about.kind != "zero-bias":
        raise InputValueError(
            "sample", f"it holds {sample.about.process}, a rate needs zero bias", "Make it with darkop trigger sample"
        )


def require_new(path: str | Path) -> Path:
    """Find out before the work that nothing would be replaced.

    Raises:
        OutputError: the file exists.
    """
    target = Path(path)
    if target.exists():
        raise OutputError(f"{target}: exists already. Choose another name or ask to overwrite it")
    return target


def write_sample(sample: Level1Sample, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a sample; all of it appears or nothing.

    Raises:
        OutputError: the file exists and ``overwrite`` is false, or it cannot be written.
    """
    target, c = Path(path) if overwrite else require_new(path), sample.crossings
    table = pa.table(
        {
            "inputs": pa.FixedSizeListArray.from_arrays(pa.array(c.seen.inputs.ravel()), INPUTS),
            "regions": pa.FixedSizeListArray.from_arrays(pa.array(c.seen.regions.ravel()), REGIONS[0] * REGIONS[1]),
            "stratum": c.stratum,
            "collisions": c.collisions,
            "weight": c.weight,
        }
    ).replace_schema_metadata({ABOUT: sample.about.model_dump_json()})
    partial = target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, partial, compression="zstd")
        partial.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error}). Choose another directory") from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def read_sample(path: str | Path) -> Level1Sample:
    """Read a sample.

    Raises:
        InputFileError: it is no sample of this version, or its numbers cannot be a trigger's.
    """
    try:
        table = pq.read_table(path)
        about = SampleAbout.model_validate(json.loads((table.schema.metadata or {})[ABOUT]))
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        inputs = columns["inputs"].flatten().to_numpy().reshape(-1, INPUTS)
        regions = columns["regions"].flatten().to_numpy().reshape(-1, *REGIONS)
        rest = {name: columns[name].to_numpy() for name in ("stratum", "collisions", "weight")}
    except FileNotFoundError as error:
        raise InputFileError(str(path), "does not exist", "Make it with darkop trigger sample") from error
    except (OSError, KeyError, ValueError, ValidationError, pa.ArrowException) as error:
        raise InputFileError(
            str(path), f"is no sample of the trigger's inputs ({error})", "Make it with darkop trigger sample"
        ) from error
    low, high = input_ranges()
    outside = int(np.count_nonzero(((inputs < low) | (inputs > high)).any(axis=1)))
    if outside or not (np.isfinite(rest["weight"]).all() and (rest["weight"] >= 0).all()):
        raise InputFileError(
            str(path), f"{outside} crossings are beyond the hardware's scales, or a weight is not one", "Make it again"
        )
    return Level1Sample(about, Crossings(Seen(inputs, regions), rest["stratum"], rest["collisions"], rest["weight"]))
