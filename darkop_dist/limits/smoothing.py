"""Smoothing of a systematic's varied template, for variations whose simulated events differ from the nominal ones.

Such a variation fluctuates by itself, and the fit takes the fluctuations for a shape that data can constrain. It is off
by default: smoothing can also remove a real effect of a single bin, such as an edge or a resonance.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from darkop_dist.limits.samples import Floats

Smoothing = Literal["353QH"]
FEWEST_BINS = 3


def smooth_variation(nominal: Floats, varied: Floats) -> Floats | None:
    """The varied template with a smooth ratio to the nominal one, and its own number of events.

    The ratio goes twice through running medians of 3, 5 and 3 bins, quadratic interpolation and running means (353QH,
    twice; J. Friedman, CERN 74-23, p. 292), by cabinetry, as ROOT's ``TH1::Smooth`` does. The algorithm knows nothing
    of the bins' uncertainties or widths. Bins without nominal events take no part and stay.

    Args:
        nominal: expected events, shape (bins,).
        varied: expected events of the variation, none negative, shape (bins,).

    Returns:
        Expected events, shape (bins,); None with fewer than three bins to smooth.
    """
    from cabinetry.smooth import smooth_353qh_twice

    used = nominal > 0
    if used.sum() < FEWEST_BINS:
        return None
    smooth = smooth_353qh_twice(varied[used] / nominal[used]) * nominal[used]
    if smooth.sum() <= 0:
        return None
    result = np.array(varied, dtype=np.float64)
    result[used] = smooth * (varied[used].sum() / smooth.sum())
    return result
