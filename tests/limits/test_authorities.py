"""Numbers from outside this project: published likelihoods, cabinetry on a real search, closed forms, coverage."""

from __future__ import annotations

import copy
import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cabinetry
import hist
import numpy as np
import pytest
import uproot
from scipy import stats

from darkop_dist.errors import StatisticsError
from darkop_dist.limits import (
    FitSample,
    Workspace,
    build_workspace,
    cls_values,
    fit,
    rank,
    scan_limits,
    upper_limit,
)
from darkop_dist.limits.backend import numpy_backend
from darkop_dist.limits.likelihood import likelihood_of
from darkop_dist.limits.resonance import peak

BACKGROUNDS = ("tt_semilep", "tt_had", "tt_lep", "wjets")
BINS = (0.0, 480.0, 600.0, 720.0, 840.0, 960.0, 1200.0, 1500.0, 1800.0, 2100.0, 3000.0)  # edges of the 60 GeV bins
MU = {"name": "mu", "type": "normfactor", "data": None}


@pytest.mark.slow
@pytest.mark.parametrize(("region", "least"), [("RegionA", 200), ("RegionB", 200), ("RegionC", 200)])
def test_every_patch_of_a_published_likelihood_runs(shared_data: Path, region: str, least: int) -> None:
    """All signals of ATLAS SUSY-2018-31: CLs lies between 0 and 1, the bands are in order, Newton's method fits all."""
    jsonpatch = pytest.importorskip("jsonpatch")
    patches: dict[str, Any] = {}
    with tarfile.open(shared_data / "likelihoods" / "pyhf-ins1748602-probability-models.tar.gz") as files:
        for member in files:
            name = Path(member.name)
            if name.parts[-2:-1] == (region,) and name.suffix == ".json":
                patches[name.stem] = json.load(files.extractfile(member))
    background = patches.pop("BkgOnly")
    assert len(patches) >= least
    if region == "RegionB":  # this one takes the signal's only channel away; pyhf refuses it as well
        without = jsonpatch.apply_patch(background, patches.pop("patch.sbottom_1500_1495_60"))
        with pytest.raises(StatisticsError, match="mu_SIG multiplies no sample: the workspace holds no signal"):
            cls_values(Workspace("none", without, "data"), 1.0)
    for name, patch in patches.items():
        values = cls_values(Workspace(name, jsonpatch.apply_patch(background, patch), "data"), 1.0)
        assert 0.0 <= values.observed <= 1.0 + 1e-9, name
        assert list(values.expected) == sorted(values.expected), name
        assert np.all(np.isfinite(values.expected)), name


@pytest.fixture(scope="module")
def zprime(shared_data: Path) -> hist.Hist:
    """The templates of the workshop's search for Z' -> tt -> muon + jets in CMS data of 2016 (5157 events)."""
    booked = hist.Hist(
        hist.axis.StrCategory(["data", "signal", *BACKGROUNDS], name="dataset"),
        hist.axis.StrCategory(["signal"], name="region"),
        hist.axis.StrCategory(["nominal", "pu_up", "pu_down", "muId_up", "muId_down"], name="variation"),
        hist.axis.Regular(50, 0.0, 3000.0, name="mtt", label="mass [GeV]"),
        storage=hist.storage.Weight(),
    )
    with uproot.open(shared_data / "zprime" / "Zprime_hists_FULL.root") as file:
        for dataset in booked.axes[0]:
            names = {"nominal": ""} if dataset == "data" else {
                "nominal": "", "pu_up": "__puUp", "pu_down": "__puDown", "muId_up": "__muIdUp", "muId_down": "__muIdDown",
            }  # fmt: skip
            for variation, suffix in names.items():
                template = file[f"mtt__{'data_obs' if dataset == 'data' else dataset}{suffix}"]
                where = (booked.axes[0].index(dataset), 0, booked.axes[2].index(variation))
                booked.view().value[where] = template.values()
                booked.view().variance[where] = template.values() if dataset == "data" else template.variances()
    return booked


def zprime_workspace(booked: hist.Hist) -> Workspace:
    samples = [FitSample("data", ("data",), (1.0,), "data", "Data")]
    samples += [FitSample(name, (name,), (1.0,), "background", name) for name in BACKGROUNDS]
    samples.append(FitSample("signal", ("signal",), (1.0,), "signal", "Z'"))
    return build_workspace(
        booked, samples, signal="signal", regions=["signal"], lumi_uncertainty=0.025, systematics=["pu", "muId"],
        bin_edges_used=BINS,
    )  # fmt: skip


