"""One part of a sample, from its seed to its columns. Runs in a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from darkop_dist.generation.card import load_card
from darkop_dist.generation.lhe import variation_column
from darkop_dist.generation.normalisation import PartNormalisation
from darkop_dist.generation.pileup import load_pool, overlay
from darkop_dist.generation.plan import PartPlan
from darkop_dist.generation.pythia_run import PartRequest, pythia_seed
from darkop_dist.generation.reconstruct import reconstruct
from darkop_dist.generation.truth import generate_truth
from darkop_dist.runs import cache_directory


@dataclass(frozen=True)
class Part:
    """A part that is done.

    Attributes:
        columns: see `reconstruct.reconstruct`.
        normalisation: sums of weights and cross section.
    """

    columns: dict[str, Any]
    normalisation: PartNormalisation


def make_part(plan: PartPlan) -> Part:
    """Generate and measure one part; the result depends on the plan alone.

    Raises:
        RunError: Pythia does not start or keeps failing events.
        InputValueError: the parameters describe no particle.
    """
    _, for_response = _seeds(plan)
    measurement, rng = plan.measurement, np.random.default_rng(for_response)
    card, truth = load_card(measurement.response), generate_truth(request_of(plan))
    if measurement.pileup is not None:
        pool = load_pool(measurement.pileup.pool_events, cache_directory())
        truth = overlay(truth, measurement.pileup, pool, beam_spot_mm=card.beam_spot_mm, rng=rng)
    columns = reconstruct(truth, card, rng, candidates=measurement.candidates)
    columns |= {variation_column(name): values for name, values in truth.variations.items()}
    normalisation = PartNormalisation(
        events=len(truth.weights),
        sum_weights=float(np.sum(truth.weights)),
        sum_weights2=float(np.sum(truth.weights**2)),
        tried=truth.cross_section.tried,
        xsec_pb=truth.cross_section.pb,
        xsec_error_pb=truth.cross_section.error_pb,
        failed=truth.cross_section.failed,
    )
    return Part(columns, normalisation)


def request_of(plan: PartPlan) -> PartRequest:
    """What Pythia is asked for."""
    for_pythia, _ = _seeds(plan)
    return PartRequest(
        process=plan.process,
        lines=plan.lines,
        own_matrix_elements=plan.own_matrix_elements,
        seed=pythia_seed(for_pythia),
        events=plan.events,
        lhe=plan.lhe,
    )


def _seeds(plan: PartPlan) -> tuple[np.random.SeedSequence, np.random.SeedSequence]:
    """For Pythia and for the response: leaves of one tree, that no two parts or samples share."""
    for_pythia, for_response = np.random.SeedSequence(plan.entropy, spawn_key=(plan.index,)).spawn(2)
    return for_pythia, for_response
