"""Parts of the section ``limits``: yields that simulation does not fix, and backgrounds that data give."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from darkop_dist.config.section import SECTION, Name, Names, Probability, rejected


def as_pair(value: object) -> object:
    """One number as a pair of equal sizes (down, up); pairs stay."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number:
        return (value, value)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise rejected("must be a number such as 0.05, or a pair [down, up] such as [0.04, 0.06]")
    return tuple(value)


RelativeUncertainty = Annotated[
    tuple[Probability, Annotated[float, Field(gt=0)]],
    BeforeValidator(as_pair, json_schema_input_type=float | tuple[float, float]),
]
"""Sizes (down, up) of a relative uncertainty, both positive: the yield varies between x(1 - down) and x(1 + up)."""

FREE_BOUNDS = (0.0, 10.0)


def _as_bounds(value: object) -> object:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, FREE_BOUNDS)
    return {name: _as_sizes(bounds) for name, bounds in value.items()} if isinstance(value, dict) else value


def _as_sizes(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


FreeNormalisations = Annotated[
    dict[Name, tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=1)]]],
    BeforeValidator(_as_bounds, json_schema_input_type=Name | list[Name] | dict[Name, tuple[float, float]]),
]
"""Bounds of the free factor by sample; a list of names takes 0 to 10."""

Sizes = Annotated[float | tuple[float, ...], BeforeValidator(_as_sizes, json_schema_input_type=float | list[float])]
"""One size for all bins, or one per bin."""


class BinUncertaintyEntry(BaseModel):
    """An uncertainty of a sample that is independent between the bins of a region (shapesys)."""

    model_config = SECTION

    sample: Name
    """The sample."""
    region: Name = "signal"
    """The region."""
    size: Sizes
    """One standard deviation: a number for all bins, or one per bin."""
    kind: Literal["relative", "absolute"] = "relative"
    """``relative`` to the expected events, or ``absolute`` in events."""


class RatioUncertaintyEntry(BaseModel):
    """A systematic uncertainty of the ratios between one region and the others."""

    model_config = SECTION

    name: Name
    """Name of the nuisance parameter; the same name in two entries is one parameter."""
    region: Name
    """The region whose tied samples vary by it."""
    size: Sizes
    """Relative size: a number, or one per bin, which move together and may have either sign."""


class TransferEntry(BaseModel):
    """A background of free size in each bin, tied between regions by ratios of simulation (shapefactor)."""

    model_config = SECTION

    name: Name
    """Name of the factors."""
    samples: Annotated[dict[Name, Names], Field(min_length=2)]
    """Tied samples by region: the signal region and its control regions."""
    uncertainties: tuple[RatioUncertaintyEntry, ...] = ()
    """Systematic uncertainties of the ratios beside those of the whole fit."""


class AbcdEntry(BaseModel):
    """A background from the counts of three neighbouring regions: N_A = N_B N_C / N_D."""

    model_config = SECTION

    regions: tuple[Name, Name, Name, Name]
    """A (the signal region), B, C, D; each of one bin."""
    name: Name = "abcd"
    """Name of the sample."""
    replaces: Annotated[tuple[Name, ...], BeforeValidator(_as_sizes, json_schema_input_type=list[Name])] = ()
    """Simulated backgrounds that it stands for."""
    closure: RelativeUncertainty | None = None
    """Relative uncertainty of N_B N_C / N_D as the background of A: a number, or [down, up]."""
