"""What later stages know of a run: its resolved document, its datasets and its processor's observables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from darkop_dist.config import MEASURED, DatasetRecord, Document, luminosity_ifb
from darkop_dist.errors import InputFileError, UnknownNameError
from darkop_dist.execution import Ledger, load_ledger
from darkop_dist.histograms import HistogramSet, load_histograms
from darkop_dist.operators import Card, find_checkpoint, load_checkpoint
from darkop_dist.runs import RunDirectory, read_json, write_json
from darkop_dist.stages.luminosity import Luminosity, load_luminosity, measured_ifb
from darkop_dist.stages.run_events import CUTFLOW_SCHEMA, normalisation_scales
from darkop_dist.stages.search import Search
from darkop_dist.stages.training_record import require_whole_training

SCHEMA = "darkop.document/1"


@dataclass(frozen=True)
class RunContext:
    """A run whose events have been processed, as its directory tells it.

    Attributes:
        run: the directory.
        document: the resolved document.
        records: the records of all datasets.
        regions: the processor's regions, the signal region first.
        ledger: what became of every chunk.
        histograms: everything that was filled.
        cutflow: dataset -> region -> list of [step, events, sum of weights].
        notes: dataset -> text -> number of events, what the reader must know.
        scales: raw weights to expected events, by dataset.
        thresholds: by observable, the cut of the signal region and the side that it keeps, ``above`` or ``below``.
        luminosity: of the collision data that were processed; None where their files do not number sections.
        tallies: dataset -> name -> sum over all events read.
    """

    run: RunDirectory
    document: Document
    records: tuple[DatasetRecord, ...]
    regions: tuple[str, ...]
    ledger: Ledger
    histograms: HistogramSet
    cutflow: dict[str, dict[str, list[list[Any]]]]
    notes: dict[str, dict[str, int]]
    scales: dict[str, float]
    thresholds: dict[str, tuple[float | None, Literal["above", "below"]]]
    luminosity: Luminosity | None = None
    tallies: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def lumi_ifb(self) -> float | None:
        """The luminosity that simulation is normalised to, in 1/fb."""
        return _lumi_ifb(self.document, self.records, self.luminosity)

    @property
    def has_data(self) -> bool:
        """Whether any dataset is collision data."""
        return any(record.kind == "data" for record in self.records)

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the samples that are signals."""
        names = self.document.limits.signal if self.document.limits else ()
        found = [r.sample_name for r in self.records if r.name in names or r.sample_name in names]
        return tuple(dict.fromkeys(found))

    @property
    def operator_card(self) -> Card | None:
        """The card of the operator that scored the events; None without one, and where only a server has it.

        Raises:
            InputFileError: the checkpoint is not there any more.
        """
        operator = self.document.operator
        if operator is None:
            return None
        place = self.run.checkpoint if operator.checkpoint is None else operator.checkpoint
        try:
            return load_checkpoint(find_checkpoint(place)).card
        except UnknownNameError:
            if self.run.served.exists():
                return None
            raise

    def require_closed(self, accepted: Iterable[str] = ()) -> None:
        """Refuse to go on with events missing, in the pass over the events or in the training before it.

        Args:
            accepted: datasets whose loss the user accepts by name.

        Raises:
            UnknownNameError: an accepted name is no dataset of the run.
            LedgerError: names each dataset that is not whole, what it lost and why.
        """
        accepted = tuple(accepted)
        self.ledger.require_closed(accepted)
        require_whole_training(self.run, accepted)

    def role(self, record: DatasetRecord) -> Any:
        """``data``, ``signal`` or ``background``."""
        if record.kind == "data":
            return "data"
        return "signal" if record.sample_name in self.signals else "background"


def save_document(search: Search, run: RunDirectory) -> None:
    """Write document.json: the document, the records and what the processor declares."""
    content = {
        "document": search.document.model_dump(mode="json"),
        "records": [record.model_dump(mode="json") for record in search.records],
        "regions": list(getattr(search.processor, "regions", ("signal",))),
        "parameters": search.parameters.model_dump(mode="json"),
        "thresholds": search.processor.thresholds(search.parameters) if hasattr(search.processor, "thresholds") else {},
    }
    write_json(run.document, SCHEMA, content)


def load_context(run: RunDirectory) -> RunContext:
    """Read a run whose events have been processed.

    Raises:
        InputFileError: a file is missing or damaged; names the stage that writes it.
    """
    body: dict[str, Any] = read_json(run.require(run.document, "darkop run"), SCHEMA)
    cutflow: dict[str, Any] = read_json(run.require(run.cutflow, "darkop run"), CUTFLOW_SCHEMA)
    try:
        document = Document.model_validate_json(json.dumps(body["document"]), strict=True)
        records = tuple(DatasetRecord.model_validate(record) for record in body["records"])
        regions = tuple(str(name) for name in body["regions"])
        thresholds: Any = {name: tuple(cut) for name, cut in body["thresholds"].items()}
    except (KeyError, ValidationError) as error:
        raise InputFileError(str(run.document), f"is damaged ({error})", "Run the search again.") from error
    ledger = load_ledger(run.require(run.ledger, "darkop run"))
    histograms = load_histograms(run.require(run.histograms, "darkop run"))
    if histograms.ledger_digest != ledger.digest:
        raise InputFileError(str(run.histograms), "was not made with the ledger beside it", "Run the search again.")
    luminosity = load_luminosity(run.lumi) if run.lumi.exists() else None
    if luminosity is not None and luminosity.ledger_digest != ledger.digest:
        raise InputFileError(str(run.lumi), "was not made with the ledger beside it", "Run the search again.")
    lumi_ifb = _lumi_ifb(document, records, luminosity)
    scales = normalisation_scales(records, ledger, lumi_ifb, measured=document.lumi_ifb == MEASURED)
    return RunContext(
        run=run,
        document=document,
        records=records,
        regions=regions,
        ledger=ledger,
        histograms=histograms,
        cutflow=cutflow["cutflow"],
        notes=cutflow["notes"],
        scales=scales,
        thresholds=thresholds,
        luminosity=luminosity,
        tallies=cutflow.get("tallies", {}),
    )


def _lumi_ifb(document: Document, records: tuple[DatasetRecord, ...], luminosity: Luminosity | None) -> float | None:
    """The luminosity in 1/fb that simulation is normalised to: stated, or measured if the document says so."""
    if document.lumi_ifb == MEASURED:
        return measured_ifb(luminosity)
    return luminosity_ifb(document, records)


def training_losses(context: RunContext) -> tuple[str, ...]:
    """A sentence for each dataset of which the training of the operator lost something."""
    card = context.operator_card
    return tuple(f"the operator was trained without {lost}" for lost in card.trained_on.lost) if card else ()
