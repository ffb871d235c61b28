"""High-level features of calorimeter showers, as the CaloChallenge's evaluation defines them.

Source: arXiv:2410.21611 and the challenge's public ``code/HighLevelFeatures.py`` and ``code/evaluate.py``. What they
call eta and phi are the Cartesian coordinates r cos(alpha) and r sin(alpha) across the particle's direction, in mm.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from darkop_dist.operators.showers.sample import Showers

Table = npt.NDArray[np.float64]

TINY = 1e-16
"""MeV that are added to a layer's energy before a division by it, as in ``_calculate_EC``: an empty layer gives 0."""

ROWS = 1000


@dataclass(frozen=True)
class ShowerFeatures:
    """Features of showers; all but the first two have shape (showers, layers).

    Attributes:
        incident_mev: energy of the particle in MeV; shape (showers,).
        total_mev: energy in all voxels in MeV; shape (showers,).
        layer_mev: energy in each layer in MeV.
        centre_eta_mm: energy-weighted mean of r cos(alpha) in mm.
        centre_phi_mm: energy-weighted mean of r sin(alpha) in mm.
        width_eta_mm: energy-weighted standard deviation of r cos(alpha) in mm.
        width_phi_mm: energy-weighted standard deviation of r sin(alpha) in mm.
        sparsity: share of the layer's voxels without energy.
    """

    incident_mev: Table
    total_mev: Table
    layer_mev: Table
    centre_eta_mm: Table
    centre_phi_mm: Table
    width_eta_mm: Table
    width_phi_mm: Table
    sparsity: Table

    @property
    def total_over_incident(self) -> Table:
        """Energy in all voxels over that of the particle; shape (showers,)."""
        return self.total_mev / self.incident_mev

    def __getitem__(self, chosen: slice) -> ShowerFeatures:
        return ShowerFeatures(*(getattr(self, one.name)[chosen] for one in fields(self)))


def shower_features(showers: Showers) -> ShowerFeatures:
    """The features of each shower (``CalculateFeatures`` of the challenge), in double precision."""
    parts = [_features(showers[first : first + ROWS]) for first in range(0, max(len(showers), 1), ROWS)]
    return ShowerFeatures(
        *(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(ShowerFeatures))
    )


def classifier_features(features: ShowerFeatures) -> Table:
    """The high-level inputs of the challenge's classifier, FPD and KPD; shape (showers, 1 + 5 layers).

    log10 of the incident energy, log10 of (layer energy + 1e-8), then centres and widths over 100 mm, as
    ``prepare_high_data_for_classifier`` makes them: total energy and sparsity are not among them.
    """
    return np.concatenate(
        [
            np.log10(features.incident_mev)[:, None],
            np.log10(features.layer_mev + 1e-8),
            features.centre_eta_mm / 100.0,
            features.centre_phi_mm / 100.0,
            features.width_eta_mm / 100.0,
            features.width_phi_mm / 100.0,
        ],
        axis=1,
    )


def classifier_voxels(showers: Showers) -> npt.NDArray[np.float32]:
    """The low-level inputs of the challenge's classifier; shape (showers, 1 + voxels).

    log10 of the incident energy, then 100 times each voxel's energy over the incident energy, as
    ``prepare_low_data_for_classifier`` makes them; in single precision.
    """
    made = np.empty((len(showers), 1 + showers.geometry.voxels), dtype=np.float32)
    made[:, 0] = np.log10(showers.incident_energies)
    np.multiply(showers.energies, (100.0 / showers.incident_energies)[:, None], out=made[:, 1:])
    return made


def _features(showers: Showers) -> ShowerFeatures:
    geometry = showers.geometry
    voxels = showers.energies.reshape(len(showers), geometry.layers, -1).astype(np.float64)
    eta, phi = geometry.centres_mm()
    layer = voxels.sum(axis=2)
    moments = voxels @ np.stack([eta, phi, eta**2, phi**2], axis=1) / (layer + TINY)[:, :, None]
    centres = moments[:, :, :2]
    widths = np.sqrt((moments[:, :, 2:] - centres**2).clip(min=0.0))
    return ShowerFeatures(
        incident_mev=showers.incident_energies.astype(np.float64),
        total_mev=layer.sum(axis=1),
        layer_mev=layer,
        centre_eta_mm=centres[:, :, 0],
        centre_phi_mm=centres[:, :, 1],
        width_eta_mm=widths[:, :, 0],
        width_phi_mm=widths[:, :, 1],
        sparsity=1.0 - (voxels > 0.0).mean(axis=2),
    )