@pytest.mark.slow
def test_the_real_zprime_search_agrees_with_cabinetry(zprime: hist.Hist) -> None:
    """Limits, best fit, goodness of fit and impacts on the real templates.

    Cabinetry stops where CLs is near .05 (at .0473 for the median, asked for a tolerance of 1e-3), which is 1 to 3% of
    a limit; at its limits our CLs is within its default tolerance of 0.01 of .05. Minuit's estimated distance of 2e-4 is 1.4% of a standard
    deviation.
    """
    workspace = zprime_workspace(zprime)
    wide = [{"name": name, "bounds": [[-12.0, 12.0]]} for name in ("pu", "muId", "luminosity")]
    workspace.spec["measurements"][0]["config"]["parameters"] += wide  # the data pull them by more than four
    assert sum(workspace.spec["observations"][0]["data"]) == 5157
    ours = upper_limit(workspace, signal="signal")
    fitted = fit(workspace, hypothesis="signal+background")
    ranking = rank(workspace)
    spec = copy.deepcopy(workspace.spec)
    with numpy_backend():
        model, data = cabinetry.model_utils.model_and_data(spec)
        bracket = [0.5 * ours.expected[0], 2.0 * ours.expected[4]]
        limit = cabinetry.fit.limit(model, data, bracket=bracket, tolerance=1e-3)
        theirs = cabinetry.fit.fit(model, data, goodness_of_fit=True)
        spec["measurements"][0]["config"]["parameters"][0]["bounds"] = [[-1.0, 1.0]]
        free, data = cabinetry.model_utils.model_and_data(spec)
        impacts = cabinetry.fit.ranking(free, data)
    assert ours.observed == pytest.approx(limit.observed_limit, rel=0.03)
    assert list(ours.expected) == pytest.approx(list(limit.expected_limit), rel=0.03)
    assert cls_values(workspace, limit.observed_limit).observed == pytest.approx(0.05, abs=5e-3)
    for band, mu in enumerate(limit.expected_limit):
        assert cls_values(workspace, float(mu)).expected[band] == pytest.approx(0.05, abs=0.01)
    assert ours.cls_at_limit == pytest.approx(0.05, abs=1e-6)
    assert fitted.twice_nll == pytest.approx(theirs.best_twice_nll, abs=2e-3)
    assert fitted.twice_nll <= theirs.best_twice_nll + 1e-6
    assert fitted.goodness.p_value == pytest.approx(theirs.goodness_of_fit, abs=1e-3)
    by_name = {impact.name: impact for impact in ranking.impacts}
    close = 0.05 * ranking.mu_hat_uncertainty
    for i, name in enumerate(impacts.labels):
        assert by_name[name].up == pytest.approx(impacts.postfit_up[i], abs=close), name
        assert by_name[name].down == pytest.approx(impacts.postfit_down[i], abs=close), name


def test_limits_of_the_real_zprime_search_against_mass(zprime: hist.Hist) -> None:
    """Peaks of the 2 TeV template's width (18% of the mass in the reconstructed one) at five masses, in events.

    The data lie far below the simulation where it is large, as the workshop's authors say: nuisance parameters are
    pulled, and the limit is weakest under the falling edge of tt; it is strongest at the highest mass.
    """
    filled = zprime.copy()
    place = filled.axes[0].index("signal")
    centres = filled.axes[3].centers
    nominal = zprime.view().value[place, 0, 0]
    core = (centres > 1200) & (centres < 2600)
    mean = np.average(centres[core], weights=nominal[core])
    width = np.sqrt(np.average((centres[core] - mean) ** 2, weights=nominal[core])) / mean
    assert 0.1 < width < 0.25

    def at(mass: float) -> Workspace:
        shape = 100.0 * peak(filled.axes[3].edges, mass, width * mass)
        for variation in range(5):
            filled.view().value[place, 0, variation] = shape
            filled.view().variance[place, 0, variation] = shape / 100.0
        return zprime_workspace(filled)

    masses = (1000.0, 1300.0, 1600.0, 2000.0, 2400.0)
    workspaces = {mass: at(mass) for mass in masses}
    scan = scan_limits({mass: partial(upper_limit, w, signal=f"{mass:g}") for mass, w in workspaces.items()})
    assert scan.masses == masses
    assert scan.problems == ()
    medians = [row[2] for row in scan.expected]
    assert medians[-1] == min(medians)
    assert all(row[0] / 2 < observed < 2 * row[4] for observed, row in zip(scan.observed, scan.expected, strict=True))


