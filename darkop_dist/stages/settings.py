"""What the document tells the processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from darkop_dist.config import DatasetRecord, Document
from darkop_dist.config.anomaly import REGION, YEAR
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.split import SplitRule
from darkop_dist.stages.search import Search, dataset_names


def split_rule(search: Search) -> SplitRule:
    """Which events of the search train, calibrate, check and choose."""
    document = search.document
    training = document.operator.train if document.operator else None
    anomaly = document.anomaly_detection
    chosen = choosing_datasets(document, search.records)
    return SplitRule(
        seed=anomaly.seed if anomaly else 1,
        train_fraction=training.fraction if training else 0.0,
        train_datasets=dataset_names(search.records, training.datasets) if training else (),
        check_fraction=anomaly.check_fraction if anomaly else 0.5,
        choose_fraction=document.operator.choose_fraction if chosen and document.operator else 0.0,
        choose_datasets=chosen,
    )


def choosing_datasets(document: Document, records: Sequence[DatasetRecord]) -> tuple[str, ...]:
    """Datasets of which a part chooses the model: collision data and background; none where there is no choice."""
    section = document.anomaly_detection
    if document.operator is None or not document.operator.choose_from or section is None:
        return ()
    background = dataset_names(records, section.background)
    return tuple(record.name for record in records if record.kind == "data" or record.name in background)


def search_settings(search: Search) -> SearchSettings[Any]:
    """What the processor is told."""
    document = search.document
    return SearchSettings(
        parameters=search.parameters,
        systematics=document.variations,
        signal_region=document.signal_region,
        split=split_rule(search),
        candidates=document.report.candidates,
        category=_column(document),
        corrections=search.corrections,
    )


def _column(document: Document) -> str | None:
    section = document.anomaly_detection
    if section is None or section.category in (REGION, YEAR):
        return None
    return section.category
