from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from darkop_dist.generation.jet_calibration import calibrated
from darkop_dist.generation.jet_fit import core_of, fit_calibration
from darkop_dist.generation.published import JetResolution
from darkop_dist.generation.validation_events import MatchedJets

GOAL = JetResolution(
    title="test", source="", eta=(0.0, 5.0), parameters=((2.0, 0.8, 0.03, -1.0),), bins=(0.0, 1.0, 2.5), tolerance=0.1
)
NODES = (20.0, 40.0, 80.0, 160.0, 320.0)


def jets(seed: int, size: int = 40_000) -> MatchedJets:
    """Jets that lose some momentum and are 5% wide, with a tail."""
    rng = np.random.default_rng(seed)
    pt, eta = np.exp(rng.uniform(np.log(15), np.log(400), size)), rng.uniform(-2.5, 2.5, size)
    response = 1 - 1.5 / pt
    return MatchedJets(pt, eta, pt * response * (1 + 0.05 * rng.standard_normal(size)))


def test_the_core_of_a_gaussian_is_the_gaussian() -> None:
    """Mean within 4 sigma/sqrt(N), width within 3%; a tenth of the entries far away changes little."""
    rng = np.random.default_rng(1)
    values = rng.normal(1.0, 0.1, 20_000)
    assert core_of(values).mean == pytest.approx(1.0, abs=4 * 0.1 / np.sqrt(20_000))
    assert core_of(values).sigma == pytest.approx(0.1, rel=0.03)
    assert core_of(values).sigma_error < 0.001
    with_tail = np.concatenate([values, rng.uniform(0.0, 0.4, 2_000)])
    assert core_of(with_tail).sigma == pytest.approx(0.1, rel=0.03)
    assert np.std(with_tail) > 0.2


def test_the_uncertainty_of_the_core_is_its_spread() -> None:
    """Of 200 fits of 400 entries each; the spread of their widths is known to 5%."""
    cores = [core_of(np.random.default_rng(seed).normal(0, 1, 400)) for seed in range(200)]
    spread = np.std([core.sigma for core in cores])
    assert spread == pytest.approx(np.mean([core.sigma_error for core in cores]), rel=0.3)


def test_a_fitted_calibration_closes_on_other_jets() -> None:
    calibration = fit_calibration(jets(1), GOAL, NODES, np.random.default_rng(3), "test")
    other = jets(2)
    ratio = calibrated(other.measured, other.eta, calibration, np.random.default_rng(4)) * other.measured / other.pt
    for low, high in ((20, 30), (50, 70), (150, 250)):
        chosen = (other.pt > low) & (other.pt < high)
        core = core_of(ratio[chosen])
        assert core.mean == pytest.approx(1.0, abs=0.01)
        assert core.sigma == pytest.approx(
            float(np.sqrt(np.mean(GOAL.at(other.pt[chosen], other.eta[chosen]) ** 2))), rel=0.06
        )


def test_nothing_is_added_to_jets_that_are_wide_enough() -> None:
    wide = jets(1)
    wide = MatchedJets(wide.pt, wide.eta, wide.pt * np.random.default_rng(2).normal(1, 0.5, len(wide.pt)))
    calibration = fit_calibration(wide, GOAL, NODES, np.random.default_rng(3), "test")
    assert np.max(calibration.extra.values) < 0.2


def test_the_command_prints_what_a_card_takes() -> None:
    import tomllib

    command = [sys.executable, "-m", "darkop_dist.generation.jet_fit", "atlas", "--events", "60"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = tomllib.loads(out)["jet"]["calibration"]
    assert set(found) == {"source", "response", "extra"}
    assert len(found["extra"]["values"]) == len(found["extra"]["eta"]) - 1
