"""A HistFactory workspace in pyhf's JSON, with what was decided while it was built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyhf

from darkop_dist.errors import InputFileError
from darkop_dist.limits.backend import quiet_schema
from darkop_dist.runs import write_atomically

INTERPOLATION = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
"""Interpolation codes of pyhf's command line and of cabinetry, so that their numbers agree with ours."""

MEASUREMENT_POI = "mu"


@dataclass(frozen=True)
class Workspace:
    """One signal against the backgrounds in all regions of a fit.

    Attributes:
        signal: name of the signal's sample; empty if the workspace was read from a file.
        spec: the workspace as pyhf's schema 1.0.0 has it.
        observed: ``asimov`` where the background expectation stands for data.
        edges: bin edges per region; absent for a workspace that was read from a file.
        notes: everything that was left out, merged or clipped, in sentences.
    """

    signal: str
    spec: dict[str, Any]
    observed: Literal["data", "asimov"]
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The workspace as the text of a JSON file."""
        return json.dumps(self.spec, indent=1, sort_keys=True) + "\n"

    @property
    def sha256(self) -> str:
        """SHA-256 of the file that `save` writes."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def poi(self) -> str:
        """Name of the parameter of interest in the first measurement."""
        return str(self.spec["measurements"][0]["config"]["poi"])

    @property
    def signal_rows(self) -> frozenset[tuple[str, str]]:
        """Channel and sample of all that the parameter of interest multiplies."""
        return frozenset(
            (str(channel["name"]), str(sample["name"]))
            for channel in self.spec["channels"]
            for sample in channel["samples"]
            if _has_poi(sample, self.poi)
        )

    @property
    def expected_background(self) -> float:
        """Expected background events in all regions, before the fit."""
        return float(sum(np.sum(sample["data"]) for sample in _samples(self.spec) if not _has_poi(sample, self.poi)))

    def save(self, path: Path) -> None:
        """Write plain pyhf JSON, which ``pyhf cls`` reads; the notes go to the limits' file.

        Raises:
            OutputError: the file cannot be written.
        """
        write_atomically(path, self.text)

    @classmethod
    def load(cls, path: Path) -> Workspace:
        """Read any workspace in pyhf's JSON; of several measurements the first counts, and a note says so.

        Raises:
            InputFileError: the file is missing, no JSON, or does not keep pyhf's schema.
        """
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputFileError(
                str(path), f"cannot be read ({error.strerror})", "Run the stage that writes it."
            ) from error
        except ValueError as error:
            raise InputFileError(str(path), f"is not JSON ({error})", "Run the stage that writes it again.") from error
        require_schema(spec, str(path))
        poi = str(spec["measurements"][0]["config"]["poi"])
        carriers = {sample["name"] for sample in _samples(spec) if _has_poi(sample, poi)}
        signal = next(iter(carriers)) if len(carriers) == 1 else ""
        return cls(signal, spec, "asimov" if _is_asimov(spec, poi) else "data", notes=tuple(_unused(spec)))


def require_schema(spec: object, origin: str) -> None:
    """Refuse what does not keep pyhf's workspace schema.

    Raises:
        InputFileError: with the place in the workspace that is wrong.
    """
    try:
        with quiet_schema():
            pyhf.schema.validate(spec, "workspace.json", version="1.0.0")
    except pyhf.exceptions.InvalidSpecification as error:
        problem = f"is not a pyhf workspace ({str(error).splitlines()[0]})"
        raise InputFileError(origin, problem, "Write it with this package or with pyhf.") from error


def _unused(spec: Mapping[str, Any]) -> Iterator[str]:
    first, *others = [str(measurement["name"]) for measurement in spec["measurements"]]
    if others:
        yield f"the workspace has several measurements: {first}, the first, is used; unused are {', '.join(others)}"


def _samples(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [sample for channel in spec["channels"] for sample in channel["samples"]]


def _has_poi(sample: Mapping[str, Any], poi: str) -> bool:
    return any(modifier["name"] == poi for modifier in sample["modifiers"])


def _is_asimov(spec: Mapping[str, Any], poi: str) -> bool:
    observed = {entry["name"]: entry["data"] for entry in spec["observations"]}
    for channel in spec["channels"]:
        background = [sample["data"] for sample in channel["samples"] if not _has_poi(sample, poi)]
        if not background or not np.allclose(np.sum(background, axis=0), observed[channel["name"]], rtol=1e-9):
            return False
    return True
