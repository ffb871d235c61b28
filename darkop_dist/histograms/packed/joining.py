"""Values that do not add number by number: collected, and joined many at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from darkop_dist.histograms.candidates import Candidates, join_candidates
from darkop_dist.histograms.groups import ScoreGroups, join_groups
from darkop_dist.histograms.packed.container import raw_bytes
from darkop_dist.histograms.packed.objects import add_objects
from darkop_dist.histograms.packed.reading import read_payload
from darkop_dist.histograms.packed.writing import coffea_kind, pack_payload

Payload = bytes | memoryview


class Pending:
    """One value of the sum: the payloads that it is the sum of, in order."""

    def __init__(self, payload: Payload | None = None) -> None:
        self._payloads: list[Payload] = [] if payload is None else [payload]
        self._value: Any = None
        self._added = False
        self.nbytes = 0

    def add(self, payload: Payload) -> None:
        """One more."""
        # A copy: a view would keep all numbers of its part in memory.
        self._payloads.append(bytes(payload))
        if len(self._payloads) > 1 or self._added:
            self.nbytes += len(payload)

    def reduce(self) -> None:
        """Join what has been collected."""
        if len(self._payloads) + self._added > 1:
            values = ([self._value] if self._added else []) + [read_payload(payload) for payload in self._payloads]
            self._value = join_values(values)
            self._payloads, self._added, self.nbytes = [], True, 0

    def payload(self) -> Payload:
        """The sum as a payload."""
        self.reduce()
        return raw_bytes(pack_payload(self._value)) if self._added else self._payloads[0]


def join_values(values: list[Any]) -> Any:
    """The sum of two or more values of one type."""
    if all(isinstance(value, Candidates) for value in values):
        return join_candidates(values)
    if all(isinstance(value, ScoreGroups) for value in values):
        return join_groups(values)
    if all(coffea_kind(value) == "coffea.column_accumulator" for value in values):
        columns = [value.value for value in values]
        first = columns[0]
        if all(
            type(one) is np.ndarray and (one.dtype, one.shape[1:]) == (first.dtype, first.shape[1:]) for one in columns
        ):
            return type(values[0])(np.concatenate(columns))
    total = values[0]
    for value in values[1:]:
        total = add_objects(total, value, begins=False)
    return total
