"""Limits: from histograms of raw weights to fits, upper limits and significances.

Words:
    sample: a process of the fit, made of one or several datasets; data, background or signal.
    region: a selection of events; each becomes a channel of the workspace.
    method: where a background comes from when simulation alone does not give it: transfer factors, ABCD, conformal.
    systematic: an effect with an upward and a downward variation; it moves normalisation and shape.
    workspace: the statistical model and the observed counts in pyhf's HistFactory JSON.
    mu: signal strength; the signal's cross section in units of the model's. The parameter of interest.
    CLs: P(at least as background-like | signal + background) / P(the same | background); a signal strength with
        CLs below 1 - confidence level is excluded.
    p0: probability of an excess at least as large if there is only background.
    impact: how far the fitted strength moves with a nuisance parameter.
    pull: how far a fit moves a nuisance parameter, in units of its constraint.

Input is the histogram of an observable (axes dataset, region, variation, observable) and the samples with their
scales; outputs are ``workspace.json`` (plain pyhf JSON) and ``limits.json``.
"""

from darkop_dist.limits.abcd import Abcd
from darkop_dist.limits.build import build_workspace
from darkop_dist.limits.channels import BackgroundMethod
from darkop_dist.limits.conformal_background import ConformalBackground
from darkop_dist.limits.fit import FitResult, FittedParameter, GoodnessOfFit, RegionYields, fit
from darkop_dist.limits.mass_scan import MassScan, scan_limits
from darkop_dist.limits.p_value_bins import p_value_histogram
from darkop_dist.limits.ranking import Impact, Ranking, rank
from darkop_dist.limits.results import LimitsFile, SignalResult
from darkop_dist.limits.samples import FitSample
from darkop_dist.limits.scan import LikelihoodScan, scan_likelihood
from darkop_dist.limits.transfer import RatioUncertainty, TransferFactors
from darkop_dist.limits.upper_limit import ClsValues, LimitResult, cls_values, limit_of, upper_limit
from darkop_dist.limits.workspace import Workspace
from darkop_dist.limits.yields import BinUncertainty, FreeNormalisation

__all__ = [
    "Abcd",
    "BackgroundMethod",
    "BinUncertainty",
    "ClsValues",
    "ConformalBackground",
    "FitResult",
    "FitSample",
    "FittedParameter",
    "FreeNormalisation",
    "GoodnessOfFit",
    "Impact",
    "LikelihoodScan",
    "LimitResult",
    "LimitsFile",
    "MassScan",
    "Ranking",
    "RatioUncertainty",
    "RegionYields",
    "SignalResult",
    "TransferFactors",
    "Workspace",
    "build_workspace",
    "cls_values",
    "fit",
    "limit_of",
    "p_value_histogram",
    "rank",
    "scan_likelihood",
    "scan_limits",
    "upper_limit",
]
