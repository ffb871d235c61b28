"""The file ``limits.json``: what was fitted, the fits, the limits and the notes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from darkop_dist.errors import InputFileError
from darkop_dist.limits.fit import FitResult
from darkop_dist.limits.mass_scan import MassScan, scan_limits
from darkop_dist.limits.ranking import Ranking
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
        ranking: the impacts of the nuisance parameters.
        mass_gev: mass of the signal where the document gives it.
    """

    signal: str
    label: str
    workspace_sha256: str
    observed: str
    limit: LimitResult
    background_fit: FitResult | None
    signal_fit: FitResult | None
    notes: tuple[str, ...]
    ranking: Ranking | None = None
    mass_gev: float | None = None


@dataclass(frozen=True)
class LimitsFile:
    """The content of ``limits.json``.

    Attributes:
        results: one per signal that has a limit.
        problems: signals that have none, and why.
    """

    results: tuple[SignalResult, ...]
    problems: tuple[str, ...] = ()

    def mass_scan(self) -> MassScan | None:
        """The limits against mass, on the cross section if all are known; None with fewer than two masses."""
        found = {r.mass_gev: r.limit for r in self.results if r.mass_gev is not None}
        if len(found) < 2:
            return None
        known = all(limit.xsec_limit_pb is not None for limit in found.values())
        return scan_limits({mass: partial(_same, limit) for mass, limit in found.items()}, cross_section=known)

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
            problems = TypeAdapter(tuple[str, ...]).validate_python(content.get("problems", ()))
            return cls(TypeAdapter(tuple[SignalResult, ...]).validate_python(content.get("results")), problems)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            problem = f"is damaged at {place or 'results'} ({first['msg']})"
            raise InputFileError(str(path), problem, "Run the stage limits again.") from error


def _same(limit: LimitResult) -> LimitResult:
    return limit
