"""A second opinion: pyhf's own likelihood at the parameters that were fitted here."""

from __future__ import annotations

import numpy as np
import pyhf

from darkop_dist.limits.backend import numpy_backend
from darkop_dist.limits.fit import FitResult
from darkop_dist.limits.workspace import INTERPOLATION, Workspace


def pyhf_difference(workspace: Workspace, fitted: FitResult) -> float | None:
    """Pyhf's -2 ln L at fitted parameters less ours; rounding if both read the workspace alike.

    Args:
        workspace: the model and the data.
        fitted: a fit of it.

    Returns:
        the difference, or None if pyhf cannot read the workspace (such as a staterror whose samples differ from
        channel to channel).
    """
    values = {parameter.name: parameter.bestfit for parameter in fitted.parameters}
    with numpy_backend():
        try:
            read = pyhf.Workspace(workspace.spec)
            model = read.model(modifier_settings=INTERPOLATION)
            point = [values[name] for name in model.config.par_names]
            theirs = -2.0 * float(np.asarray(model.logpdf(point, read.data(model))).item())
        except (AssertionError, KeyError, ValueError, pyhf.exceptions.InvalidModel):
            return None
    return theirs - fitted.twice_nll
