"""Transfer factors against closed forms and a likelihood written here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import hist
import numpy as np
import pyhf
import pytest
from scipy import optimize, stats

from darkop_dist.errors import StatisticsError, UnknownNameError
from darkop_dist.limits import (
    FitSample,
    FreeNormalisation,
    RatioUncertainty,
    TransferFactors,
    Workspace,
    build_workspace,
    upper_limit,
)
from darkop_dist.limits.backend import numpy_backend
from darkop_dist.limits.workspace import INTERPOLATION

Exact = Callable[..., hist.Hist]
Fit = Callable[..., tuple[dict[str, np.ndarray], float]]

SAMPLES = [
    FitSample("data", ("data",), (1.0,), "data", "Data"),
    FitSample("znunu", ("znunu",), (1.0,), "background", "Z(nunu)"),
    FitSample("dimuon", ("dy",), (1.0,), "background", "Z(mumu)"),
    FitSample("w", ("w",), (1.0,), "background", "W(munu)"),
    FitSample("top", ("top",), (1.0,), "background", "top"),
    FitSample("dm", ("dm",), (1.0,), "signal", "DM"),
]
REGIONS = ["signal", "mumu", "mu"]
EDGES = [250.0, 400.0, 1000.0]
Z = {"signal": ["znunu"], "mumu": ["dimuon"], "mu": ["w"]}
TABLES: Mapping[tuple[str, str], tuple[list[float], list[float]]] = {
    ("data", "signal"): ([540, 75], [540, 75]),
    ("znunu", "signal"): ([500, 50], [25, 5]),
    ("dm", "signal"): ([20, 15], [0.1, 0.1]),
    ("data", "mumu"): ([53, 8], [53, 8]),
    ("dy", "mumu"): ([50, 5], [2.5, 0.25]),
    ("data", "mu"): ([420, 31], [420, 31]),
    ("w", "mu"): ([380, 25], [19, 1.25]),
    ("top", "mu"): ([30, 5], [3, 1]),
}
RATIOS = (RatioUncertainty("electroweak", "mu", [0.03, 0.06]), RatioUncertainty("muon", "mumu", 0.02))


def mono_jet(exact: Exact, tables: Mapping = TABLES, ratios: tuple[RatioUncertainty, ...] = RATIOS) -> Workspace:
    return build_workspace(
        exact(tables, EDGES), SAMPLES, signal="dm", regions=REGIONS, methods=[TransferFactors("z", Z, ratios)]
    )


def on_off(exact: Exact, n_on: float, n_off: float, tau: float, *, weight: float) -> Workspace:
    """One bin in the signal region and one in a control region; the simulated events have this weight."""
    tables = {
        ("data", "signal"): ([n_on], n_on),
        ("znunu", "signal"): ([40.0], 40.0 * weight),
        ("dm", "signal"): ([10.0], 0.0),
        ("data", "mumu"): ([n_off], n_off),
        ("dy", "mumu"): ([40.0 * tau], 40.0 * tau * weight),
    }
    return build_workspace(
        exact(tables, [250.0, 1000.0]),
        SAMPLES,
        signal="dm",
        regions=["signal", "mumu"],
        methods=[TransferFactors("z", {"signal": ["znunu"], "mumu": ["dimuon"]})],
    )


def li_ma(n_on: float, n_off: float, tau: float) -> float:
    """Li and Ma, Astrophys. J. 272 (1983) 317, equation 17, with alpha = 1/tau."""
    on, off = n_on / (n_on + n_off), n_off / (n_on + n_off)
    return float(np.sqrt(2 * (n_on * np.log((1 + tau) * on) + n_off * np.log((1 + 1 / tau) * off))))


@pytest.mark.parametrize(("n_on", "n_off", "tau"), [(140, 100, 1.0), (25, 30, 2.5), (1200, 9500, 9.0), (9, 2, 0.8)])
def test_one_bin_is_the_on_off_problem(exact: Exact, fit_with_pyhf: Fit, n_on: int, n_off: int, tau: float) -> None:
    """Without simulation statistics the significance is Li and Ma's. Tolerance: what Minuit leaves in -2 ln L."""
    workspace = on_off(exact, n_on, n_off, tau, weight=0.0)
    best, free = fit_with_pyhf(workspace)
    _, background_only = fit_with_pyhf(workspace, 0.0)
    expected = li_ma(n_on, n_off, tau)
    assert np.sqrt(background_only - free) == pytest.approx(expected, abs=1e-4)
    assert best["mu"][0] == pytest.approx((n_on - n_off / tau) / 10, rel=1e-3)
    assert best["transfer_z"][0] == pytest.approx(n_off / tau / 40, rel=1e-3)
    assert upper_limit(workspace, signal="dm").z_observed == pytest.approx(expected, abs=1e-3)


