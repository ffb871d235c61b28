"""All corrections of one search, as its processor gets them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.events.corrections.certified import CertifiedSections
from darkop_dist.events.corrections.event_quality import passes_certification, passes_filters, passes_triggers
from darkop_dist.events.corrections.jet_energy import JetEnergies, columns_needed, corrected_columns
from darkop_dist.events.corrections.pileup import PileupWeights
from darkop_dist.events.event_columns import EventColumns

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Note = Callable[[str], None]
Tally = Callable[[str, float], None]


@dataclass(frozen=True)
class SearchCorrections:
    """What the document's section ``corrections`` says, with the content of its files.

    Attributes:
        certified: sections of collision data that may be used; None for all.
        filters: MET filters by dataset.
        triggers: HLT paths by dataset.
        optional: filters and paths that files of collision data may lack.
        pileup: weights of simulation; None for those of the file.
        jet_energies: corrections of jets; None for those of the file.
    """

    certified: CertifiedSections | None = None
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    triggers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    pileup: PileupWeights | None = None
    jet_energies: JetEnergies | None = None

    def quality(self, events: ak.Array, note: Note) -> dict[str, Mask]:
        """Which events may be used, by the step's name in the cutflow, each of shape (events,); no step if none asked.

        Args:
            events: a chunk; its metadata name the dataset and say whether it is collision data.
            note: is told about what could not be applied.

        Raises:
            InputFileError: collision data lack a column that is needed.
        """
        metadata = dict(events.metadata or {})
        dataset, steps = str(metadata.get("dataset", "")), {}
        if self.certified is not None and metadata.get("is_data", False):
            steps["certified sections"] = passes_certification(events, self.certified)
        if self.filters.get(dataset):
            steps["MET filters"] = passes_filters(events, self.filters[dataset], note, self.optional)
        if self.triggers.get(dataset):
            steps["trigger"] = passes_triggers(events, self.triggers[dataset], note, self.optional)
        return steps

    def columns_needed(self, read: EventColumns) -> list[str]:
        """Columns that corrections of jets read, as far as the file has them."""
        return columns_needed(read) if self.jet_energies is not None else []

    def corrected(self, read: EventColumns, met: str, systematics: Sequence[str], note: Note) -> EventColumns:
        """The columns with corrected jets and missing momentum, and the sizes of their variations; see ``jet_energy``.

        Args:
            read: the events.
            met: name of the missing momentum, ``MET`` or ``PuppiMET``.
            systematics: names of the variations.
            note: is told about what could not be done.

        Raises:
            InputFileError: the file lacks a column that is needed.
            InputValueError: a correction needs another input, or does not cover a value.
        """
        if self.jet_energies is None:
            return read
        return EventColumns(read.events, corrected_columns(read, met, self.jet_energies, systematics, note))

    def pileup_factors(
        self, events: ak.Array, generated: Numbers, tally: Tally, note: Note
    ) -> Mapping[str, Numbers] | None:
        """Pile-up weights ``nominal``, ``up`` and ``down`` of simulation; None if the document names none.

        Args:
            events: the events.
            generated: their weights before, shape (events,).
            tally: is told the sums by which a change of the normalisation is seen.
            note: is told what cannot be reweighted.

        Raises:
            InputFileError: the file does not say how many interactions there were.
            InputValueError: a weight is negative or not finite, or a value is not covered.
        """
        if self.pileup is None or (events.metadata or {}).get("is_data", False):
            return None
        found = self.pileup.of(events)
        for name, value in found.tallies(generated).items():
            tally(name, value)
        for text in self.pileup.remarks:
            note(text)
        return found.factors


NO_CORRECTIONS = SearchCorrections()
