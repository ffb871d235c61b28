"""Expected counts and likelihoods against pyhf, derivatives against finite differences."""

from __future__ import annotations

import copy
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest

from darkop_dist.errors import StatisticsError
from darkop_dist.limits import Workspace
from darkop_dist.limits.backend import numpy_backend
from darkop_dist.limits.histfactory import model_of
from darkop_dist.limits.likelihood import Data, likelihood_of
from darkop_dist.limits.workspace import INTERPOLATION

MU = {"name": "mu", "type": "normfactor", "data": None}


def every_modifier() -> dict[str, Any]:
    """Two channels with all kinds of modifiers, shared and not, and settings of the measurement."""
    lumi = {"name": "lumi", "type": "lumi", "data": None}
    first = {
        "name": "zeta",
        "samples": [
            {
                "name": "signal",
                "data": [1.0, 4.0, 2.0],
                "modifiers": [MU, lumi, {"name": "eff", "type": "normsys", "data": {"hi": 1.1, "lo": 0.8}}],
            },
            {
                "name": "top",
                "data": [30.0, 20.0, 10.0],
                "modifiers": [
                    lumi,
                    {"name": "jes", "type": "normsys", "data": {"hi": 1.2, "lo": 0.9}},
                    {"name": "jes", "type": "histosys", "data": {"hi_data": [28, 21, 12], "lo_data": [33, 19.5, 9]}},
                    {"name": "pdf", "type": "histosys", "data": {"hi_data": [31, 20, 10], "lo_data": [30, 20, 10.5]}},
                    {"name": "stat", "type": "staterror", "data": [2.0, 1.0, 0.0]},
                    {"name": "both", "type": "staterror", "data": [1.0, 0.5, 0.5]},
                    {"name": "k_top", "type": "normfactor", "data": None},
                ],
            },
            {
                "name": "qcd",
                "data": [10.0, 0.0, 3.0],
                "modifiers": [
                    {"name": "abcd", "type": "shapesys", "data": [3.0, 1.0, 1.0]},
                    {"name": "stat", "type": "staterror", "data": [1.0, 0.0, 0.0]},
                ],
            },
        ],
    }
    second = {
        "name": "alpha",
        "samples": [
            {
                "name": "top",
                "data": [100.0, 50.0, 20.0],
                "modifiers": [
                    {"name": "shape", "type": "shapefactor", "data": None},
                    {"name": "eff", "type": "normsys", "data": {"hi": 0.95, "lo": 1.05}},
                    {"name": "both", "type": "staterror", "data": [5.0, 5.0, 2.0]},
                ],
            },
            {"name": "other", "data": [1.0, 1.0, 1.0], "modifiers": [lumi]},
        ],
    }
    first["samples"][2]["modifiers"].append({"name": "shape", "type": "shapefactor", "data": None})
    settings = [
        {"name": "lumi", "inits": [1.0], "bounds": [[0.5, 1.5]], "auxdata": [1.02], "sigmas": [0.02], "fixed": False},
        {"name": "k_top", "inits": [1.3], "bounds": [[0.1, 5.0]]},
        {"name": "pdf", "fixed": True},
    ]
    return {
        "channels": [first, second],
        "observations": [{"name": "zeta", "data": [44, 22, 19]}, {"name": "alpha", "data": [95, 60, 15]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": settings}}],
        "version": "1.0.0",
    }


def published(archive: Path, region: str, patch: str) -> dict[str, Any]:
    jsonpatch = pytest.importorskip("jsonpatch")
    with tarfile.open(archive) as files:
        background = json.load(files.extractfile(f"{region}/BkgOnly.json"))
        return jsonpatch.apply_patch(background, json.load(files.extractfile(f"{region}/patch.{patch}.json")))


def agrees_with_pyhf(spec: dict[str, Any]) -> None:
    """Parameters, and at 20 random points -2 ln L and its slopes; the points go far beyond one standard deviation.

    Tolerance: rounding, 1e-11 of the likelihood's terms. Slopes: central differences of pyhf's function, whose
    rounding over a step of 1e-5 is 1e-6.
    """
    likelihood = likelihood_of(Workspace("s", spec, "data"))
    ours = likelihood.model.parameters
    with numpy_backend():
        workspace = pyhf.Workspace(spec)
        model = workspace.model(modifier_settings=INTERPOLATION)
        names, config = list(model.config.par_names), model.config
        place = [ours.names.index(name) for name in names]
        assert sorted(names) == sorted(ours.names)
        assert ours.initial[place].tolist() == list(config.suggested_init())
        assert np.stack([ours.low, ours.high], axis=1)[place].tolist() == [list(b) for b in config.suggested_bounds()]
        assert ours.held[place].tolist() == list(config.suggested_fixed())
        rng, data = np.random.default_rng(7), np.asarray(workspace.data(model))
        finite = 0
        for _ in range(20):
            values = ours.initial + rng.normal(size=len(ours)) * np.where(ours.initial == 0, 1.2, 0.1)
            theirs = values[place]
            twice_nll = float(-2 * model.logpdf(theirs, data)[0])
            value, slopes, _ = likelihood.slopes(values, likelihood.data)
            if np.isnan(twice_nll):
                assert value == np.inf  # a count below zero is expected
                continue
            finite += 1
            assert value == pytest.approx(twice_nll, rel=1e-11)
            assert likelihood.twice_nll(values, likelihood.data) == value
            which = rng.integers(len(names))
            step = np.zeros(len(names))
            step[which] = 1e-5
            above, below = (float(-2 * model.logpdf(theirs + sign * step, data)[0]) for sign in (1, -1))
            assert slopes[place][which] == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-4)
        assert finite > 5


def test_every_modifier_agrees_with_pyhf() -> None:
    agrees_with_pyhf(every_modifier())


@pytest.mark.parametrize("region", ["RegionA", "RegionB", "RegionC"])
def test_published_likelihoods_agree_with_pyhf(shared_data: Path, region: str) -> None:
    """ATLAS SUSY-2018-31 (HEPData ins1748602): 60 to 66 parameters."""
    archive = shared_data / "likelihoods" / "pyhf-ins1748602-probability-models.tar.gz"
    agrees_with_pyhf(published(archive, region, "sbottom_1300_205_60"))


def test_all_slopes_against_differences() -> None:
    """Each derivative of each bin, at points on both sides of the seams of the interpolations."""
    model = model_of(every_modifier()["channels"], every_modifier()["measurements"][0]["config"]["parameters"])
    rng = np.random.default_rng(3)
    for spread in (0.3, 1.0, 2.5):
        values = model.parameters.initial + rng.normal(size=len(model.parameters)) * spread * np.where(
            model.parameters.initial == 0, 1.0, 0.1
        )
        values[model.parameters.names.index("mu")] = 0.0  # a product with a factor of zero has slopes all the same
        expected, slopes = model.expected_and_slopes(values)
        assert expected == pytest.approx(model.expected(values))
        steps = 1e-6 * np.eye(len(values))
        numeric = np.stack([(model.expected(values + s) - model.expected(values - s)) / 2e-6 for s in steps], axis=1)
        assert slopes == pytest.approx(numeric, abs=1e-6)


def test_asimov_data_have_no_slope_at_their_truth() -> None:
    likelihood = likelihood_of(Workspace("s", every_modifier(), "data"))
    values = likelihood.model.parameters.initial + 0.1
    data = likelihood.expected(values)
    value, slopes, curvature = likelihood.slopes(values, data)
    assert slopes == pytest.approx(np.zeros(len(values)), abs=1e-9)
    assert np.all(np.linalg.eigvalsh(curvature) > -1e-9)
    assert likelihood.saturated(data) == pytest.approx(value)


def test_covariance_of_a_known_case() -> None:
    """One free normalisation: the error of n/b events is sqrt(n)/b. Its curvature is exact."""
    spec = every_modifier()
    spec["channels"] = [{"name": "c", "samples": [{"name": "b", "data": [40.0], "modifiers": [MU]}]}]
    spec["observations"] = [{"name": "c", "data": [50]}]
    spec["measurements"][0]["config"]["parameters"] = []
    likelihood = likelihood_of(Workspace("s", spec, "data"))
    minimum = likelihood.fit(likelihood.data)
    assert minimum.parameters[0] == pytest.approx(50 / 40, rel=1e-6)
    covariance = likelihood.covariance(minimum, likelihood.data, np.zeros(1, dtype=bool))
    assert np.sqrt(covariance[0, 0]) == pytest.approx(np.sqrt(50) / 40, rel=1e-6)


def test_impossible_counts_are_infinite() -> None:
    likelihood = likelihood_of(Workspace("s", every_modifier(), "data"))
    values = likelihood.model.parameters.initial.copy()
    values[likelihood.model.parameters.names.index("k_top")] = -50.0
    assert likelihood.twice_nll(values, likelihood.data) == np.inf
    data = Data(likelihood.data.counts, likelihood.data.auxiliary)
    assert np.isfinite(likelihood.twice_nll(likelihood.model.parameters.initial, data))


def broken(change: str) -> dict[str, Any]:
    spec = copy.deepcopy(every_modifier())
    first, second = spec["channels"]
    top = first["samples"][1]["modifiers"]
    if change == "name":
        top[6]["name"] = "jes"
    elif change == "factor":
        top[1]["data"]["lo"] = 0.0
    elif change == "bins":
        top[4]["data"] = [2.0, 1.0]
    elif change == "sample":
        second["samples"][1]["data"] = [1.0, 1.0]
    elif change == "lumi":
        spec["measurements"][0]["config"]["parameters"].pop(0)
    elif change == "inits":
        spec["measurements"][0]["config"]["parameters"][1]["inits"] = [1.0, 2.0]
    elif change == "poi":
        spec["measurements"][0]["config"]["poi"] = "strength"
    elif change == "observation":
        spec["observations"].pop()
    elif change == "counts":
        spec["observations"][0]["data"] = [44, -1, 19]
    elif change == "twice":
        spec["measurements"][0]["config"]["parameters"].append({"name": "k_top", "fixed": True})
    elif change == "shapesys":
        second["samples"][1]["modifiers"].append({"name": "abcd", "type": "shapesys", "data": [1.0, 1.0, 1.0]})
    return spec


def broken_numbers(change: str) -> dict[str, Any]:
    """Numbers that JSON can hold and no model can have."""
    spec = copy.deepcopy(every_modifier())
    first = spec["channels"][0]
    top, qcd = first["samples"][1:]
    config = spec["measurements"][0]["config"]["parameters"]
    if change == "nominal":
        top["data"][0] = float("nan")
    elif change == "shift":
        top["modifiers"][2]["data"]["hi_data"][1] = float("inf")
    elif change == "factor":
        top["modifiers"][1]["data"]["hi"] = float("inf")
    elif change == "size":
        qcd["modifiers"][0]["data"][0] = float("nan")
    elif change == "negative":
        qcd["modifiers"][0]["data"][0] = -3.0
    elif change == "background":
        qcd["data"][1], qcd["modifiers"][0]["data"][1] = -300.0, 0.0
    elif change == "start":
        config[1]["inits"] = [float("nan")]
    elif change == "bounds":
        config[1]["bounds"] = [[3.0, 0.5]]
    elif change == "constant":
        config.append({"name": "mu", "fixed": True})
    elif change == "channel":
        spec["channels"].append(copy.deepcopy(first))
    elif change == "sample":
        first["samples"].append(copy.deepcopy(top))
    elif change == "modifier":
        top["modifiers"].append(copy.deepcopy(top["modifiers"][1]))
    elif change == "observation":
        spec["observations"].append(copy.deepcopy(spec["observations"][0]))
    return spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("name", "named jes are of the kinds normfactor and normsys"),
        ("factor", "channel zeta, sample top: the normsys jes has factors .* needs positive ones"),
        ("bins", "channel zeta, sample top: the staterror stat has 2 bins where the sample has 3"),
        ("sample", "channel alpha, sample other: 2 bins where the channel has 3"),
        ("lumi", r"the parameter lumi \(lumi\) needs bounds in the measurement"),
        ("inits", "the measurement gives k_top 2 inits; it has 1"),
        ("poi", "the parameter of interest strength multiplies no sample: the workspace holds no signal"),
        ("observation", "no observation for the channels alpha"),
        ("counts", r"channel zeta: the observation \[44.0, -1.0, 19.0\] is not 3 counts"),
        ("twice", "the measurement sets a parameter twice"),
        ("shapesys", "the shapesys abcd stands in 2 samples"),
    ],
)
def test_contradictions_are_named(change: str, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        likelihood_of(Workspace("s", broken(change), "data"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nominal", r"channel zeta, sample top: the expected events \[nan, 20.0, 10.0\] are not finite"),
        ("shift", "channel zeta, sample top: the histosys jes has values that are not finite"),
        ("factor", "channel zeta, sample top: the normsys jes has factors .* needs positive ones"),
        ("size", "channel zeta, sample qcd: the shapesys abcd has values that are not finite"),
        ("negative", "channel zeta, sample qcd: the shapesys abcd has negative uncertainties"),
        ("background", r"the backgrounds expect -\d+(\.\d)? events in bin 1 of channel zeta"),
        ("start", r"the measurement gives k_top inits that are not finite: \[nan\]"),
        ("bounds", r"the measurement gives k_top bounds whose lower one is above: \[\[3.0, 0.5\]\]"),
        ("constant", "the measurement holds the parameter of interest mu constant"),
        ("channel", "the workspace has the channel zeta twice"),
        ("sample", "channel zeta has the sample top twice"),
        ("modifier", r"channel zeta, sample top has the modifier jes \(normsys\) twice"),
        ("observation", "the workspace has two observations for the channel zeta"),
    ],
)
def test_impossible_numbers_are_named(change: str, message: str) -> None:
    """Some of them gave a limit before: a NaN uncertainty counted as none, bounds in the wrong order as a constant."""
    with pytest.raises(StatisticsError, match=message):
        likelihood_of(Workspace("s", broken_numbers(change), "data"))