def test_expected_events_at_shifted_parameters(exact: Exact, expectation: Callable) -> None:
    shifts = {
        "transfer_z": [1.2, 0.7],
        "electroweak": 1.5,
        "muon": -1.0,
        "transfer_z_statistics_signal_znunu": [1.01, 0.9],
        "transfer_z_statistics_mu_w": [0.98, 1.1],
        "mu": 2.0,
    }
    found = expectation(mono_jet(exact), shifts)
    assert found["signal"] == pytest.approx([500 * 1.2 * 1.01 + 40, 50 * 0.7 * 0.9 + 30])
    assert found["mumu"] == pytest.approx([50 * 1.2 / 1.02, 5 * 0.7 / 1.02])
    assert found["mu"] == pytest.approx([380 * 1.2 * 1.045 * 0.98 + 30, 25 * 0.7 * 1.09 * 1.1 + 5])


def test_two_bins_and_two_control_regions_against_a_likelihood_of_our_own(exact: Exact, fit_with_pyhf: Fit) -> None:
    """The likelihood written out with SciPy: Poisson counts, Poisson constraints of the simulated events.

    Tolerance: two minimisers; and HistFactory's polynomial for (1.02)^alpha within one sigma is exact to 1e-7.
    """
    counts = {region: np.array(TABLES["data", region][0]) for region in REGIONS}
    template = {key: np.array(values) for (key, _), (values, _) in TABLES.items() if key != "data"}
    events = {key: np.array(v) ** 2 / np.array(w) for (key, _), (v, w) in TABLES.items() if key in {"znunu", "dy", "w"}}
    top_width = np.sqrt([3.0, 1.0]) / np.array([30.0, 5.0])
    signal_width = np.log1p(np.sqrt(0.2) / 35)

    def twice_nll(p: np.ndarray, mu: float | None) -> float:
        free, electroweak, muon, signal = p[1:3], p[3], p[4], p[5]
        gamma, top = {"znunu": p[6:8], "dy": p[8:10], "w": p[10:12]}, p[12:14]
        strength = (p[0] if mu is None else mu) * np.exp(signal * signal_width)
        expected = {
            "signal": template["znunu"] * free * gamma["znunu"] + strength * template["dm"],
            "mumu": template["dy"] * free * gamma["dy"] * 1.02**muon,
            "mu": template["w"] * free * gamma["w"] * (1 + electroweak * np.array([0.03, 0.06]))
            + template["top"] * top,
        }
        if any(np.any(values <= 0) for values in [*expected.values(), *gamma.values()]):
            return 1e6
        value = sum(expected[r].sum() - (counts[r] * np.log(expected[r])).sum() for r in REGIONS)
        value += sum((events[s] * (gamma[s] - np.log(gamma[s]))).sum() for s in gamma)
        return float(2 * value + electroweak**2 + muon**2 + signal**2 + (((top - 1) / top_width) ** 2).sum())

    def minimum(mu: float | None) -> optimize.OptimizeResult:
        start = np.concatenate([[0.5], [1.0, 1.0], [0.0, 0.0, 0.0], np.ones(8)])
        for _ in range(4):
            found = optimize.minimize(twice_nll, start, (mu,), method="BFGS", options={"gtol": 1e-6})
            start = found.x
        return found

    workspace = mono_jet(exact)
    best, lowest = fit_with_pyhf(workspace)
    ours = minimum(None)
    assert best["mu"][0] == pytest.approx(ours.x[0], abs=2e-3 * np.sqrt(ours.hess_inv[0, 0]) + 1e-3)
    assert best["transfer_z"] == pytest.approx(ours.x[1:3], rel=1e-3)
    for mu in (0.0, 3.0):
        _, value = fit_with_pyhf(workspace, mu)
        assert value - lowest == pytest.approx(minimum(mu).fun - ours.fun, abs=1e-3)
    # the simulated events and the ratio's systematics do matter here
    without = {key: (v, w if key[0] == "data" else [0.0, 0.0]) for key, (v, w) in TABLES.items()}
    bare = mono_jet(exact, without, ())
    difference = fit_with_pyhf(bare, 3.0)[1] - fit_with_pyhf(bare)[1] - (minimum(3.0).fun - ours.fun)
    assert difference > 0.1


def test_the_simulated_size_of_the_background_cancels(exact: Exact) -> None:
    """Doubled in all regions it changes no limit."""
    doubled = {
        key: ([2 * x for x in v], [4 * x for x in w]) if key[0] in {"znunu", "dy", "w"} else (v, w)
        for key, (v, w) in TABLES.items()
    }
    first, second = (upper_limit(mono_jet(exact, tables), signal="dm") for tables in (TABLES, doubled))
    assert first.observed == pytest.approx(second.observed, rel=1e-3)
    assert first.expected == pytest.approx(second.expected, rel=1e-3)


