"""Calorimeter showers and the voxels that they are recorded in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError

Floats = npt.NDArray[np.float32]

RADIUS_MM = 41.85
"""Outer radius of the voxels of CaloChallenge datasets 2 and 3 (their ``binning_dataset_2.xml``)."""

SAMPLING_FRACTION = 0.033
"""What the CaloChallenge divides the energy in silicon by in datasets 2 and 3 (its ``evaluate.py``)."""

READOUT_MEV = 0.5e-3 / SAMPLING_FRACTION
"""Least energy of a voxel of datasets 2 and 3 after that division: 0.5 keV in silicon (its ``evaluate.py``)."""


@dataclass(frozen=True)
class VoxelGeometry:
    """Voxels on a cylinder around the direction of the particle: equal bins in depth, azimuth and radius.

    Voxels are numbered in C order (layer, azimuth, radius), as in CaloChallenge files.

    Attributes:
        layers: bins along the particle's direction.
        azimuths: bins in the angle alpha, which begins at -pi.
        radii: bins in the distance from the axis, which begins at 0.
        radius_mm: the outer radius.
    """

    layers: int
    azimuths: int
    radii: int
    radius_mm: float = RADIUS_MM

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return self.layers * self.azimuths * self.radii

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, azimuths, radii."""
        return self.layers, self.azimuths, self.radii

    def centres_mm(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Centres of the voxels of one layer, r cos(alpha) and r sin(alpha) in mm; each of shape (azimuths * radii,).

        The CaloChallenge calls them eta and phi (``SetEtaAndPhiFromPolar`` in its ``XMLHandler.py``).
        """
        alpha = -np.pi + 2 * np.pi * (np.arange(self.azimuths) + 0.5) / self.azimuths
        r = self.radius_mm * (np.arange(self.radii) + 0.5) / self.radii
        return np.outer(np.cos(alpha), r).ravel(), np.outer(np.sin(alpha), r).ravel()


DATASET_2 = VoxelGeometry(45, 16, 9)
DATASET_3 = VoxelGeometry(45, 50, 18)
FINE = VoxelGeometry(45, 48, 18)
KNOWN_GEOMETRIES = (DATASET_2, DATASET_3, FINE)


@dataclass(frozen=True)
class Showers:
    """Showers of single particles.

    Attributes:
        incident_energies: energy of the particle in MeV; shape (showers,).
        energies: energy in each voxel in MeV; shape (showers, voxels), C order (layer, azimuth, radius).
        geometry: the voxels.
        columns: further numbers of each shower by name, such as ``cpu_s``; each of shape (showers,).
    """

    incident_energies: Floats
    energies: Floats
    geometry: VoxelGeometry
    columns: dict[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.incident_energies)
        if self.energies.shape != (count, self.geometry.voxels) or self.incident_energies.ndim != 1:
            raise InputValueError(
                "showers",
                f"energies of shape {self.energies.shape} for {count} particles and {self.geometry.voxels} voxels",
                "Give one row per particle and one column per voxel",
            )
        for name, column in self.columns.items():
            if column.shape != (count,):
                raise InputValueError(name, f"shape {column.shape} for {count} showers", "Give one number per shower")

    def __len__(self) -> int:
        return len(self.incident_energies)

    def __getitem__(self, chosen: slice) -> Showers:
        columns = {name: column[chosen] for name, column in self.columns.items()}
        return replace(
            self,
            incident_energies=self.incident_energies[chosen],
            energies=self.energies[chosen],
            columns=columns,
        )


def coarsen(showers: Showers, *, azimuths: int = 3, radii: int = 2) -> Showers:
    """Sum neighbouring voxels: 45 x 48 x 18 voxels become the 45 x 16 x 9 of dataset 2.

    Args:
        showers: showers in fine voxels.
        azimuths: neighbours in azimuth that become one.
        radii: neighbours in radius that become one.

    Raises:
        InputValueError: the bins cannot be grouped so.
    """
    fine = showers.geometry
    if azimuths < 1 or radii < 1 or fine.azimuths % azimuths or fine.radii % radii:
        raise InputValueError(
            "showers",
            f"{fine.azimuths} x {fine.radii} bins do not make groups of {azimuths} x {radii}",
            "Use factors that divide the numbers of bins",
        )
    coarse = replace(fine, azimuths=fine.azimuths // azimuths, radii=fine.radii // radii)
    grouped = showers.energies.reshape(-1, fine.layers, coarse.azimuths, azimuths, coarse.radii, radii)
    energies = grouped.sum(axis=(3, 5), dtype=np.float64).astype(np.float32)
    return replace(showers, energies=energies.reshape(len(showers), -1), geometry=coarse)


def as_read_out(showers: Showers, *, sampling_fraction: float, threshold_mev: float) -> Showers:
    """Energies as the CaloChallenge publishes them: divided by the sampling fraction, small voxels set to zero.

    Args:
        showers: showers as simulated or generated.
        sampling_fraction: what the energies are divided by; 1 for showers that are calibrated already.
        threshold_mev: least energy of a voxel after the division, in MeV.
    """
    energies = showers.energies / np.float32(sampling_fraction)
    energies[energies < threshold_mev] = 0.0
    return replace(showers, energies=energies)


def join(parts: Sequence[Showers]) -> Showers:
    """Showers of several parts in one; columns that not all parts have are dropped.

    Raises:
        InputValueError: there is no part, or the parts have different voxels.
    """
    if len({part.geometry for part in parts}) != 1:
        raise InputValueError("showers", "parts with different voxels, or none", "Join showers of one geometry")
    names = [name for name in parts[0].columns if all(name in part.columns for part in parts)]
    return Showers(
        np.concatenate([part.incident_energies for part in parts]),
        np.concatenate([part.energies for part in parts]),
        parts[0].geometry,
        {name: np.concatenate([part.columns[name] for part in parts]) for name in names},
    )