@pytest.mark.parametrize(("on", "off", "tau"), [(25.0, 50.0, 4.0), (140.0, 100.0, 1.0), (12.0, 30.0, 10.0)])
def test_on_off_significance_of_li_and_ma(on: float, off: float, tau: float) -> None:
    """Li and Ma, ApJ 272 (1983) 317, equation 17: a signal region and a control region tau times as large."""
    alpha = 1 / tau
    li_ma = np.sqrt(
        2 * (on * np.log((1 + alpha) / alpha * on / (on + off)) + off * np.log((1 + alpha) * off / (on + off)))
    )
    free, bounds = {"name": "b", "type": "normfactor", "data": None}, [{"name": "b", "bounds": [[0.0, 100.0]]}]
    channels = [
        {
            "name": "on",
            "samples": [
                {"name": "s", "data": [1.0], "modifiers": [MU]},
                {"name": "background", "data": [10.0], "modifiers": [free]},
            ],
        },
        {"name": "off", "samples": [{"name": "background", "data": [10.0 * tau], "modifiers": [free]}]},
    ]
    spec = {
        "channels": channels,
        "observations": [{"name": "on", "data": [on]}, {"name": "off", "data": [off]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": bounds}}],
        "version": "1.0.0",
    }
    result = upper_limit(Workspace("s", spec, "data"), signal="s")
    expected = li_ma if on > off * alpha else 0.0
    assert result.z_observed == pytest.approx(expected, abs=1e-4)
    assert result.p0_observed == pytest.approx(stats.norm.sf(expected), rel=1e-3)
    assert result.mu_hat == pytest.approx(max(on - off * alpha, 0.0), abs=1e-3)
    assert result.problems == ()


def test_a_free_normalisation_at_its_bound_is_said(counting: Callable[..., Workspace]) -> None:
    """Pyhf's default bound is 10: a background that needs 12 times its template would pass for signal."""
    spec = copy.deepcopy(counting(1.0, 10.0, 140.0).spec)
    spec["channels"][0]["samples"][0]["modifiers"].append({"name": "k", "type": "normfactor", "data": None})
    off = {"name": "background", "data": [10.0], "modifiers": [{"name": "k", "type": "normfactor", "data": None}]}
    spec["channels"].append({"name": "off", "samples": [off]})
    spec["observations"].append({"name": "off", "data": [120.0]})
    result = upper_limit(Workspace("s", spec, "data"), signal="s")
    assert result.problems == ("the free parameter k ended at its bound 10: widen its bounds",)


def counted(n: float, aux: float) -> Workspace:
    """A signal of 20 on 50 with a background known to 10%, and the auxiliary measurement where it fell."""
    norm = {"name": "norm", "type": "normsys", "data": {"hi": 1.1, "lo": 1 / 1.1}}
    samples = [
        {"name": "b", "data": [50.0], "modifiers": [norm]},
        {"name": "s", "data": [20.0], "modifiers": [MU]},
    ]
    settings = [{"name": "norm", "auxdata": [aux]}]
    spec = {
        "channels": [{"name": "c", "samples": samples}],
        "observations": [{"name": "c", "data": [n]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": settings}}],
        "version": "1.0.0",
    }
    return Workspace("s", spec, "data")


@pytest.mark.slow
def test_limits_and_intervals_cover_with_a_nuisance_parameter() -> None:
    """1000 experiments, seed 21, strength 1, background known to 10%, both fluctuated.

    Intervals of 68.27%: the binomial law has a standard deviation of 1.5%, taken three times, and 1.5% for whole
    counts and asymptotics. Limits of 95%: CLs covers at least; 0.7%, three times, and 1%.
    """
    rng = np.random.default_rng(21)
    covered, excluded = 0, 0
    for _ in range(1000):
        aux = float(rng.normal())  # the true value is 0
        workspace = counted(float(rng.poisson(70.0)), aux)
        likelihood = likelihood_of(workspace, negative=True)
        best, held = (likelihood.fit(likelihood.data, mu) for mu in (None, 1.0))
        covered += held.twice_nll - best.twice_nll <= 1.0  # what scan_likelihood's interval of 68.27% asks
        excluded += cls_values(workspace, 1.0).observed < 0.05
    assert abs(covered / 1000 - 0.6827) < 3 * 0.015 + 0.015
    assert excluded / 1000 <= 0.05 + 3 * 0.007 + 0.01


def test_a_scan_that_never_excludes_is_said() -> None:
    """A signal that is swallowed by its own uncertainty has no limit: an error, not a number at an edge."""
    workspace = copy.deepcopy(counted(50.0, 0.0))
    free = {"name": "k", "type": "normfactor", "data": None}
    workspace.spec["channels"][0]["samples"][1]["modifiers"].append(free)
    workspace.spec["measurements"][0]["config"]["parameters"].append({"name": "k", "bounds": [[0.0, 10.0]]})
    with pytest.raises(Exception, match=r"no signal strength up to .* is excluded: the data have no sensitivity"):
        upper_limit(workspace, signal="s")
