"""Showers for given particles, in parts of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from darkop_dist.errors import InputValueError
from darkop_dist.operators.calorimeter.checkpoint import CalorimeterCheckpoint, load_checkpoint
from darkop_dist.operators.calorimeter.generation import draw_showers
from darkop_dist.operators.calorimeter.noise import DrawnNoise
from darkop_dist.operators.calorimeter.refinement import refine
from darkop_dist.operators.calorimeter.training import PHOTON
from darkop_dist.operators.showers.sample import Showers, VoxelGeometry, join

BATCH = 256

SLACK = 0.01
"""How far incident energies may lie beyond those of the training, as a share: its ends are those of a sample."""


def generate_showers(
    checkpoint: CalorimeterCheckpoint | str | Path,
    incident_mev: npt.ArrayLike,
    particle: str = "e-",
    *,
    seed: int = 0,
    finer: tuple[int, int] = (1, 1),
) -> Showers:
    """Generate one shower for every incident energy, all in memory.

    Args:
        checkpoint: the operator, its packaged name or its directory.
        incident_mev: incident energies in MeV, shape (showers,).
        particle: ``e-`` or ``gamma``, one that the checkpoint was trained on.
        seed: of all random numbers.
        finer: parts of each voxel in azimuth and in radius; (3, 2) makes 45 x 48 x 18 voxels of 45 x 16 x 9.

    Raises:
        InputValueError: the particle is not one of the checkpoint's, or an energy lies outside of its training.
        UnknownNameError: there is no such checkpoint.
    """
    trained = checkpoint if isinstance(checkpoint, CalorimeterCheckpoint) else load_checkpoint(checkpoint)
    return join(list(shower_batches(trained, incident_mev, particle, seed=seed, finer=finer)))


def shower_batches(
    checkpoint: CalorimeterCheckpoint,
    incident_mev: npt.ArrayLike,
    particle: str = "e-",
    *,
    seed: int = 0,
    finer: tuple[int, int] = (1, 1),
    batch: int = BATCH,
) -> Iterator[Showers]:
    """Generate one shower for every incident energy.

    Args:
        checkpoint: the operator.
        incident_mev: incident energies in MeV, shape (showers,).
        particle: ``e-`` or ``gamma``, one that the checkpoint was trained on.
        seed: of all random numbers.
        finer: parts of each voxel in azimuth and in radius; (3, 2) makes 45 x 48 x 18 voxels of 45 x 16 x 9.
        batch: showers that are generated at once.

    Yields:
        Showers, ``batch`` at a time, in the order of the energies.

    Raises:
        InputValueError: the particle is not one of the checkpoint's, or an energy lies outside of its training.
    """
    card = checkpoint.card
    incident = np.atleast_1d(np.asarray(incident_mev, dtype=np.float32))
    _check(card.particles, card.incident_mev, particle, incident)
    settings = card.settings
    geometry = VoxelGeometry(
        settings.layers, settings.azimuths * finer[0], settings.radii * finer[1], settings.radius_mm
    )
    noise, rng = DrawnNoise.seeded(seed), np.random.default_rng([seed, 1])
    for start in range(0, len(incident), batch):
        part = incident[start : start + batch]
        photon = torch.full((len(part),), float(particle == PHOTON))
        drawn = draw_showers(checkpoint.operator, torch.from_numpy(part), photon, noise)
        if finer == (1, 1):
            energies = drawn.energy.transpose(2, 3).flatten(1).numpy()
        else:
            energies = refine(
                drawn, azimuths=finer[0], radii=finer[1], threshold_mev=settings.threshold_mev, rng=rng
            ).reshape(len(part), -1)
        yield Showers(part, energies, geometry)


def _check(
    particles: tuple[str, ...], trained: tuple[float, float], particle: str, incident: npt.NDArray[np.float32]
) -> None:
    if particle not in particles:
        raise InputValueError("particle", f"{particle!r}", f"The checkpoint makes {', '.join(particles)}")
    outside = ~((incident >= trained[0] * (1.0 - SLACK)) & (incident <= trained[1] * (1.0 + SLACK)))
    if outside.any():
        raise InputValueError(
            "incident energy",
            f"{incident[outside][0]:g} MeV",
            f"The checkpoint was trained on {trained[0]:.6g} to {trained[1]:.6g} MeV; ask for energies in between",
        )
