"""Separation powers of histograms of shower features, with the binning of the CaloChallenge.

Source: ``_separation_power`` and the ``plot_*`` functions of the challenge's public
``code/evaluate_plotting_helper.py`` (arXiv:2410.21611), which name eq. 15 of arXiv:2009.03796:
S = 1/2 sum_i (p_i - q_i)^2 / (p_i + q_i) over histograms that each sum to one; 0 for equal ones, 1 for disjoint ones.
Values outside the bins are left out before the histogram is normalised, as ``density=True`` does there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.operators.showers.features import ShowerFeatures
from darkop_dist.operators.showers.sample import READOUT_MEV, Showers

Floats = npt.NDArray[np.float64]

RATIO_EDGES = np.linspace(0.5, 1.5, 101)
CENTRE_EDGES_MM = np.linspace(-30.0, 30.0, 101)
WIDTH_EDGES_MM = np.linspace(0.0, 30.0, 101)
SPARSITY_EDGES = np.linspace(0.0, 1.0, 20)
"""The challenge's helper has no histogram of the sparsity: these are the edges of later code of its participants."""

LAYER_POINTS, VOXEL_POINTS = 40, 50


def separation_power(counts: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """Separation power of two histograms of counts; arXiv:2009.03796, eq. 15.

    An empty histogram beside one that is not gives 1/2, as the formula does where all its bins are 0; two empty ones
    give 0.

    >>> separation_power([1, 1], [2, 2]), separation_power([1, 0], [0, 1])
    (0.0, 1.0)
    """
    p, q = (np.asarray(one, dtype=np.float64) for one in (counts, others))
    p, q = p / max(p.sum(), 1e-300), q / max(q.sum(), 1e-300)
    return float(0.5 * ((p - q) ** 2 / (p + q + 1e-16)).sum())


def log_edges(reference_max: float, points: int) -> Floats:
    """Edges from the least readout, 0.5 keV / 0.033, to the largest value of the reference in MeV, even in log10.

    A reference that stays below the least readout has its one decade above it, where the challenge has no bins.
    """
    top = reference_max if reference_max > READOUT_MEV else 10.0 * READOUT_MEV
    return np.logspace(np.log10(READOUT_MEV), np.log10(top), points)


def layer_separations(generated: ShowerFeatures, reference: ShowerFeatures) -> dict[str, tuple[float, ...]]:
    """Separation powers of each layer, by feature: energy, centres, widths and sparsity."""
    found: dict[str, tuple[float, ...]] = {}
    for name, edges in (
        ("layer_mev", None),
        ("centre_eta_mm", CENTRE_EDGES_MM),
        ("centre_phi_mm", CENTRE_EDGES_MM),
        ("width_eta_mm", WIDTH_EDGES_MM),
        ("width_phi_mm", WIDTH_EDGES_MM),
        ("sparsity", SPARSITY_EDGES),
    ):
        ours, theirs = getattr(generated, name).T, getattr(reference, name).T
        found[name] = tuple(
            _separation(a, b, log_edges(float(b.max()), LAYER_POINTS) if edges is None else edges)
            for a, b in zip(ours, theirs, strict=True)
        )
    return found


def total_separation(generated: ShowerFeatures, reference: ShowerFeatures) -> float:
    """Separation power of the total energy over that of the particle, 100 bins from 0.5 to 1.5."""
    return _separation(generated.total_over_incident, reference.total_over_incident, RATIO_EDGES)


def voxel_separation(generated: Showers, reference: Showers) -> float:
    """Separation power of the energies of all voxels of all layers."""
    return _separation(generated.energies, reference.energies, log_edges(float(reference.energies.max()), VOXEL_POINTS))


def _separation(ours: npt.NDArray[Any], theirs: npt.NDArray[Any], edges: Floats) -> float:
    return separation_power(_counts(ours, edges), _counts(theirs, edges))


def _counts(values: npt.NDArray[Any], edges: Floats) -> npt.NDArray[np.int64]:
    return np.histogram(values[values >= edges[0]], bins=edges)[0]