def draw(model: pyhf.Model, parameters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts and auxiliary measurements of one pseudo-experiment."""
    auxiliary = []
    for name in model.config.auxdata_order:
        group, values = model.config.param_set(name), parameters[model.config.par_slice(name)]
        if group.pdf_type == "poisson":
            auxiliary += [rng.poisson(np.array(group.auxdata) * values)]
        else:
            auxiliary += [rng.normal(values, group.width())]
    return np.concatenate([rng.poisson(model.expected_actualdata(parameters)), *auxiliary])


def test_background_alone_is_significant_as_often_as_said(exact: Exact) -> None:
    """300 pseudo-experiments of one bin, with 50 simulated events on each side of the ratio: P(q0 > 1) is P(Z > 1) = .159.

    Bound: the central 99.9% of the binomial law.
    """
    rng, above, toys = np.random.default_rng(3), 0, 300
    with numpy_backend():
        model = pyhf.Workspace(on_off(exact, 40, 40, 1.0, weight=0.8).spec).model(modifier_settings=INTERPOLATION)
        truth = np.array(model.config.suggested_init())
        truth[model.config.par_slice("transfer_z")] = 1.0
        truth[model.config.poi_index] = 0.0
        bounds = [tuple(pair) for pair in model.config.suggested_bounds()]
        for _ in range(toys):
            data = draw(model, truth, rng)
            q0 = pyhf.infer.test_statistics.q0(0.0, data, model, truth.tolist(), bounds, model.config.suggested_fixed())
            above += float(q0) > 1.0
    low, high = stats.binom.interval(0.999, toys, stats.norm.sf(1.0))
    assert low <= above <= high


def test_data_far_from_simulation_stay_within_bounds(exact: Exact, fit_with_pyhf: Fit) -> None:
    """A simulation a hundred times too small is no limit to the free factors."""
    tables = dict(TABLES)
    for key in (("znunu", "signal"), ("dy", "mumu"), ("w", "mu")):
        tables[key] = tuple([0.01 * x for x in values] for values in TABLES[key])
    best, _ = fit_with_pyhf(mono_jet(exact, tables), 0.0)
    reference, _ = fit_with_pyhf(mono_jet(exact), 0.0)
    assert best["transfer_z"] == pytest.approx(100 * reference["transfer_z"], rel=0.2)


def test_regions_whose_bins_differ(exact: Exact) -> None:
    message = (
        r"z tie regions with different bins: signal has the edges \[250.0, 400.0, 1000.0\], mumu \[250.0, 1000.0\]"
    )
    with pytest.raises(StatisticsError, match=message):
        build_workspace(
            exact(TABLES, EDGES),
            SAMPLES,
            signal="dm",
            regions=REGIONS,
            bin_edges_used={"mumu": [250.0, 1000.0]},
            methods=[TransferFactors("z", Z)],
        )


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        (TransferFactors("z", {"signal": ["znunu"]}), StatisticsError, "z tie the region signal to nothing"),
        (TransferFactors("z", {"signal": ["znunu"], "ee": ["w"]}), UnknownNameError, "unknown region 'ee'"),
        (TransferFactors("z", Z | {"mu": ["wjets"]}), UnknownNameError, "unknown background 'wjets'"),
        (
            TransferFactors("z", Z | {"mu": ["dimuon"]}),
            UnknownNameError,
            "backgrounds with events in region mu are w, top",
        ),
        (TransferFactors("z", Z | {"mu": []}), StatisticsError, "z name no sample in region mu"),
        (
            TransferFactors("z", {"signal": ["znunu"], "mumu": ["dimuon"]}, RATIOS),
            StatisticsError,
            "electroweak is of region mu, which the transfer factors z do not tie",
        ),
        (
            TransferFactors("z", Z, [RatioUncertainty("a", "mu", [0.1])]),
            StatisticsError,
            "a in region mu has 1 sizes for 2",
        ),
        (
            TransferFactors("z", Z, [RatioUncertainty("a", "mu", 1.5)]),
            StatisticsError,
            "a in region mu has the size 1.5",
        ),
        (TransferFactors("z", Z, [RatioUncertainty("a", "mu", float("nan"))]), StatisticsError, "has the size nan"),
    ],
)
def test_what_cannot_be_tied(exact: Exact, method: TransferFactors, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build_workspace(exact(TABLES, EDGES), SAMPLES, signal="dm", regions=REGIONS, methods=[method])


def test_a_ratio_with_an_empty_bin(exact: Exact) -> None:
    tables = dict(TABLES) | {("dy", "mumu"): ([50, 0], [2.5, 0])}
    with pytest.raises(StatisticsError, match="dimuon in region mumu expects nothing in the bins 400 to 1000"):
        mono_jet(exact, tables)


def test_a_sample_is_free_once(exact: Exact) -> None:
    arguments = {"signal": "dm", "regions": REGIONS}
    with pytest.raises(StatisticsError, match="sample w in region mu has a free normalisation or is tied twice"):
        build_workspace(
            exact(TABLES, EDGES),
            SAMPLES,
            **arguments,
            free_normalisations=[FreeNormalisation("w")],
            methods=[TransferFactors("z", Z)],
        )
    with pytest.raises(
        StatisticsError, match="sample znunu in region signal has a free normalisation or is tied twice"
    ):
        build_workspace(
            exact(TABLES, EDGES), SAMPLES, **arguments, methods=[TransferFactors("z", Z), TransferFactors("y", Z)]
        )
