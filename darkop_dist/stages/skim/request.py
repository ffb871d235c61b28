"""What is to be skimmed, checked before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from darkop_dist.config import Execution
from darkop_dist.errors import InputValueError, UnknownNameError
from darkop_dist.events.jet_sets import JetSetRules
from darkop_dist.stages.skim import write_events, write_jets
from darkop_dist.stages.skim.columns import ColumnRules
from darkop_dist.stages.skim.selection import EventSelection

Format = Literal["ttree", "rntuple", "parquet", "hdf5"]


@dataclass(frozen=True)
class SkimRequest:
    """A skim.

    Attributes:
        sources: one analysis document, or names, patterns or files of datasets.
        output: directory to make.
        selection: which events.
        columns: which branches.
        layout: ``ttree``, ``rntuple`` or ``parquet``; of jet sets ``hdf5`` or ``parquet``.
        jets: the jets with constituents to write in place of events; None for a skim.
        catalogue: record files of the user's.
        execution: where and how; None for the document's, or this process.
        merge_mb: outputs of one dataset are put together until they hold about so many megabytes; 0 for one output
            per input.
        suffix: what the names of the skimmed datasets end with.
        accept_loss: datasets whose lost events are accepted.
        allow_empty: a dataset of which no event is kept is written too.
        force: replace an existing result.
        resume: go on with what a skim that did not end has done.
        arguments: the command line, for the provenance.
    """

    sources: tuple[str, ...]
    output: Path
    selection: EventSelection
    columns: ColumnRules
    layout: Format = "ttree"
    jets: JetSetRules | None = None
    catalogue: tuple[Path, ...] = ()
    execution: Execution | None = None
    merge_mb: int = 0
    suffix: str = "-skim"
    accept_loss: Sequence[str] = ()
    allow_empty: bool = False
    force: bool = False
    resume: bool = False
    arguments: list[str] = field(default_factory=lambda: ["darkop", "skim"])

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            UnknownNameError: there is no such format.
            InputValueError: nothing is named, or the size is negative.
        """
        known = write_events.SUFFIXES if self.jets is None else write_jets.SUFFIXES
        if self.layout not in known:
            of_what = "a skim" if self.jets is None else "a jet set"
            raise UnknownNameError("format", self.layout, known, f"The formats of {of_what} are {', '.join(known)}.")
        if not self.sources:
            raise InputValueError("the skim", "names no dataset", "Name a document, or datasets or files")
        if self.merge_mb < 0:
            raise InputValueError("merge_mb", f"{self.merge_mb} is negative", "Give megabytes, or 0 for no merging")

    @property
    def ending(self) -> str:
        """How the outputs' names end."""
        return (write_events.SUFFIXES if self.jets is None else write_jets.SUFFIXES)[self.layout]
