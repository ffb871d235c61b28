"""Free normalisations, uncertainties bin by bin, the luminosity's two forms and smoothing, as pyhf evaluates them."""

from __future__ import annotations

from collections.abc import Callable

import hist
import numpy as np
import pytest
from cabinetry.histo import Histogram
from cabinetry.templates.postprocessor import _apply_353qh_twice

from darkop_dist.errors import StatisticsError, UnknownNameError
from darkop_dist.limits import BinUncertainty, FitSample, FreeNormalisation, build_workspace, fit
from darkop_dist.limits.smoothing import smooth_variation

Filled = dict[tuple[str, str, str], list[float]]
Book = Callable[..., hist.Hist]
Expected = Callable[..., dict[str, np.ndarray]]

TOP = np.array([40.0, 20.0, 10.0, 6.0])
MULTIJET = np.array([60.0, 30.0, 10.0, 6.0])
SEARCH = {"signal": "zprime", "regions": ["signal"]}


def two_regions(filled: Filled) -> Filled:
    control = {("data", "control", "nominal"): [0, 300, 200, 100, 50, 0]}
    control[("ttbar", "control", "nominal")] = [0, 250, 150, 80, 40, 0]
    control[("qcd", "control", "nominal")] = [0, 10, 10, 5, 5, 0]
    return filled | control


def test_a_free_normalisation_is_shared_by_regions(
    booked: Book, filled: Filled, samples: list[FitSample], expectation: Expected, fit_with_pyhf: Callable
) -> None:
    workspace = build_workspace(
        booked(two_regions(filled)),
        samples,
        signal="zprime",
        regions=["signal", "control"],
        free_normalisations=[FreeNormalisation("top", (0.2, 4.0))],
    )
    yields = expectation(workspace, {"top_free_normalisation": 1.5})
    assert yields["signal"] == pytest.approx(MULTIJET + 1.5 * TOP)
    assert yields["control"] == pytest.approx([10 + 375, 10 + 225, 5 + 120, 5 + 60])
    settings = workspace.spec["measurements"][0]["config"]["parameters"]
    assert {"name": "top_free_normalisation", "inits": [1.0], "bounds": [[0.2, 4.0]]} in settings
    # the control region has 650 data events, 30 of multijet and 520 of top: (650 - 30)/520 = 1.19
    fitted, _ = fit_with_pyhf(workspace, 0.0)
    assert fitted["top_free_normalisation"] == pytest.approx([1.19], abs=0.1)


def test_relative_and_absolute_bin_uncertainties(
    booked: Book, filled: Filled, samples: list[FitSample], expectation: Expected
) -> None:
    for size, kind, tau in (
        (0.1, "relative", [100.0] * 4),
        ([4.0, 4.0, 0.0, 3.0], "absolute", [100.0, 25.0, 1.0, 4.0]),  # without a size pyhf holds the factor at 1
    ):
        workspace = build_workspace(
            booked(filled), samples, **SEARCH, bin_uncertainties=[BinUncertainty("top", "signal", size, kind)]
        )
        shifted = expectation(workspace, {"bin_uncertainty_signal_top": [1.1, 1.2, 1.3, 0.5]})["signal"]
        assert shifted == pytest.approx(MULTIJET + TOP * [1.1, 1.2, 1.3, 0.5])
        modifiers = next(s for s in workspace.spec["channels"][0]["samples"] if s["name"] == "top")["modifiers"]
        sizes = np.array(next(m["data"] for m in modifiers if m["type"] == "shapesys"))
        assert np.divide(TOP, sizes, out=np.ones(4), where=sizes > 0) ** 2 == pytest.approx(tau)


