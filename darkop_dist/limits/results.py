"""The file ``limits.json``: what was fitted, the fits, the limits and the notes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from darkop_dist.errors import InputFileError
from darkop_dist.limits.fit import FitResult
from darkop_dist.limits.upper_limit import LimitResult
from darkop_dist.runs import read_json, write_json

SCHEMA = "darkop.limits/1"


@dataclass(frozen=True)
class SignalResult:
    """All results on one signal.

    Attributes:
        signal: name of the signal's sample.
        label: its name in plots.
        workspace_sha256: SHA-256 of the workspace's file.
        observed: ``asimov`` where the background expectation stands for data.
        limit: the upper limit and the significance.
        background_fit: the fit without signal.
        signal_fit: the fit with signal.
        notes: what was left out, merged or clipped in the workspace.
    """

    signal: str
    label: str
    workspace_sha256: str
    observed: str
    limit: LimitResult
    background_fit: FitResult | None
    signal_fit: FitResult | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LimitsFile:
    """The content of ``limits.json``.

    Attributes:
        results: one per signal.
    """

    results: tuple[SignalResult, ...]

    def save(self, path: Path) -> None:
        """Write to a JSON file: all of it or nothing.

        Raises:
            OutputError: the file cannot be written.
        """
        write_json(path, SCHEMA, asdict(self))

    @classmethod
    def load(cls, path: Path) -> LimitsFile:
        """Read what `save` wrote.

        Raises:
            InputFileError: the file is missing, has another schema or is damaged.
        """
        content = read_json(path, SCHEMA)
        try:
            return cls(TypeAdapter(tuple[SignalResult, ...]).validate_python(content.get("results")))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            problem = f"is damaged at {place or 'results'} ({first['msg']})"
            raise InputFileError(str(path), problem, "Run the stage limits again.") from error
