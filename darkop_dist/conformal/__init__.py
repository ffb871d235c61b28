"""Conformal: from integer counts of background scores to p-values whose validity is proved.

Words:
    score: one number per event, larger is more anomalous, in the bins that its checkpoint fixed.
    calibration: the histogram of the scores of n background events that trained nothing and fixed no bin.
    p-value: (1 + number of calibration events in the event's own bin or above) / (n + 1).
    floor: the smallest p-value that n calibration events can give, 1/(n + 1).
    check: background events held out of the calibration, which show that the p-values keep their promise.

Inputs are scores or score counts (``histograms``); outputs are arrays of p-values, a `CalibrationCheck` for the
plot, and the file ``calibration.json``.
"""

from darkop_dist.conformal.argos import Argos, ModelChoice, argos, choose_model
from darkop_dist.conformal.bounds import clopper_pearson, conditional_p_values
from darkop_dist.conformal.calibration import Calibration, from_chunks, from_counts, from_scores
from darkop_dist.conformal.discovery import Excess, ThresholdScan, excess, scan_thresholds
from darkop_dist.conformal.drift import CALIBRATION, Drift, Exchangeability, Group, exchangeability
from darkop_dist.conformal.fusion import Fusion, JointCalibration, calibrate_jointly, fix_fusion
from darkop_dist.conformal.look_elsewhere import LookElsewhere, look_elsewhere, up_crossings
from darkop_dist.conformal.mondrian import MondrianCalibration
from darkop_dist.conformal.selection import Selection, benjamini_hochberg
from darkop_dist.conformal.tail import TailBound, tail_upper_bound
from darkop_dist.conformal.unbinned import UnbinnedCalibration, propose_edges, unbinned_from_scores
from darkop_dist.conformal.uniformity import CalibrationCheck, check_uniformity, check_weighted_uniformity
from darkop_dist.conformal.weighted import WeightedCalibration, weighted_from_histogram, weighted_from_scores
from darkop_dist.conformal.weighted_selection import WeightedSelection, weighted_conformal_selection

__all__ = [
    "CALIBRATION",
    "Argos",
    "Calibration",
    "CalibrationCheck",
    "Drift",
    "Excess",
    "Exchangeability",
    "Fusion",
    "Group",
    "JointCalibration",
    "LookElsewhere",
    "ModelChoice",
    "MondrianCalibration",
    "Selection",
    "TailBound",
    "ThresholdScan",
    "UnbinnedCalibration",
    "WeightedCalibration",
    "WeightedSelection",
    "argos",
    "benjamini_hochberg",
    "calibrate_jointly",
    "check_uniformity",
    "check_weighted_uniformity",
    "choose_model",
    "clopper_pearson",
    "conditional_p_values",
    "excess",
    "exchangeability",
    "fix_fusion",
    "from_chunks",
    "from_counts",
    "from_scores",
    "look_elsewhere",
    "propose_edges",
    "scan_thresholds",
    "tail_upper_bound",
    "unbinned_from_scores",
    "up_crossings",
    "weighted_conformal_selection",
    "weighted_from_histogram",
    "weighted_from_scores",
]