def test_a_bin_uncertainty_on_nothing_is_noted(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    filled[("ttbar", "signal", "nominal")][2] = 0
    size = BinUncertainty("top", "signal", 3.0, "absolute")
    workspace = build_workspace(booked(filled), samples, **SEARCH, bin_uncertainties=[size])
    assert any("no effect in 1 bins without expected events" in note for note in workspace.notes)


def test_luminosity_of_both_kinds(
    booked: Book, filled: Filled, samples: list[FitSample], expectation: Expected
) -> None:
    """HistFactory's lumi is 1 + u alpha with a Gaussian constraint; the default is (1 + u)^alpha."""
    made = {
        kind: build_workspace(booked(filled), samples, **SEARCH, lumi_uncertainty=0.1, lumi_modifier=kind)
        for kind in ("normsys", "lumi")
    }
    nominal = TOP + MULTIJET
    assert expectation(made["lumi"], {"lumi": 0.8})["signal"] == pytest.approx(0.8 * nominal)
    assert expectation(made["normsys"], {"luminosity": -2.0})["signal"] == pytest.approx(nominal / 1.1**2)
    settings = made["lumi"].spec["measurements"][0]["config"]["parameters"]
    assert {"name": "lumi", "auxdata": [1.0], "sigmas": [0.1], "inits": [1.0], "bounds": [[0.5, 1.5]]} in settings
    # 10% either way: the fitted strengths agree to the difference of the constraints' shapes, a hundredth of sigma
    strengths = [fit(workspace, hypothesis="signal+background") for workspace in made.values()]
    first, second = ((found.mu_hat, found.mu_hat_uncertainty) for found in strengths)
    assert first[0] == pytest.approx(second[0], abs=0.05 * first[1])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"free_normalisations": [FreeNormalisation("tops")]},
            UnknownNameError,
            "unknown sample 'tops'. Did you mean top",
        ),
        ({"free_normalisations": [FreeNormalisation("zprime")]}, StatisticsError, "the signal zprime is free already"),
        (
            {"free_normalisations": [FreeNormalisation("top")], "normalisation": {"top": 0.1}},
            StatisticsError,
            "normalisation of top is both free and constrained",
        ),
        ({"free_normalisations": [FreeNormalisation("top")] * 2}, StatisticsError, "top has two free normalisations"),
        ({"bin_uncertainties": [BinUncertainty("to", "signal", 0.1)]}, UnknownNameError, "unknown sample 'to'"),
        ({"bin_uncertainties": [BinUncertainty("top", "sgnal", 0.1)]}, UnknownNameError, "unknown region 'sgnal'"),
        (
            {"bin_uncertainties": [BinUncertainty("top", "signal", [0.1, 0.2])]},
            StatisticsError,
            "top in region signal has 2 sizes for 4 bins",
        ),
        (
            {"bin_uncertainties": [BinUncertainty("top", "signal", 0.1)] * 2},
            StatisticsError,
            "two bin uncertainties in one region",
        ),
    ],
)
def test_what_cannot_be(
    booked: Book, filled: Filled, samples: list[FitSample], *, settings: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_workspace(booked(filled), samples, **SEARCH, **settings)


@pytest.mark.parametrize("size", [-0.1, float("nan"), [0.0, 0.0], [0.1, float("inf")]])
def test_sizes_that_are_none(size: object) -> None:
    with pytest.raises(StatisticsError, match="bin uncertainty of top in region signal has the sizes"):
        BinUncertainty("top", "signal", size)


@pytest.mark.parametrize("bounds", [(-1.0, 2.0), (2.0, 3.0), (0.0, float("inf")), (1.0, 1.0)])
def test_bounds_that_are_none(bounds: tuple[float, float]) -> None:
    with pytest.raises(StatisticsError, match="free normalisation of top has the bounds"):
        FreeNormalisation("top", bounds)


def test_smoothing_is_that_of_cabinetry() -> None:
    """And so of ROOT's TH1::Smooth, which cabinetry is tested against."""
    rng = np.random.default_rng(5)
    nominal = 1000 * np.exp(-np.arange(20) / 5.0)
    varied = nominal * (1.05 + 0.01 * np.arange(20)) * rng.normal(1.0, 0.05, 20)
    bins = np.arange(21.0)
    theirs = Histogram.from_arrays(bins, varied.copy(), np.sqrt(varied))
    _apply_353qh_twice(theirs, Histogram.from_arrays(bins, nominal, np.sqrt(nominal)), "a")
    ours = smooth_variation(nominal, varied)
    assert ours == pytest.approx(theirs.yields, rel=1e-12)
    assert ours.sum() == pytest.approx(varied.sum())
    # closer to the truth than before, bin by bin, on average
    truth = 1.05 + 0.01 * np.arange(20)
    assert np.std(ours / nominal / truth) < 0.7 * np.std(varied / nominal / truth)
    with_hole = smooth_variation(np.insert(nominal, 7, 0.0), np.insert(varied, 7, 0.4))
    assert np.delete(with_hole, 7) == pytest.approx(ours, rel=1e-12)
    assert with_hole[7] == 0.4


def test_smoothing_is_off_by_default_and_said(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    def shape(**settings: object) -> tuple[list[float], tuple[str, ...]]:
        workspace = build_workspace(booked(filled), samples, **SEARCH, systematics=["jes"], **settings)
        top = next(s for s in workspace.spec["channels"][0]["samples"] if s["name"] == "top")
        return next(m for m in top["modifiers"] if m["type"] == "histosys")["data"]["hi_data"], workspace.notes

    varied = np.array([38, 22, 13, 8.5])
    plain, notes = shape()
    assert plain == pytest.approx(varied * 76 / 81.5)
    assert not any("smoothed" in note for note in notes)
    smooth, notes = shape(smoothing="353QH")
    assert smooth == pytest.approx(smooth_variation(TOP, varied) * 76 / 81.5)
    assert smooth != pytest.approx(plain)
    assert "sample top, region signal, jes_up: smoothed (353QH, twice)" in notes
    _, notes = shape(smoothing="353QH", bin_edges_used=[0, 2, 4])
    assert "sample top, region signal, jes_up: too few bins with events to smooth; left as it is" in notes
