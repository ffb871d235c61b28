"""ABCD against N_B N_C / N_D and its propagated uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import hist
import numpy as np
import pytest

from darkop_dist.errors import StatisticsError, UnknownNameError
from darkop_dist.limits import Abcd, FitSample, Workspace, build_workspace, fit, upper_limit

Exact = Callable[..., hist.Hist]
Fit = Callable[..., tuple[dict[str, np.ndarray], float]]
Tables = Mapping[tuple[str, str], tuple[list[float], float]]

REGIONS = ("a", "b", "c", "d")
SAMPLES = [
    FitSample("data", ("data",), (1.0,), "data", "Data"),
    FitSample("multijet", ("qcd",), (1.0,), "background", "Multijet"),
    FitSample("top", ("ttbar",), (1.0,), "background", "top"),
    FitSample("dm", ("dm",), (1.0,), "signal", "DM"),
]


def tables(
    data: tuple[float, ...] | None,
    signal: tuple[float, ...] = (50.0, 0.0, 0.0, 0.0),
    top: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
    multijet: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
) -> Tables:
    filled = {"data": data, "dm": signal, "ttbar": top, "qcd": multijet}
    return {
        (name, region): ([count], 0.0)
        for name, counts in filled.items()
        if counts is not None
        for region, count in zip(REGIONS, counts, strict=True)
    }


def abcd(exact: Exact, counts: Tables, *, samples: list[FitSample] = SAMPLES, **settings: object) -> Workspace:
    return build_workspace(
        exact(counts, [0.0, 1.0]), samples, signal="dm", regions=REGIONS, methods=[Abcd(REGIONS, **settings)]
    )


def background_in_a(parameters: dict[str, np.ndarray], b: float, c: float, d: float) -> float:
    return float(np.prod([parameters[f"abcd_{name}"][0] for name in ("d", "b_over_d", "c_over_d")]) * b * c / d)


@pytest.mark.parametrize("data", [(300, 400, 500, 1000), (23, 40, 12, 30), (60_500, 90_000, 80_000, 120_000)])
def test_best_fit_and_uncertainty(exact: Exact, fit_with_pyhf: Fit, data: tuple[int, int, int, int]) -> None:
    """The signal takes N_A - N_B N_C / N_D exactly; the variance is N_A + (N_B N_C / N_D)^2 (1/N_B + 1/N_C + 1/N_D).

    Four parameters meet four counts, so that the curvature at the maximum gives the propagated variance exactly.
    Tolerance: Hesse's numerical derivatives, and Minuit's usual distance from the minimum, a hundredth of sigma.
    """
    a, b, c, d = data
    workspace = abcd(exact, tables(data))
    best, _ = fit_with_pyhf(workspace)
    expected = b * c / d
    assert background_in_a(best, b, c, d) == pytest.approx(expected, rel=1e-4)
    assert best["mu"][0] == pytest.approx((a - expected) / 50, rel=2e-3)
    deviation = np.sqrt(a + expected**2 * (1 / b + 1 / c + 1 / d)) / 50
    fitted = fit(workspace, hypothesis="signal+background")
    assert fitted.mu_hat == pytest.approx((a - expected) / 50, abs=0.01 * deviation)
    assert fitted.mu_hat_uncertainty == pytest.approx(deviation, rel=5e-3)


def test_signal_and_other_backgrounds_in_all_regions(exact: Exact, fit_with_pyhf: Fit) -> None:
    """Four counts of known composition, one equation each: the fit finds what was put in."""
    multijet, top, signal = (200.0, 400.0, 500.0, 1000.0), (10.0, 30.0, 20.0, 40.0), (50.0, 10.0, 12.0, 2.0)
    data = tuple(m + t + 1.5 * s for m, t, s in zip(multijet, top, signal, strict=True))
    workspace = abcd(exact, tables(data, signal, top))
    best, _ = fit_with_pyhf(workspace)
    assert best["mu"][0] == pytest.approx(1.5, abs=2e-3)
    starts = {s["name"]: s["data"][0] for s in workspace.spec["channels"][3]["samples"]}
    assert starts["abcd"] == pytest.approx(data[3] - 40.0)
    assert best["abcd_d"][0] * starts["abcd"] == pytest.approx(1000.0, rel=1e-3)


def test_expected_events_and_closure(exact: Exact, expectation: Callable) -> None:
    workspace = abcd(exact, tables((300, 400, 500, 1000)), closure=(0.2, 0.3))
    shifts = {"abcd_d": 1.1, "abcd_b_over_d": 0.9, "abcd_c_over_d": 1.3, "abcd_closure": 1.0}
    found = expectation(workspace, shifts)
    assert found["a"] == pytest.approx([200 * 1.1 * 0.9 * 1.3 * 1.3])
    assert [found[r][0] for r in "bcd"] == pytest.approx([400 * 1.1 * 0.9, 500 * 1.1 * 1.3, 1000 * 1.1])
    assert expectation(workspace, {"abcd_closure": -1.0})["a"] == pytest.approx([200 * 0.8])
    assert (
        upper_limit(workspace, signal="dm").observed
        > upper_limit(abcd(exact, tables((300, 400, 500, 1000))), signal="dm").observed
    )


def test_it_stands_for_the_simulation(exact: Exact) -> None:
    """The simulated multijet is left out where data count; without data it gives the counts of B, C and D."""
    simulated = (190.0, 390.0, 480.0, 990.0)
    workspace = abcd(exact, tables((300, 400, 500, 1000), multijet=simulated), replaces=["multijet"])
    assert [s["name"] for s in workspace.spec["channels"][0]["samples"]] == ["abcd", "dm"]
    assert "abcd stands for the simulated multijet in a, b, c, d" in workspace.notes
    workspace = abcd(exact, tables(None, multijet=simulated), samples=SAMPLES[1:], replaces=["multijet"])
    assert workspace.observed == "asimov"
    assert workspace.spec["observations"][0]["data"] == pytest.approx([390 * 480 / 990])


@pytest.mark.parametrize("empty", ["b", "c", "d"])
def test_a_region_without_counts(exact: Exact, empty: str) -> None:
    data = tuple(0 if region == empty else 20 for region in REGIONS)
    with pytest.raises(StatisticsError, match=f"no events in region {empty}: 0 are counted and the other .* expect 0"):
        abcd(exact, tables(data))
    other = tuple(25.0 if region == empty else 1.0 for region in REGIONS)
    with pytest.raises(StatisticsError, match=f"no events in region {empty}: 20 are counted and the other .* 25"):
        abcd(exact, tables((20, 20, 20, 20), top=other))


def test_no_count_in_a_is_a_limit(exact: Exact) -> None:
    """A may be empty: the limit on the events of the signal is near 3, as for any empty region (-ln .05 = 3.0)."""
    limit = upper_limit(abcd(exact, tables((0, 20, 30, 200))), signal="dm")
    assert 1.5 < 50 * limit.observed < 4.0
    assert limit.p0_observed == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"closure": 1.2}, "closure of abcd is"),
        ({"closure": float("nan")}, "closure of abcd is"),
        ({"name": "top"}, "there is a sample top in region a already"),
    ],
)
def test_settings_that_cannot_be(exact: Exact, settings: dict, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        abcd(exact, tables((300, 400, 500, 1000), top=(1, 1, 1, 1)), **settings)


def test_regions_that_cannot_be(exact: Exact) -> None:
    with pytest.raises(StatisticsError, match="ABCD needs four different regions A, B, C, D; got a, b, b, d"):
        Abcd(("a", "b", "b", "d"))
    histogram = exact(tables((300, 400, 500, 1000)), [0.0, 1.0])
    with pytest.raises(UnknownNameError, match="unknown region 'x'"):
        build_workspace(histogram, SAMPLES, signal="dm", regions=REGIONS, methods=[Abcd(("a", "b", "c", "x"))])
    two_bins = {key: ([v[0], v[0]], 0.0) for key, (v, _) in tables((300, 400, 500, 1000)).items()}
    with pytest.raises(StatisticsError, match="ABCD counts one bin in each region, and a has 2"):
        build_workspace(
            exact(two_bins, [0.0, 1.0, 2.0]), SAMPLES, signal="dm", regions=REGIONS, methods=[Abcd(REGIONS)]
        )
