from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from darkop_dist.generation.spectrum import breit_wigner, compared, expecting, histogram


def test_an_expectation_has_as_many_entries_and_integrals_of_the_density_in_the_bins() -> None:
    spectrum = histogram("x", "x", "x", np.random.default_rng(1).exponential(1.0, 5000), np.linspace(0, 8, 17))
    found = expecting(spectrum, lambda x: np.exp(-x), "exponential")
    assert found.expected.sum() == pytest.approx(spectrum.values.sum())
    assert found.expected / found.expected[0] == pytest.approx(np.exp(-spectrum.edges[:-1]), rel=1e-3)
    assert spectrum.entries == spectrum.values.sum() < 5000  # some lie outside


def test_the_verdict_tells_a_wrong_expectation_from_a_right_one() -> None:
    """The probability is uniform for the right one: below 0.001 in one of a thousand trials; 40 trials."""
    rng = np.random.default_rng(2)

    def probability(power: float) -> float:
        spectrum = histogram("x", "x", "x", rng.exponential(1.0, 1000), np.linspace(0, 6, 25))
        verdict = expecting(spectrum, lambda x: np.exp(-power * x), "exponential").verdict
        return float(verdict.rpartition("= ")[2])

    right = [probability(1.0) for _ in range(40)]
    assert min(right) > 1e-3
    assert 0.3 < np.mean(right) < 0.7
    assert max(probability(1.3) for _ in range(5)) < 1e-3


def test_bins_of_few_entries_are_joined() -> None:
    spectrum = histogram("x", "x", "x", [0.5] * 12 + [1.5] * 4 + [2.5] * 2, [0, 1, 2, 3])
    found = expecting(spectrum, lambda x: np.where(x < 1, 12.0, 3.0), "steps")
    assert "for 1 bins" in found.verdict  # 12 alone, 4 + 2 together, less one for the total
    assert compared(found, fixed=False).verdict.count("chi-square") == 2


@pytest.mark.parametrize("running", [False, True])
def test_breit_wigners_peak_at_the_mass_with_the_width(*, running: bool) -> None:
    density = breit_wigner(91.2, 2.5, running=running)

    def at(mass: float) -> float:
        return float(density(np.array([mass]))[0])

    assert at(91.2 + 1.25) / at(91.2) == pytest.approx(0.5, rel=0.05)
    inside, _ = quad(at, 91.2 - 25, 91.2 + 25, limit=200)
    assert inside == pytest.approx(np.pi, rel=0.06)  # ten widths hold 94% and more
    assert (at(75.0) < 0.8 * at(107.4)) == running
