"""Limits against published likelihoods, closed forms and pyhf's own command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import hist
import numpy as np
import pyhf
import pytest
from scipy import optimize, stats

from darkop_dist.errors import FitError, StatisticsError, UnknownNameError
from darkop_dist.limits import FitSample, Workspace, build_workspace, cls_values, upper_limit
from darkop_dist.limits.likelihood import Data, Likelihood, Minimum, likelihood_of
from darkop_dist.limits.toys import draw

Filled = dict[tuple[str, str, str], list[float]]
Book = Callable[..., hist.Hist]
Counting = Callable[[float, float, float], Workspace]


def closed_cls(mu: float, signal: float, background: float, observed: float) -> float:
    """CLs of a counting experiment by arXiv:1007.1727, equations 16, 65 and 66, written out with SciPy alone."""

    def q_tilde(n: float) -> float:
        best = max((n - background) / signal, 0.0)
        if best > mu:
            return 0.0
        held, free = background + mu * signal, background + best * signal
        return 2 * (held - free + (n * np.log(free / held) if n > 0 else 0.0))

    root_q, root_qa = np.sqrt(q_tilde(observed)), np.sqrt(q_tilde(background))
    t = root_q - root_qa if root_q <= root_qa else (root_q**2 - root_qa**2) / (2 * root_qa)
    return stats.norm.sf(t + root_qa) / stats.norm.sf(t)


@pytest.mark.parametrize(
    ("signal", "background", "observed"),
    [(5.0, 50.0, 53.0), (5.0, 50.0, 40.0), (0.004, 50.0, 53.0), (8000.0, 50.0, 53.0), (3.0, 1.2, 0.0)],
)
def test_counting_experiment(counting: Counting, signal: float, background: float, observed: float) -> None:
    """Limits from 1e-3 to 1e4. Tolerance: root finding to 1e-6 in mu and -2 ln L to about 1e-6."""
    result = upper_limit(counting(signal, background, observed), signal="s")
    expected = optimize.brentq(
        lambda mu: closed_cls(mu, signal, background, observed) - 0.05, 1e-3 / signal, 1e3 / signal
    )
    assert result.observed == pytest.approx(expected, rel=2e-5)
    assert result.cls_at_limit == pytest.approx(0.05, abs=1e-5)
    median = optimize.brentq(
        lambda mu: closed_cls(mu, signal, background, background) - 0.05, 1e-3 / signal, 1e3 / signal
    )
    assert result.expected[2] == pytest.approx(median, rel=2e-5)
    assert list(result.expected) == sorted(result.expected)
    # discovery: q0 = 2 (n ln(n/b) - n + b) above the background, 0 below (arXiv:1007.1727, equation 12)
    q0 = 2 * (observed * np.log(observed / background) - observed + background) if observed > background else 0.0
    assert result.z_observed == pytest.approx(np.sqrt(q0), abs=1e-4)
    assert result.p0_observed == pytest.approx(stats.norm.sf(np.sqrt(q0)), abs=1e-5)
    n = signal + background
    assert result.z_expected == pytest.approx(np.sqrt(2 * (n * np.log(n / background) - signal)), rel=1e-4, abs=1e-5)
    assert np.all(np.diff(result.scan_cls_obs) < 0)


def test_backend_of_the_caller_is_restored(counting: Counting) -> None:
    minuit = pyhf.optimize.minuit_optimizer()
    pyhf.set_backend("numpy", minuit)
    try:
        cls_values(counting(5, 50, 53), 1.0)
        assert pyhf.get_backend()[1] is minuit
    finally:
        pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer())


def zprime_workspace(booked: Book, filled: Filled, samples: list[FitSample], scale: float = 1.0) -> Workspace:
    """All kinds of modifiers; ``scale`` multiplies luminosity."""
    scaled = [
        FitSample(s.name, s.datasets, s.scales if s.role == "data" else (scale,), s.role, s.label) for s in samples
    ]
    return build_workspace(
        booked(filled),
        scaled,
        signal="zprime",
        regions=["signal"],
        lumi_uncertainty=0.02,
        systematics=["jes"],
        normalisation={"top": 0.1},
    )


def test_agrees_with_pyhfs_command_line(booked: Book, filled: Filled, samples: list[FitSample], tmp_path: Path) -> None:
    """The file given to ``pyhf cls``: CLs at mu = 1 and at the limit agree to 1e-4."""
    workspace = zprime_workspace(booked, filled, samples)
    workspace.save(tmp_path / "workspace.json")
    result = upper_limit(workspace, signal="zprime")
    for mu in (1.0, result.observed):
        pyhf_command = Path(sys.executable).parent / "pyhf"
        command = [str(pyhf_command), "cls", "--test-poi", repr(mu), str(tmp_path / "workspace.json")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        theirs = json.loads(done.stdout)
        ours = cls_values(workspace, mu)
        assert ours.observed == pytest.approx(theirs["CLs_obs"], abs=1e-4)
        assert ours.expected == pytest.approx(theirs["CLs_exp"], abs=1e-4)
    assert theirs["CLs_obs"] == pytest.approx(0.05, abs=1e-4)


def test_published_atlas_likelihood(shared_data: Path) -> None:
    """ATLAS SUSY-2018-31, region A, sbottom 1300, 205, 60 (HEPData ins1748602).

    The numbers are those of the README beside the data: pyhf, qtilde, interpolation code4/code4p. Its fits end within
    about 1e-6 in -2 ln L; 1e-5 in CLs is ten times that.
    """
    archive = shared_data / "likelihoods" / "pyhf-ins1748602-probability-models.tar.gz"
    with tarfile.open(archive) as files:
        background = json.load(files.extractfile("RegionA/BkgOnly.json"))
        patch = json.load(files.extractfile("RegionA/patch.sbottom_1300_205_60.json"))
    jsonpatch = pytest.importorskip("jsonpatch")
    workspace = Workspace("sbottom_1300_205_60", jsonpatch.apply_patch(background, patch), "data")
    values = cls_values(workspace, 1.0)
    assert values.observed == pytest.approx(0.24443628, abs=1e-5)
    assert values.expected == pytest.approx([0.0902, 0.1938, 0.3843, 0.6558, 0.8910], abs=5e-5)


def test_limit_falls_with_luminosity(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    """Background expectation as data, four luminosities: the median limit falls, but less than as 1/sqrt(lumi)."""
    simulated = [sample for sample in samples if sample.role != "data"]
    limits = [
        upper_limit(zprime_workspace(booked, filled, simulated, scale), signal="zprime") for scale in (0.5, 1, 2, 4)
    ]
    medians = np.array([limit.expected[2] for limit in limits])
    ratios = medians[1:] / medians[:-1]
    assert np.all(ratios < 1)
    assert np.all(ratios > 0.5)
    for limit in limits:
        assert limit.observed == pytest.approx(limit.expected[2], rel=1e-4)
        assert "Asimov" in limit.assumptions


def test_statistic_q_lets_the_strength_be_negative(counting: Counting) -> None:
    """Data below the background: mu_hat < 0 exactly, (n - b)/s."""
    result = upper_limit(counting(5.0, 50.0, 40.0), signal="s", statistic="q")
    assert result.mu_hat == pytest.approx(-2.0, abs=1e-3)
    assert (result.z_observed, result.p0_observed) == (0.0, 0.5)
    q = 2 * (50 + 5 * result.observed - 40 + 40 * np.log(40 / (50 + 5 * result.observed)))
    mu_a = 2 * (5 * result.observed + 50 * np.log(50 / (50 + 5 * result.observed)))
    assert stats.norm.sf(np.sqrt(q)) / stats.norm.cdf(np.sqrt(mu_a) - np.sqrt(q)) == pytest.approx(0.05, abs=1e-4)


def test_cross_section_limit_and_round_trip_of_units(counting: Counting) -> None:
    result = upper_limit(counting(5.0, 50.0, 53.0), signal="s", xsec_pb=0.25, confidence_level=0.9)
    assert result.xsec_limit_pb == pytest.approx(0.25 * result.observed)
    assert result.xsec_limit_expected_pb == pytest.approx([0.25 * limit for limit in result.expected])
    assert result.cls_at_limit == pytest.approx(0.1, abs=1e-5)


def test_toys_agree_with_exact_poisson_sums_and_repeat_with_the_seed(counting: Counting) -> None:
    """300 toys per hypothesis and point on six background events, where asymptotics are rough.

    q falls with the count n, so CLs = P(<= n | s + b) / P(<= n | b) exactly. At CLs = 0.05, P(<= n | s + b) is near
    0.03: 9 +- 3 toys, 33% of CLs and, with a slope d ln CLs / d ln mu of about -3, 11% of the limit; 35% is three
    times that.
    """
    workspace = counting(4.0, 6.0, 6.0)

    def exact(n: float) -> float:
        return optimize.brentq(lambda mu: stats.poisson.cdf(n, 6 + 4 * mu) / stats.poisson.cdf(n, 6) - 0.05, 0.01, 10)

    first = upper_limit(workspace, signal="s", toys=300, seed=17)
    assert (first.method, first.toys) == ("toys", 300)
    assert first.observed == pytest.approx(exact(6), rel=0.35)
    assert first.expected[2] == pytest.approx(exact(6), rel=0.35)
    assert first.expected[4] == pytest.approx(exact(11), rel=0.35)
    again = upper_limit(workspace, signal="s", toys=300, seed=17)
    assert again == first


def test_toys_draw_counts_and_auxiliary_data(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    """Means and spreads of 4000 toys; 5 standard errors."""
    workspace = zprime_workspace(booked, filled, samples)
    likelihood = likelihood_of(workspace)
    truth = likelihood.fit(likelihood.data, 1.0).parameters
    rng = np.random.default_rng(1)
    drawn = [draw(likelihood, truth, rng) for _ in range(4000)]
    toys = np.array([[*toy.counts, *toy.auxiliary] for toy in drawn])
    expected = np.concatenate([likelihood.expected(truth).counts, likelihood.expected(truth).auxiliary])
    widths = likelihood.model.parameters.sigma
    sigma = np.concatenate([np.sqrt(expected[:4]), widths])
    assert np.all(np.abs(toys.mean(axis=0) - expected) < 5 * sigma / np.sqrt(4000))
    assert toys.std(axis=0) == pytest.approx(sigma, rel=5 / np.sqrt(2 * 4000))


def test_bad_requests(counting: Counting) -> None:
    workspace = counting(5.0, 50.0, 53.0)
    with pytest.raises(UnknownNameError, match=r"unknown test statistic 'qtild'. Did you mean qtilde"):
        upper_limit(workspace, signal="s", statistic="qtild")
    with pytest.raises(StatisticsError, match="confidence level of 95 is not"):
        upper_limit(workspace, signal="s", confidence_level=95)
    with pytest.raises(StatisticsError, match="need a seed"):
        upper_limit(workspace, signal="s", toys=10)
    with pytest.raises(StatisticsError, match="no expected events in any bin"):
        upper_limit(counting(0.0, 50.0, 53.0), signal="s")


def test_a_fit_that_cannot_converge_says_so(counting: Counting) -> None:
    """Ten observed where neither background nor, at mu = 0, signal is expected: no finite likelihood."""
    with pytest.raises(FitError, match=r"held at 0.*not finite.*Merge bins"):
        upper_limit(counting(5.0, 0.0, 10.0), signal="s")


def test_a_fit_that_fails_falls_back_and_says_so(
    booked: Book, filled: Filled, samples: list[FitSample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Newton's method SLSQP fits, without both Minuit does: the same limit, and the result names them."""
    workspace = zprime_workspace(booked, filled, samples)
    best = upper_limit(workspace, signal="zprime")
    assert best.problems == ()
    original = Likelihood._minimise

    def failing(*lost: str) -> Callable[..., Minimum | str]:
        def attempt(self: Likelihood, method: str, *rest: object) -> Minimum | str:
            return "out of order" if method.split(maxsplit=1)[0] in lost else original(self, method, *rest)

        return attempt

    for lost, used in ((("Newton",), "SLSQP"), (("Newton", "SLSQP"), "Minuit")):
        monkeypatch.setattr(Likelihood, "_minimise", failing(*lost))
        result = upper_limit(workspace, signal="zprime")
        assert result.observed == pytest.approx(best.observed, rel=1e-3)
        assert len(result.problems) == 1
        assert re.match(rf"\d+ fits fell back to {used}", result.problems[0])
    monkeypatch.setattr(Likelihood, "_minimise", failing("Newton", "SLSQP", "Minuit"))
    with pytest.raises(FitError, match=r"Newton: out of order; SLSQP: out of order; Minuit: out of order"):
        upper_limit(workspace, signal="zprime")


