from __future__ import annotations

import numpy as np
import pythia8mc

from darkop_dist.generation.pythia_run import SEEDS, pythia_seed


def test_seeds_are_the_whole_range_that_pythia_takes() -> None:
    """Of 2000 uniform seeds one is below 1% of the range and one above 99%, but for a chance below 1e-7."""
    seeds = [pythia_seed(np.random.SeedSequence((5, index))) for index in range(2000)]
    assert 1 <= min(seeds) < 0.01 * SEEDS
    assert 0.99 * SEEDS < max(seeds) <= SEEDS
    pythia = pythia8mc.Pythia("", False)
    for asked, taken in ((SEEDS, SEEDS), (SEEDS + 1, SEEDS)):
        pythia.readString(f"Random:seed = {asked}", False)
        assert pythia.settings.mode("Random:seed") == taken


def test_a_seed_is_that_of_its_numbers() -> None:
    """Samples of earlier versions come again: the first word of the sequence, modulo the range."""
    for entropy in (0, 7, (3, 4_000_000_000)):
        word = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        assert pythia_seed(np.random.SeedSequence(entropy)) == word % 900_000_000 + 1
