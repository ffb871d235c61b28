"""A small search as a histogram of raw weights: falling background, resonant signal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import hist
import numpy as np
import pyhf
import pytest

from darkop_dist.limits import FitSample, Workspace
from darkop_dist.limits.backend import numpy_backend
from darkop_dist.limits.workspace import INTERPOLATION

EDGES = (0.0, 1.0, 2.0, 3.0, 4.0)

Filled = Mapping[tuple[str, str, str], Sequence[float]]


def book(filled: Filled, *, weight: float = 0.5, edges: Sequence[float] = EDGES) -> hist.Hist:
    """A histogram with sums of weights per (dataset, region, variation), shape (bins + 2,) with under- and overflow.

    Variances are sum of weights times ``weight``: events of equal weight; data have weight 1.
    """
    histogram = hist.Hist(
        hist.axis.StrCategory([], growth=True, name="dataset"),
        hist.axis.StrCategory([], growth=True, name="region"),
        hist.axis.StrCategory([], growth=True, name="variation"),
        hist.axis.Variable(list(edges), name="mtt", label="mass [TeV]"),
        storage=hist.storage.Weight(),
    )
    centres = np.concatenate([[edges[0] - 1], 0.5 * (np.array(edges[1:]) + edges[:-1]), [edges[-1] + 1]])
    for (dataset, region, variation), sums in filled.items():
        each = 1.0 if dataset == "data" else weight
        for centre, total in zip(centres, sums, strict=True):
            count = round(abs(total) / each)
            if count:
                histogram.fill(dataset, region, variation, [centre] * count, weight=total / count)
    return histogram


def book_exact(
    tables: Mapping[tuple[str, str], tuple[Sequence[float], Sequence[float] | float]], edges: Sequence[float]
) -> hist.Hist:
    """A nominal histogram with given (values, variances) per (dataset, region), each of shape (bins,) or one number."""
    histogram = hist.Hist(
        *(hist.axis.StrCategory([], growth=True, name=name) for name in ("dataset", "region", "variation")),
        hist.axis.Variable(list(edges), name="recoil", label="recoil [GeV]"),
        storage=hist.storage.Weight(),
    )
    for dataset, region in tables:
        histogram.fill(dataset, region, "nominal", [edges[0]], weight=[0.0])
    for (dataset, region), (values, variances) in tables.items():
        where = histogram.axes[0].index(dataset), histogram.axes[1].index(region), 0
        view = histogram.view()[where]
        view.value, view.variance = values, variances
    return histogram


@pytest.fixture
def exact() -> Callable[..., hist.Hist]:
    """The function that books exact values and variances."""
    return book_exact


@pytest.fixture
def filled() -> dict[tuple[str, str, str], list[float]]:
    """Sums of weights of a small search in one region."""
    return {
        ("data", "signal", "nominal"): [0, 98, 52, 21, 9, 4],
        ("qcd", "signal", "nominal"): [0, 60, 30, 10, 5, 1],
        ("ttbar", "signal", "nominal"): [0, 40, 20, 10, 5, 1],
        ("ttbar", "signal", "jes_up"): [0, 38, 22, 13, 7, 1.5],
        ("ttbar", "signal", "jes_down"): [0, 41, 18, 8, 4, 0.5],
        ("zprime", "signal", "nominal"): [0, 0.5, 1, 6, 2, 0.5],
    }


@pytest.fixture
def samples() -> list[FitSample]:
    """The processes of that search."""
    return [
        FitSample("data", ("data",), (1.0,), "data", "Data"),
        FitSample("multijet", ("qcd",), (1.0,), "background", "Multijet"),
        FitSample("top", ("ttbar",), (1.0,), "background", r"$t\bar{t}$"),
        FitSample("zprime", ("zprime",), (1.0,), "signal", "Z'"),
    ]


@pytest.fixture
def booked() -> Callable[..., hist.Hist]:
    """The function that books such histograms."""
    return book


def counting_workspace(signal: float, background: float, observed: float) -> Workspace:
    """One bin without nuisance parameters."""
    signal_spec = {"name": "s", "data": [signal], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]}
    config = {"poi": "mu", "parameters": [{"name": "mu", "inits": [1.0], "bounds": [[0.0, 10.0]]}]}
    spec = {
        "channels": [
            {"name": "c", "samples": [{"name": "b", "data": [background], "modifiers": []}, signal_spec]},
        ],
        "observations": [{"name": "c", "data": [observed]}],
        "measurements": [{"name": "m", "config": config}],
        "version": "1.0.0",
    }
    return Workspace("s", spec, "data")


@pytest.fixture
def counting() -> Callable[[float, float, float], Workspace]:
    """The function that makes counting experiments from signal, background and observed events."""
    return counting_workspace


def expected_at(workspace: Workspace, shifts: Mapping[str, float | Sequence[float]]) -> dict[str, np.ndarray]:
    """What pyhf expects by region at given parameters, all others where the model starts, mu = 0."""
    with numpy_backend():
        model = pyhf.Workspace(workspace.spec).model(modifier_settings=INTERPOLATION)
        parameters = np.array(model.config.suggested_init())
        for name, value in {"mu": 0.0, **shifts}.items():
            parameters[model.config.par_slice(name)] = value
        expected = np.asarray(model.expected_actualdata(parameters))
        return {region: expected[model.config.channel_slices[region]] for region in model.config.channels}


@pytest.fixture
def expectation() -> Callable[..., dict[str, np.ndarray]]:
    """The function that asks pyhf for the expected events."""
    return expected_at


def profile_fit(workspace: Workspace, mu: float | None = None) -> tuple[dict[str, np.ndarray], float]:
    """A fit by pyhf and Minuit alone: parameters by name, and -2 ln L at the minimum."""
    with numpy_backend():
        pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-3, strategy=2), precision="64b")
        loaded = pyhf.Workspace(workspace.spec)
        model = loaded.model(modifier_settings=INTERPOLATION)
        data = loaded.data(model)
        if mu is None:
            found, value = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
        else:
            found, value = pyhf.infer.mle.fixed_poi_fit(mu, data, model, return_fitted_val=True)
        named = {name: np.asarray(found)[model.config.par_slice(name)] for name in model.config.par_order}
        return named, float(value)


@pytest.fixture
def fit_with_pyhf() -> Callable[..., tuple[dict[str, np.ndarray], float]]:
    """The function that fits with pyhf and Minuit alone."""
    return profile_fit
