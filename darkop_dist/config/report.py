"""Section ``report``: what the result page shows."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from darkop_dist.config.section import SECTION


class Report(BaseModel):
    """What is kept for the result page."""

    model_config = SECTION

    candidates: Annotated[int, Field(ge=0)] = 100
    """Number of events with the highest scores kept per dataset and region."""
    displays: Annotated[int, Field(ge=0)] = 5
    """Number of candidates on the result page, each with an event display where the file holds objects."""
