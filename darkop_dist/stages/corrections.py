"""The document's corrections with the content of their files, and what its processor applies of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from darkop_dist.config import Corrections, DatasetRecord, JetEnergy, LoadedDocument, Pileup
from darkop_dist.config.corrections import RECOMMENDED, scale_variation
from darkop_dist.config.parse import KeyPath
from darkop_dist.errors import DocumentError, Mistake, UnknownNameError, UserError, nearest_names
from darkop_dist.events.corrections.certified import read_certified
from darkop_dist.events.corrections.event_quality import recommended_filters, trigger_paths
from darkop_dist.events.corrections.jet_energy import JetEnergies
from darkop_dist.events.corrections.luminosity_table import read_luminosity
from darkop_dist.events.corrections.pileup import PileupWeights, read_profile, weights_from_profiles
from darkop_dist.events.corrections.search import SearchCorrections
from darkop_dist.events.corrections.tables import CorrectionTable, read_table

SECTION = "corrections"
APPLIED = ("golden_json", "met_filters", "triggers", "pileup", "jet_energy")
"""Keys that a processor applies; it names those that it does in ``corrections``."""
LEVEL = re.compile(r"_(L1L2L3Res|L1L2L3)_")
Found = TypeVar("Found")


def check_applied(loaded: LoadedDocument, processor: type[Any]) -> None:
    """Refuse corrections that the processor would not apply.

    Raises:
        DocumentError: names every such key.
    """
    applied = tuple(getattr(processor, SECTION, ()))
    wanted = [key for key in APPLIED if getattr(loaded.document.corrections, key) and key not in applied]
    if wanted:
        what = f"it applies {', '.join(applied) or 'no corrections'}"
        message = f"{processor.__name__} does not apply this: {what}"
        raise DocumentError(str(loaded.source), [loaded.mistake((SECTION, key), message) for key in wanted])


def load_corrections(loaded: LoadedDocument, records: Sequence[DatasetRecord]) -> SearchCorrections:
    """Read the files of the section ``corrections``.

    Args:
        loaded: the document.
        records: the records of its datasets.

    Raises:
        DocumentError: every file that cannot be used and every name that is in none of them, with its key path.
    """
    section, reader = loaded.document.corrections, _Reader(loaded)
    certified = reader.take(("golden_json",), lambda: read_certified(section.golden_json))
    if section.luminosity_csv:  # read again once it is needed
        reader.take(("luminosity_csv",), lambda: read_luminosity(section.luminosity_csv))
    jets, pileup = section.jet_energy, section.pileup
    found = SearchCorrections(
        certified=certified if section.golden_json else None,
        filters=_filters(section, records, reader),
        triggers=_triggers(section, records, reader),
        optional=section.optional,
        pileup=None if pileup is None else _pileup(pileup, reader),
        jet_energies=None if jets is None else _jet_energies(jets, records, reader),
    )
    if reader.mistakes:
        raise DocumentError(str(loaded.source), reader.mistakes)
    return found


@dataclass
class _Reader:
    """Collects what is wrong, so that all of it is said at once."""

    loaded: LoadedDocument
    mistakes: list[Mistake] = field(default_factory=list)

    def take(self, path: KeyPath, make: Callable[[], Found]) -> Found | None:
        """What is made, or None with a mistake at the key path."""
        try:
            return make()
        except UserError as error:
            near: tuple[str, ...] = ()
            text = str(error)
            if isinstance(error, UnknownNameError) and error.nearest:
                near, text = error.nearest, f"there is no {error.kind} {error.name!r}"
            self.mistakes.append(self.loaded.mistake((SECTION, *path), text, near))
            return None

    def mistake(self, path: KeyPath, message: str, nearest: tuple[str, ...] = ()) -> None:
        """Something is wrong at a key path."""
        self.mistakes.append(self.loaded.mistake((SECTION, *path), message, nearest))

    def correction(self, table: CorrectionTable, path: KeyPath, name: str) -> str:
        """A name that has to be in a table."""
        self.take(path, lambda: table.inputs(name))
        return name


def _year(section: Corrections, record: DatasetRecord) -> str | None:
    """Year of data taking of a dataset, as the tables call it: the record's, told apart by the document's."""
    if record.year is None or (section.year or "").startswith(str(record.year)):
        return section.year
    return str(record.year)


def _filters(section: Corrections, records: Sequence[DatasetRecord], reader: _Reader) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for record in records:
        names: list[str] = []
        for name in section.met_filters:
            if name != RECOMMENDED:
                names.append(name)
                continue
            year, is_data = _year(section, record), record.kind == "data"
            if year is None:
                reader.mistake(("met_filters",), f"{RECOMMENDED} for {record.name} needs corrections.year")
            elif taken := reader.take(("year",), lambda y=year, d=is_data: recommended_filters(y, is_data=d)):  # type: ignore[misc]
                names += taken
        found[record.name] = tuple(dict.fromkeys(names))
    return found


def _triggers(section: Corrections, records: Sequence[DatasetRecord], reader: _Reader) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for record in records if section.triggers else ():
        year = _year(section, record)
        found[record.name] = reader.take(("triggers",), lambda y=year: trigger_paths(section.triggers, y)) or ()  # type: ignore[misc]
    return found


def _pileup(pileup: Pileup, reader: _Reader) -> PileupWeights | None:
    at: KeyPath = ("pileup",)
    if pileup.file is not None and pileup.correction is not None:
        file, name = pileup.file, pileup.correction
        table = reader.take((*at, "file"), lambda: read_table(file))
        if table is None:
            return None
        return PileupWeights(table, reader.correction(table, (*at, "correction"), name))
    if pileup.data is None or pileup.simulation is None:
        raise ValueError("checked with the document")
    data, simulation, histogram = pileup.data, pileup.simulation, pileup.histogram
    nominal = reader.take((*at, "data"), lambda: read_profile(data, histogram))
    generated = reader.take((*at, "simulation"), lambda: read_profile(simulation, histogram))
    if nominal is None or generated is None:
        return None
    profiles = {"nominal": nominal}
    for way, sign, path in (("up", 1.0, pileup.data_up), ("down", -1.0, pileup.data_down)):
        if path is None:
            profiles[way] = nominal.stretched(1.0 + sign * pileup.cross_section_uncertainty)
            continue
        given = reader.take((*at, f"data_{way}"), lambda p=path: read_profile(p, histogram))  # type: ignore[misc]
        profiles[way] = nominal if given is None else given
    return reader.take(at, lambda: weights_from_profiles(profiles, generated))


def _jet_energies(jets: JetEnergy, records: Sequence[DatasetRecord], reader: _Reader) -> JetEnergies | None:
    at: KeyPath = ("jet_energy",)
    table = reader.take((*at, "file"), lambda: read_table(jets.file))
    if table is None:
        return None
    reader.correction(table, (*at, "correction"), jets.correction)
    collisions = [record for record in records if record.kind == "data"]
    known = tuple(dict.fromkeys(name for record in collisions for name in (record.name, record.sample_name)))
    data: dict[str, str] = {}
    for name, correction in jets.data.items():
        if name not in known:
            message = f"no dataset of collision data has this name: must be one of {', '.join(known) or 'none'}"
            reader.mistake((*at, "data", name), message, nearest_names(name, known))
        reader.correction(table, (*at, "data", name), correction)
        members = [record.name for record in records if name in (record.name, record.sample_name)]
        data |= dict.fromkeys(members, correction)
    uncertainties = {}
    for source in jets.uncertainties:
        # without a level in the name, the source has to be the full name of a correction
        full = source if source in table.names else LEVEL.sub(f"_{source}_", jets.correction)
        full = source if full == jets.correction else full
        uncertainties[scale_variation(source)] = reader.correction(table, (*at, "uncertainties"), full)
    for key in ("resolution", "scale_factor"):
        name = getattr(jets, key)
        if name is not None:
            reader.correction(table, (*at, key), name)
    return JetEnergies(table, jets.correction, data, uncertainties, jets.resolution, jets.scale_factor)