def test_a_failed_point_never_loses_the_scan(
    booked: Book, filled: Filled, samples: list[FitSample], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = zprime_workspace(booked, filled, samples)
    best = upper_limit(workspace, signal="zprime")
    original = Likelihood.fit

    def failing(self: Likelihood, data: Data, mu: float | None = None, *rest: object, **more: object) -> Minimum:
        if mu == best.scan_mu[11]:
            raise FitError("out of order")
        return original(self, data, mu, *rest, **more)

    monkeypatch.setattr(Likelihood, "fit", failing)
    result = upper_limit(workspace, signal="zprime")
    assert result.scan_mu == best.scan_mu[:11] + best.scan_mu[12:]
    assert result.observed == best.observed
    assert result.problems == (f"the point mu = {best.scan_mu[11]:.4g} of the scan is left out: out of order",)


def test_no_sensitivity_is_a_cls_of_one(counting: Counting) -> None:
    """A background that only this bin measures takes any signal: CLs is 1, and no division by zero."""
    workspace = counting(5.0, 50.0, 53.0)
    free = {"name": "k", "type": "normfactor", "data": None}
    workspace.spec["channels"][0]["samples"][0]["modifiers"].append(free)
    values = cls_values(workspace, 1.0)
    assert values.observed == pytest.approx(1.0, abs=1e-6)
    assert values.expected == pytest.approx([1.0] * 5, abs=1e-5)


@pytest.mark.parametrize("mu", [-1.0, np.nan, np.inf])
def test_strengths_without_cls(counting: Counting, mu: float) -> None:
    """A negative strength had the CLs 1, whatever the data."""
    with pytest.raises(StatisticsError, match=f"there is no CLs at a signal strength of {mu:g}"):
        cls_values(counting(5.0, 50.0, 53.0), mu)


def test_data_without_background_are_named(counting: Counting) -> None:
    with pytest.raises(FitError, match=r"cannot give bin 0 of channel c \(0 expected, 3 observed\)"):
        upper_limit(counting(1.0, 0.0, 3.0), signal="s")
