"""Columns of ROOT files that count the time of their reading."""

from __future__ import annotations

from typing import Any

from coffea.nanoevents.mapping import UprootSourceMapping

from darkop_dist.events.phases import READ, phase


class _TimedColumns(UprootSourceMapping):  # type: ignore[misc]
    """Columns of a ROOT file whose reading, decompression included, counts as the phase ``read``."""

    def extract_column(self, *arguments: Any, **options: Any) -> Any:
        with phase(READ):
            return super().extract_column(*arguments, **options)


def time_columns(factory: Any) -> Any:
    """Let a NanoEventsFactory count the reading of its columns, which happens when a column is touched, to ``read``.

    The factory makes its mapping itself and takes no other, so the mapping changes its class. A factory that does not
    read from uproot stays as it is.

    Args:
        factory: from ``NanoEventsFactory.from_root``.

    Returns:
        The same factory.
    """
    mapping = factory._mapping  # noqa: SLF001  # coffea 2026.9 offers no other way to its mapping
    if type(mapping) is UprootSourceMapping:
        mapping.__class__ = _TimedColumns
    return factory
