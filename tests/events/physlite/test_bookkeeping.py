"""What was generated for a file, as ATLAS' CutBookkeepers say."""

from __future__ import annotations

import logging
from typing import Any

import awkward as ak
import pytest

from darkop_dist.config import DatasetRecord
from darkop_dist.events.read import inspect_file

RECORD = DatasetRecord(name="mc", kind="simulation", format="physlite", files=("x",))


def test_the_entry_of_all_events_or_a_warning(atlas: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The RNTuple's events are all that were generated for it: their weights add up to the books. The TTree has none."""
    with caplog.at_level(logging.WARNING, logger="darkop_dist"):
        facts = inspect_file(atlas.path, RECORD)
    assert facts.entries == 100
    if atlas.separator == ":":
        assert facts.generated_events == 100
        assert facts.sum_weights == pytest.approx(
            float(ak.sum(atlas.raw("EventInfo", "mcEventWeights")[:, 0])), rel=1e-6
        )
        assert caplog.records == []
    else:
        assert (facts.sum_weights, facts.generated_events) == (None, None)
        assert "has no CutBookkeepers: it is normalised by the weights of the events that it holds" in caplog.text
