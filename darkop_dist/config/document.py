"""The analysis document as one frozen object; one file of this room describes each section."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from darkop_dist.config.access import Access
from darkop_dist.config.anomaly import AnomalyDetection
from darkop_dist.config.corrections import SCALE, Corrections
from darkop_dist.config.datasets import DatasetEntry, DatasetRecord
from darkop_dist.config.execution import Execution
from darkop_dist.config.limits import Limits
from darkop_dist.config.operator import Operator
from darkop_dist.config.processor import ProcessorField
from darkop_dist.config.report import Report
from darkop_dist.config.section import SECTION
from darkop_dist.config.selection import SelectionField

MEASURED = "measured"
"""Luminosity that follows from the data that were processed."""
Systematic = Literal["luminosity", "jet_energy_scale", "jet_energy_resolution", "pileup_reweighting"]


class Document(BaseModel):
    """One search, from files to limits.

    Relative paths count from the directory that holds the document. Environment variables are not expanded.
    """

    model_config = SECTION

    name: Annotated[str, Field(pattern=r"[A-Za-z0-9]")]
    """Name of the search, for titles and for the default output directory."""
    description: str = ""
    """What is searched for, in a few sentences."""
    lumi_ifb: Annotated[float, Field(gt=0)] | Literal["measured"] | None = None
    """Integrated luminosity in 1/fb to which simulation is normalised; ``measured`` takes that of the certified
    sections that were processed, from ``corrections.luminosity_csv``."""
    energy_tev: Annotated[float, Field(gt=0)] | None = 13.0
    """Centre-of-mass energy in TeV, for plots; null where the data are of several."""
    datasets: Annotated[tuple[DatasetEntry, ...], Field(min_length=1)]
    """What to read: names or patterns of the catalogue, files, or records written out here."""
    catalogue: tuple[Path, ...] = ()
    """The user's own record files, TOML or JSON; they add to the catalogue."""
    processor: ProcessorField
    """The search: ``path.py:Class`` or ``package.module:Class``."""
    parameters: dict[str, Any] = {}
    """Thresholds of the processor, checked against its own class ``Parameters``."""
    operator: Operator | None = None
    """The model that scores the events; without one there are no scores and no p-values."""
    anomaly_detection: AnomalyDetection | None = None
    """How scores become p-values."""
    signal_region: SelectionField | None = None
    """Cuts of the signal region, such as ``MET > 250 GeV and jet_pt > 100 GeV``."""
    corrections: Corrections = Corrections()
    """Certified data, luminosity, jet energies, pile-up, filters and triggers."""
    systematics: tuple[Systematic, ...] = ()
    """Systematic variations to apply."""
    limits: Limits | None = None
    """The statistical model; without it the run ends at the histograms."""
    access: Access = Access()
    """How remote files are reached; keys that are absent here come from the user's own file, see docs/access.md."""
    execution: Execution = Execution()
    """Where the events are processed."""
    report: Report = Report()
    """What the result page shows."""
    output: Path | None = None
    """Directory of the result; ``results/`` and the name in lower case, below the current directory, by default."""

    @property
    def output_directory(self) -> Path:
        """Where the result goes: ``output``, or ``results/<slug of the name>`` below the current directory."""
        return self.output if self.output is not None else Path("results") / slug(self.name)

    @property
    def variations(self) -> tuple[str, ...]:
        """The systematics, with ``jet_energy_scale`` as its sources where the corrections name several."""
        found: list[str] = []
        for name in self.systematics:
            found += self.corrections.scale_variations() if name == SCALE else (name,)
        return tuple(found)

    @property
    def inline_records(self) -> tuple[DatasetRecord, ...]:
        """The datasets that are written out in the document itself."""
        return tuple(entry for entry in self.datasets if isinstance(entry, DatasetRecord))


def luminosity_ifb(document: Document, records: Sequence[DatasetRecord]) -> float | None:
    """Integrated luminosity to which simulation is normalised.

    Args:
        document: the document.
        records: the records of its datasets.

    Returns:
        The document's luminosity in 1/fb; else that of its collision data if they are one dataset, because whether
        several datasets add up or share the same collisions cannot be known from their records; else None. None also
        where it is to be measured.
    """
    stated = document.lumi_ifb
    if isinstance(stated, str):
        return None
    if stated is not None:
        return stated
    collisions = [record for record in records if record.kind == "data"]
    return collisions[0].lumi_ifb if len(collisions) == 1 else None


def slug(name: str) -> str:
    """A name as part of a path: lower case, words joined by hyphens.

    >>> slug("Mono-jet dark matter (2016)")
    'mono-jet-dark-matter-2016'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
