"""Section ``anomaly_detection``: how scores become p-values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from darkop_dist.config.section import SECTION, Name, Names, Probability

CONTROL_REGION = "control-region"
"""Background that means: the events of the control region, whatever their dataset."""
WEIGHTED = "weighted-conformal"
REGION, YEAR = "region", "year"
"""Categories that need no column of the processor's."""


class AnomalyDetection(BaseModel):
    """Split conformal p-values from the scores of background events."""

    model_config = SECTION

    method: Literal["conformal", "weighted-conformal"] = "conformal"
    """``conformal``: exact, binned, split conformal p-values with the floor 1/(n+1), each event counted once.
    ``weighted-conformal``: simulated events count by their generator weight and cross section."""
    category: Name | None = None
    """p-values that hold in every category by itself: ``region``, ``year`` of the datasets, or a column of integers
    that the processor offers, such as the number of jets. Each category has a floor of its own."""
    background: Names
    """Datasets or samples whose events calibrate, or ``control-region``."""
    region: Name | None = None
    """Region that the calibration events come from; the processor's own choice by default."""
    alpha: Probability
    """Probability of calling a background event anomalous; below the floor 1/(n+1) the run refuses."""
    check_fraction: Probability = 0.5
    """Fraction of the background events kept aside to check that their p-values are uniform."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of the split into calibration and check."""
