"""Samples for the trigger, from generator to file: zero bias in strata, and signals with pile-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkop_dist.errors import InputValueError
from darkop_dist.generation.collisions import Slice, SliceRequest, load_slices, reduce_particles, slice_requests
from darkop_dist.generation.process import load_process, pythia_lines
from darkop_dist.generation.pythia_run import PartRequest, pythia_seed
from darkop_dist.generation.truth import generate_truth
from darkop_dist.trigger.crossings import draw_crossings, lay_over
from darkop_dist.trigger.sample import Level1Sample, SampleAbout, versions

ENERGY_TEV = 13.0


@dataclass(frozen=True)
class Pileup:
    """The collisions that crossings are made of.

    Attributes:
        cache: directory for generated files.
        soft: different soft collisions.
        hard: different collisions in each hard slice.
        workers: processes that generate.
        seed: of the collisions; samples share no collision if theirs differ.
        progress: called after each slice that was generated.
    """

    cache: Path
    soft: int = 20_000
    hard: int = 10_000
    workers: int = 1
    seed: int = 0
    progress: Callable[[SliceRequest], None] | None = None

    def slices(self) -> tuple[Slice, ...]:
        """The slices, generated if the cache lacks them."""
        requests = slice_requests(self.soft, self.hard, self.seed)
        return load_slices(requests, self.cache, workers=self.workers, progress=self.progress)


def simulate_zero_bias(
    pileup: Pileup,
    mean_collisions: float,
    *,
    crossings: int,
    least: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Level1Sample:
    """Zero-bias crossings; see `crossings.draw_crossings`.

    Args:
        pileup: the collisions.
        mean_collisions: mu.
        crossings: of zero bias without strata.
        least: crossings in each stratum at least.
        seed: of the random numbers.
        progress: told how many of how many crossings are done.
    """
    slices = pileup.slices()
    made = draw_crossings(slices, mean_collisions, crossings, least, np.random.default_rng(seed), progress)
    return Level1Sample(_about("zero-bias", "zero bias", mean_collisions, slices, seed, pileup.seed), made)


def simulate_signal(
    pileup: Pileup,
    mean_collisions: float,
    process: str,
    settings: Mapping[str, float | int | str],
    *,
    events: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Level1Sample:
    """Events of a process with pile-up.

    Args:
        pileup: the collisions beside it.
        mean_collisions: mu.
        process: as ``darkop generate`` knows it.
        settings: of its parameters.
        events: how many.
        seed: of the random numbers.
        progress: told how many of how many crossings are done.

    Raises:
        UnknownNameError: there is no such process or parameter.
        InputValueError: a parameter is out of range, or no events are asked for.
        RunError: Pythia does not start or keeps failing.
    """
    if events < 1:
        raise InputValueError("events", f"{events} of {process}", "Ask for one or more")
    known = load_process(process)
    numbers, overlay = np.random.SeedSequence(seed).spawn(2)
    request = PartRequest(
        process,
        pythia_lines(known, settings),
        own_matrix_elements=known.matrix_elements != "pythia",
        seed=pythia_seed(numbers),
        events=events,
    )
    hard = reduce_particles(generate_truth(request).particles)
    slices = pileup.slices()
    made = lay_over(hard, slices, mean_collisions, np.random.default_rng(overlay), progress)
    name = process + "".join(f" {key}={value}" for key, value in sorted(settings.items()))
    return Level1Sample(_about("signal", name, mean_collisions, slices, seed, pileup.seed), made)


def _about(
    kind: str, process: str, mean_collisions: float, slices: tuple[Slice, ...], seed: int, collisions_seed: int
) -> SampleAbout:
    return SampleAbout.model_validate(
        {
            "kind": kind,
            "process": process,
            "mean_collisions": mean_collisions,
            "energy_tev": ENERGY_TEV,
            "slices_mb": [piece.xsec_mb for piece in slices],
            "slice_collisions": [len(piece.particles) for piece in slices],
            "seed": seed,
            "collisions_seed": collisions_seed,
            "created_with": versions(),
        }
    )
