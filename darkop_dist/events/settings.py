"""What a processor is told about the search it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from darkop_dist.config.selection import Selection
from darkop_dist.events.corrections.search import NO_CORRECTIONS, SearchCorrections
from darkop_dist.events.split import SplitRule

ParametersT = TypeVar("ParametersT", bound=BaseModel)


@dataclass(frozen=True)
class SearchSettings(Generic[ParametersT]):
    """Settings of one search, the same for every chunk.

    Attributes:
        parameters: the thresholds and binnings of the document, checked by the processor's own ``Parameters`` class.
        systematics: variations asked for.
        signal_region: cuts on observables that define the signal region; None for no further cut.
        split: which events train, calibrate and check.
        candidates: how many candidates are kept per dataset and region.
        category: one of the processor's ``categories`` by which p-values are given; None for none.
        corrections: certified data, pile-up weights, jet energies, filters and triggers. A processor names those that
            it applies in ``corrections``; others are refused in its documents.
    """

    parameters: ParametersT
    systematics: tuple[str, ...]
    signal_region: Selection | None
    split: SplitRule
    candidates: int
    category: str | None = None
    corrections: SearchCorrections = NO_CORRECTIONS
