"""Samples for those who bring none: a few crossings in the package, and zero bias that is made once and kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from darkop_dist.runs import cache_directory
from darkop_dist.trigger.sample import Level1Sample, read_sample, write_sample
from darkop_dist.trigger.simulate import Pileup, simulate_zero_bias

logger = logging.getLogger(__name__)

CROSSINGS, LEAST, SEED = 100_000, 8000, 2
SOFT, HARD = 20_000, 10_000


def few_crossings() -> Level1Sample:
    """512 crossings with 55.9 collisions each, 64 of each stratum: enough to compare bits, far too few for a rate."""
    return read_sample(Path(__file__).with_name("few_crossings.parquet"))


def standard_zero_bias(mean_collisions: float, say: Callable[[str], None] = logger.warning) -> Level1Sample:
    """Zero bias at a pile-up, as ``darkop trigger sample`` makes it; the first call takes some twenty minutes.

    Args:
        mean_collisions: mean number of inelastic collisions in a crossing, rounded to a tenth.
        say: told before it is made.

    Returns:
        100 000 crossings and at least 8000 in each stratum, from the user's cache.
    """
    cache, mean = cache_directory(), round(mean_collisions, 1)
    kept = cache / f"zero-bias-{mean:g}-{CROSSINGS}-{LEAST}-{SOFT}-{HARD}-seed-{SEED}.parquet"
    if not kept.is_file():
        say(
            f"zero bias with {mean:g} collisions a crossing is simulated once and kept in {cache}; this takes some "
            "twenty minutes. Give a sample of darkop trigger sample to have it otherwise"
        )
        pileup = Pileup(cache, SOFT, HARD, workers=os.cpu_count() or 1)
        made = simulate_zero_bias(pileup, mean, crossings=CROSSINGS, least=LEAST, seed=SEED)
        write_sample(made, kept, overwrite=True)
    return read_sample(kept)
