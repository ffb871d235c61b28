"""Section ``limits``: the statistical model and the limits on the signals."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from darkop_dist.config.section import SECTION, Name, Names, Probability, rejected


def _as_pair(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number:
        return (value, value)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise rejected("must be a number such as 0.05, or a pair [down, up] such as [0.04, 0.06]")
    return tuple(value)


RelativeUncertainty = Annotated[
    tuple[Probability, Annotated[float, Field(gt=0)]],
    BeforeValidator(_as_pair, json_schema_input_type=float | tuple[float, float]),
]
"""Sizes (down, up) of a relative uncertainty, both positive: the yield varies between x(1 - down) and x(1 + up)."""


def _check_edges(edges: tuple[float, ...]) -> tuple[float, ...]:
    if any(low >= high for low, high in pairwise(edges)):
        raise rejected("bin edges must increase")
    return edges


class Limits(BaseModel):
    """HistFactory limits (CLs) and discovery significances."""

    model_config = SECTION

    signal: Names
    """Datasets or samples that are signals; each gets its own limit."""
    observable: Name | None = None
    """Histogram that the fit uses; the first that the processor declares by default."""
    regions: Annotated[tuple[Name, ...], Field(min_length=1)] = ("signal",)
    """Regions that the fit combines."""
    statistic: Literal["qtilde", "q"] = "qtilde"
    """Test statistic: ``qtilde`` (signal strength not below zero) or ``q``; arXiv:1007.1727, eqs. 14 and 16."""
    toys: Annotated[int, Field(ge=0)] = 0
    """Number of pseudo-experiments; 0 uses the asymptotic formulae."""
    confidence_level: Probability = 0.95
    """Confidence level of the limits."""
    lumi_uncertainty: Probability | None = None
    """Relative uncertainty of the luminosity, such as 0.012."""
    normalisation: dict[str, RelativeUncertainty] = {}
    """Relative log-normal uncertainty on the yield of a sample: a number, or [down, up], both positive."""
    bins: Annotated[tuple[float, ...], Field(min_length=2), AfterValidator(_check_edges)] | None = None
    """Edges to merge the histogram's bins to, in its unit; each must be one of the histogram's. All bins by default."""
    include_overflow: bool = True
    """Add under- and overflow to the first and last bin."""
