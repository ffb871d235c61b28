"""Fits show what pulls them and whether the model describes the data."""

from __future__ import annotations

import copy
from collections.abc import Callable

import cabinetry
import hist
import numpy as np
import pytest

from darkop_dist.limits import FitResult, FitSample, Workspace, build_workspace, fit
from darkop_dist.limits.backend import numpy_backend

Filled = dict[tuple[str, str, str], list[float]]
Book = Callable[..., hist.Hist]


def built(histogram: hist.Hist, samples: list[FitSample]) -> Workspace:
    return build_workspace(
        histogram,
        samples,
        signal="zprime",
        regions=["signal"],
        systematics=["jes"],
        normalisation={"top": 0.1, "multijet": 0.1},
    )


def pull(result: FitResult, name: str) -> float:
    found = next(parameter for parameter in result.parameters if parameter.name == name)
    assert found.pull is not None
    return found.pull


def test_good_data_fit_well(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    result = fit(built(booked(filled, weight=0.05), samples), hypothesis="background-only")
    assert result.goodness.p_value is not None
    assert result.goodness.p_value > 0.2
    assert result.goodness.ndof == 4
    assert result.mu_hat == 0.0
    names = [parameter.name for parameter in result.parameters]
    assert {"mu", "jes", "top_normalisation", "mc_statistics_signal[0]"} <= set(names)
    assert all(abs(p.pull) < 1.5 for p in result.parameters if p.pull is not None)
    matrix = np.array(result.correlation)
    free = [i for i, parameter in enumerate(result.parameters) if parameter.uncertainty > 0]
    assert np.diag(matrix)[free] == pytest.approx(1.0)
    assert matrix == pytest.approx(matrix.T)


def test_agrees_with_cabinetry(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    """Minuit stops within an estimated distance of 2e-4, ours at 1e-10.

    Its bounds on mu are taken away: near a bound Minuit's transformed variable gives 1.29 and not 1.00 for the error.
    """
    workspace = built(booked(filled), samples)
    ours = fit(workspace, hypothesis="signal+background")
    spec = copy.deepcopy(workspace.spec)
    spec["measurements"][0]["config"]["parameters"][0]["bounds"] = [[-5.0, 20.0]]
    with numpy_backend():
        model, data = cabinetry.model_utils.model_and_data(spec)
        theirs = cabinetry.fit.fit(model, data, goodness_of_fit=True)
    assert ours.twice_nll == pytest.approx(theirs.best_twice_nll, abs=1e-3)
    assert ours.goodness.p_value == pytest.approx(theirs.goodness_of_fit, abs=1e-3)
    assert sorted(parameter.name for parameter in ours.parameters) == sorted(theirs.labels)
    by_name = {parameter.name: parameter for parameter in ours.parameters}
    for name, value, error in zip(theirs.labels, theirs.bestfit, theirs.uncertainty, strict=True):
        assert by_name[name].bestfit == pytest.approx(value, abs=0.03 * max(error, 1e-9))
        assert by_name[name].uncertainty == pytest.approx(error, rel=0.02)


def test_yields_before_and_after(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    result = fit(built(booked(filled), samples), hypothesis="signal+background")
    before, after = result.prefit[0], result.postfit[0]
    assert before.total == pytest.approx([100, 50, 20, 12])
    assert before.backgrounds["top"] == pytest.approx([40, 20, 10, 6])
    assert before.signal == pytest.approx([0.5, 1, 6, 2.5])
    assert before.observed == (98, 52, 21, 13)
    assert before.edges == (0, 1, 2, 3, 4)
    # first bin: 10% of 60 and of 40, statistics sqrt(0.5 * 100), jes symmetrised (38 - 41) / 2
    assert before.total_uncertainty[0] == pytest.approx(np.sqrt(6**2 + 4**2 + 50 + 1.5**2), rel=0.01)
    assert after.signal == pytest.approx([result.mu_hat * s for s in before.signal], rel=0.2)
    summed = np.sum([*after.backgrounds.values(), after.signal], axis=0)
    assert after.total == pytest.approx(summed)
    without_signal = fit(built(booked(filled), samples), hypothesis="background-only")
    assert without_signal.prefit == result.prefit
    assert np.all(np.array(without_signal.postfit[0].total_uncertainty) < before.total_uncertainty)


def test_shape_systematic_is_pulled_by_its_own_shape(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    """Data generated with the upward variation pull jes up."""
    filled[("ttbar", "signal", "nominal")] = [0, 4000, 2000, 1000, 500, 100]
    filled[("ttbar", "signal", "jes_up")] = [0, 3800, 2200, 1300, 700, 150]
    filled[("ttbar", "signal", "jes_down")] = [0, 4200, 1800, 700, 300, 50]
    filled[("data", "signal", "nominal")] = [0, 3860, 2230, 1310, 705, 151]
    result = fit(built(booked(filled), samples), hypothesis="background-only")
    assert pull(result, "jes") == pytest.approx(1.0, abs=0.3)


def test_data_far_below_the_simulation_are_not_hidden(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    """Half of the expected events: bad goodness of fit, normalisations pulled down, no signal."""
    filled[("data", "signal", "nominal")] = [0, 50, 25, 10, 5, 1]
    workspace = built(booked(filled, weight=0.05), samples)
    background = fit(workspace, hypothesis="background-only")
    assert background.goodness.p_value is not None
    assert background.goodness.p_value < 1e-3
    assert pull(background, "top_normalisation") < -1
    assert pull(background, "multijet_normalisation") < -1
    signal = fit(workspace, hypothesis="signal+background")
    assert signal.mu_hat == pytest.approx(0.0, abs=0.2)
    assert next(p for p in signal.parameters if p.name == "mu").at_bound


def test_strengths_of_any_size(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    """A signal a thousand times larger has a thousandth of the strength."""
    filled[("data", "signal", "nominal")] = [0, 99, 52, 27, 13, 3]
    histogram = booked(filled)
    larger = [FitSample(s.name, s.datasets, (1000.0,), s.role, s.label) if s.role == "signal" else s for s in samples]
    one = fit(built(histogram, samples), hypothesis="signal+background")
    thousandth = fit(built(histogram, larger), hypothesis="signal+background")
    assert one.mu_hat > 0.2
    assert thousandth.mu_hat == pytest.approx(one.mu_hat / 1000, rel=0.01)
    assert thousandth.mu_hat_uncertainty == pytest.approx(one.mu_hat_uncertainty / 1000, rel=0.03)


def test_bins_without_events_are_no_degrees_of_freedom() -> None:
    """Two bins that hold something, a thousand that cannot: chi-square with two degrees of freedom."""
    signal = {
        "name": "s",
        "data": [1.0, 1.0] + [0.0] * 1000,
        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
    }
    spec = {
        "channels": [
            {"name": "c", "samples": [{"name": "b", "data": [100.0, 100.0] + [0.0] * 1000, "modifiers": []}, signal]}
        ],
        "observations": [{"name": "c", "data": [120.0, 80.0] + [0.0] * 1000}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    goodness = fit(Workspace("s", spec, "data"), hypothesis="background-only").goodness
    assert goodness.ndof == 2
    assert goodness.p_value == pytest.approx(np.exp(-goodness.chi2 / 2), rel=1e-9)


def test_a_fit_without_a_free_parameter(counting: Callable[[float, float, float], Workspace]) -> None:
    """A counting experiment without signal has nothing to fit: it crashed."""
    result = fit(counting(5.0, 50.0, 53.0), hypothesis="background-only")
    assert (result.mu_hat, result.mu_hat_uncertainty) == (0.0, 0.0)
    assert result.postfit[0].total == (50.0,)
    assert result.postfit[0].total_uncertainty == (0.0,)
