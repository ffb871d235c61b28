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
from darkop_dist.conformal.calibration import Calibration, from_counts, from_scores
from darkop_dist.conformal.discovery import Excess, ThresholdScan, excess, scan_thresholds
from darkop_dist.conformal.drift import CALIBRATION, Drift, Exchangeability, Group, exchangeability
from darkop_dist.conformal.mondrian import MondrianCalibration
from darkop_dist.conformal.selection import Selection, benjamini_hochberg
from darkop_dist.conformal.tail import TailBound, tail_upper_bound
from darkop_dist.conformal.uniformity import CalibrationCheck, check_uniformity, check_weighted_uniformity
from darkop_dist.conformal.weighted import WeightedCalibration, weighted_from_histogram, weighted_from_scores

__all__ = [
    "CALIBRATION",
    "Argos",
    "Calibration",
    "CalibrationCheck",
    "Drift",
    "Excess",
    "Exchangeability",
    "Group",
    "ModelChoice",
    "MondrianCalibration",
    "Selection",
    "TailBound",
    "ThresholdScan",
    "WeightedCalibration",
    "argos",
    "benjamini_hochberg",
    "check_uniformity",
    "check_weighted_uniformity",
    "choose_model",
    "clopper_pearson",
    "conditional_p_values",
    "excess",
    "exchangeability",
    "from_counts",
    "from_scores",
    "scan_thresholds",
    "tail_upper_bound",
    "weighted_from_histogram",
    "weighted_from_scores",
]
