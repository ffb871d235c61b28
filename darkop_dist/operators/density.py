"""A density model for flat columns: a Gaussian mixture, and minus its log-density as the score.

The features are standardised and a mixture of full-covariance Gaussians is fitted by expectation maximisation
(scikit-learn). The score of an event with standardised features z is

    -log p(z),    p(z) = sum_j pi_j N(z; mu_j, (P_j P_j^T)^-1),

the density in standardised units: the Jacobian of the standardisation is a constant and left out. A density has no
meaning of its own under another choice of coordinates; the columns and their transforms are part of the model.

The fit is unweighted: EM knows no event weights, so the density is that of the generated or recorded events as they
come, not of the expected ones. Conformal p-values need only the order of the scores and stay valid all the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.errors import FitError, InputValueError

ARCHITECTURE = "gaussian-mixture"
SCORE = "-log density of the standardised features under a Gaussian mixture"

Array = npt.NDArray[np.float64]


class DensitySettings(BaseModel):
    """Settings of the mixture.

    Attributes:
        components: number of Gaussians.
        starts: independent starts of EM; the most likely fit is kept.
        iterations: most iterations of EM in each start.
        regularisation: added to the diagonal of each covariance, in standardised units.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: Annotated[int, Field(gt=0, le=256)] = 4
    starts: Annotated[int, Field(gt=0, le=64)] = 3
    iterations: Annotated[int, Field(gt=0, le=10_000)] = 500
    regularisation: Annotated[float, Field(gt=0)] = 1e-4


def fit_mixture(features: Array, settings: DensitySettings, seed: int) -> dict[str, Array]:
    """Standardise the features and fit the mixture.

    Args:
        features: shape (events, columns).
        settings: settings of the mixture.
        seed: seed of the starts.

    Returns:
        The weights of the model, by name: ``mean`` and ``deviation`` of shape (columns,), ``log_weights`` of shape
        (components,), ``centres`` of shape (components, columns), and ``precisions``, the Cholesky factors P_j of the
        precision matrices, of shape (components, columns, columns).

    Raises:
        InputValueError: a column is constant or there are fewer events than components.
        FitError: EM did not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    constant = np.flatnonzero(deviation <= 1e-9 * np.maximum(1.0, np.abs(mean)))
    if constant.size:
        raise InputValueError(f"column {constant[0]}", "it is constant in the training events", "Leave it out")
    if len(features) < settings.components:
        raise InputValueError(
            "training sample", f"{len(features)} events for {settings.components} components", "Use fewer components"
        )
    mixture = GaussianMixture(
        n_components=settings.components,
        n_init=settings.starts,
        max_iter=settings.iterations,
        reg_covar=settings.regularisation,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # becomes the FitError below
        mixture.fit((features - mean) / deviation)
    if not mixture.converged_:
        raise FitError(
            f"Gaussian mixture: EM did not converge in {settings.iterations} iterations. "
            f"Allow more iterations or use fewer than {settings.components} components"
        )
    return {
        "mean": mean,
        "deviation": deviation,
        "log_weights": np.log(np.asarray(mixture.weights_)),
        "centres": np.asarray(mixture.means_),
        "precisions": np.asarray(mixture.precisions_cholesky_),
    }


def weight_shapes(settings: DensitySettings, columns: int) -> dict[str, tuple[int, ...]]:
    """Shape of every weight, by name."""
    components = settings.components
    return {
        "mean": (columns,),
        "deviation": (columns,),
        "log_weights": (components,),
        "centres": (components, columns),
        "precisions": (components, columns, columns),
    }


def score_mixture(features: npt.NDArray[np.float32], weights: Mapping[str, Array]) -> npt.NDArray[np.float32]:
    """Minus the log-density of each event, computed in float64.

    Sums run over columns and components in a fixed order, one event at a time, so that the score of an event does not
    depend on the events beside it.

    Args:
        features: shape (events, columns).
        weights: as `fit_mixture` returns them.

    Returns:
        Shape (events,).
    """
    standard = (features.astype(np.float64) - weights["mean"]) / weights["deviation"]
    columns = standard.shape[1]
    terms = np.empty((len(weights["centres"]), len(standard)))
    for j, (centre, factor) in enumerate(zip(weights["centres"], weights["precisions"], strict=True)):
        away = standard - centre
        distance = np.zeros(len(standard))
        for column in range(columns):
            projected = np.zeros(len(standard))
            for row in range(columns):
                projected += away[:, row] * factor[row, column]
            distance += projected * projected
        log_norm = np.log(np.diag(factor)).sum() - 0.5 * columns * np.log(2.0 * np.pi)
        terms[j] = weights["log_weights"][j] + log_norm - 0.5 * distance
    largest = terms.max(axis=0)
    total = np.zeros(len(standard))
    for term in terms:
        total += np.exp(term - largest)
    score: npt.NDArray[np.float32] = (-(largest + np.log(total))).astype(np.float32)
    return score
