"""Section ``limits``: the statistical model and the limits on the signals."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from darkop_dist.config.backgrounds import (
    AbcdEntry,
    BinUncertaintyEntry,
    FreeNormalisations,
    RelativeUncertainty,
    TransferEntry,
)
from darkop_dist.config.section import SECTION, Name, Names, Probability, rejected

P_VALUE = "p_value"
"""Observable that means: the conformal p-value, with its background from the calibration."""


def _check_edges(edges: tuple[float, ...]) -> tuple[float, ...]:
    if any(low >= high for low, high in pairwise(edges)):
        raise rejected("bin edges must increase")
    return edges


class Limits(BaseModel):
    """HistFactory limits (CLs) and discovery significances."""

    model_config = SECTION

    signal: Names
    """Datasets or samples that are signals; each gets its own limit."""
    masses: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Masses in GeV of signals that are one model at several masses: their limits are drawn against them."""
    observable: Name | None = None
    """Histogram that the fit uses; the first that the processor declares by default. ``p_value`` is the conformal
    p-value, whose background the calibration gives."""
    p_value_bins: Annotated[tuple[Probability, ...], Field(min_length=1), AfterValidator(_check_edges)] | None = None
    """For the observable ``p_value``: upper edges of the bins, such as [1e-4, 1e-3, 1e-2]; a last bin goes up to 1."""
    regions: Annotated[tuple[Name, ...], Field(min_length=1)] = ("signal",)
    """Regions that the fit combines."""
    statistic: Literal["qtilde", "q"] = "qtilde"
    """Test statistic: ``qtilde`` (signal strength not below zero) or ``q``; arXiv:1007.1727, eqs. 14 and 16."""
    toys: Annotated[int, Field(ge=0)] = 0
    """Number of pseudo-experiments; 0 uses the asymptotic formulae. They run where the events do, and are kept."""
    confidence_level: Probability = 0.95
    """Confidence level of the limits."""
    lumi_uncertainty: Probability | None = None
    """Relative uncertainty of the luminosity, such as 0.012."""
    lumi_modifier: Literal["normsys", "lumi"] = "normsys"
    """``normsys``: log-normal, never negative. ``lumi``: HistFactory's Gaussian, to be combined with the like."""
    normalisation: dict[str, RelativeUncertainty] = {}
    """Relative log-normal uncertainty on the yield of a sample: a number, or [down, up], both positive."""
    free_normalisation: FreeNormalisations = {}
    """Backgrounds whose yield only the data determine: names, or names with the bounds of the factor."""
    bin_uncertainties: tuple[BinUncertaintyEntry, ...] = ()
    """Uncertainties of a sample that are independent between bins."""
    smoothing: Literal["353QH"] | None = None
    """Smooth the ratio of varied to nominal templates: ``353QH``, twice, as in ROOT. None by default: it can remove
    real structure too."""
    transfer_factors: tuple[TransferEntry, ...] = ()
    """Backgrounds of free size per bin that control regions measure."""
    abcd: AbcdEntry | None = None
    """A background from the counts of three neighbouring regions."""
    bins: Annotated[tuple[float, ...], Field(min_length=2), AfterValidator(_check_edges)] | None = None
    """Edges to merge the histogram's bins to, in its unit; each must be one of the histogram's. All bins by default."""
    include_overflow: bool = True
    """Add under- and overflow to the first and last bin."""
