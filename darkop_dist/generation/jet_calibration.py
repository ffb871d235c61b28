"""The calibration of jets: mean response 1, and the resolution that the collaboration has published.

Jets of measured particles are too good: what a card leaves out (see its ``approximations``) is missing in them, and a
little of their momentum is lost. So a jet is divided by its mean response and multiplied by a Gaussian factor.
"""

from __future__ import annotations

import numpy as np

from darkop_dist.generation.card import Floats, JetCalibration

SMALLEST_FACTOR = 0.05


def _smearing(sigma: Floats, rng: np.random.Generator) -> Floats:
    """Gaussian factors around 1, as the experiments smear simulated jets; what would be negative is nearly lost."""
    return np.asarray(np.maximum(1 + sigma * rng.standard_normal(len(sigma)), SMALLEST_FACTOR))


def calibrated(pt: Floats, eta: Floats, calibration: JetCalibration, rng: np.random.Generator) -> Floats:
    """The factor by which the momentum of each measured jet is multiplied, shape (jets,).

    Args:
        pt: measured pt in GeV, before.
        eta: measured eta.
        calibration: of a card.
        rng: source of the noise, one number for each jet.
    """
    scale = 1 / calibration.response.at(pt, eta)
    return np.asarray(scale * _smearing(calibration.extra.at(pt * scale, eta), rng))
