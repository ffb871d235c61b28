"""A peak on a smooth spectrum: the real dijet spectrum of CMS, closed forms, and toys with a known answer."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.limits import limit_of, scan_limits
from darkop_dist.limits.resonance import ResonanceSearch, Spectrum, peak, resonance_search, scan_masses

LUMI_PB = 137.5e3  # the publication says 137/fb; with this the small counts are whole numbers


@pytest.fixture(scope="module")
def dijet(shared_data: Path) -> Spectrum:
    """CMS, arXiv:1911.03947 (HEPData ins1764471): counts are the published density times bin width and luminosity."""
    with (shared_data / "dijet" / "cms_exo_19_012_dijet_spectrum.csv").open() as file:
        rows = list(csv.DictReader(file))
    centres, widths, density = (
        np.array([float(row[name]) for row in rows])
        for name in ("mjj_gev_center", "bin_width_gev", "dsigma_dmjj_pb_per_tev")
    )
    edges = np.append(centres - widths / 2, centres[-1] + widths[-1] / 2)
    return Spectrum(edges, density * widths / 1000 * LUMI_PB, 13_000.0)


def falling(events: float = 1e5, bins: int = 40) -> Spectrum:
    """The function itself with four parameters, as expected counts."""
    edges = np.geomspace(1500.0, 8000.0, bins + 1)
    x = 0.5 * (edges[1:] + edges[:-1]) / 13_000
    density = (1 - x) ** 8 / x ** (5 + 0.1 * np.log(x)) * np.diff(edges)
    return Spectrum(edges, events * density / density.sum(), 13_000.0)


def test_counts_of_the_real_spectrum_are_the_published_ones(dijet: Spectrum) -> None:
    """Whole numbers where they are small, and 1/sqrt(N) is the published relative error: 0.1188/149.28 at first."""
    assert dijet.counts[-9:] == pytest.approx([49, 33, 18, 8, 8, 8, 0, 3, 1], abs=0.005)
    assert 1 / np.sqrt(dijet.counts[0]) == pytest.approx(0.11880 / 149.28, rel=0.002)


def test_real_dijet_spectrum_shows_no_significant_excess(dijet: Spectrum) -> None:
    """The publication: well described by the fit, "no significant evidence for the production of new particles".

    The four-parameter function describes it, and the largest local excess of a peak of 3%, 5% or 10% is near 2.
    """
    found = {}
    for width in (0.03, 0.05, 0.10):
        search = resonance_search(dijet, relative_width=width)
        assert search.goodness.ndof == 38
        assert search.goodness.p_value is not None
        assert search.goodness.p_value > 0.05
        scan = scan_masses(search, np.geomspace(1700, 8000, 60).tolist())
        assert scan.problems == ()
        found[width] = scan.best
    assert found[0.03].z_local == pytest.approx(2.1, abs=0.1)
    assert found[0.03].mass == pytest.approx(4800, rel=0.03)
    assert all(point.z_local < 2.5 for point in found.values())


@pytest.mark.slow
def test_global_significance_of_the_largest_excess_of_the_real_spectrum(dijet: Spectrum) -> None:
    """Two standard deviations near 4.8 TeV: half of all experiments without signal have as much somewhere.

    Gross and Vitells' bound against the maxima of the same 300 toys: 4 binomial standard deviations, and the bound
    may lie above where p is not small.
    """
    search = resonance_search(dijet, relative_width=0.03)
    scan = scan_masses(search, np.geomspace(1700, 8000, 40).tolist(), toys=300, seed=2)
    assert scan.toys == 300
    assert scan.elsewhere is not None
    assert scan.p_toys is not None
    assert scan.best.p_local == pytest.approx(scan.elsewhere.local_p_value, rel=1e-6)
    error = np.sqrt(scan.p_toys * (1 - scan.p_toys) / 300)
    assert scan.p_toys - 4 * error < scan.elsewhere.p_value < scan.p_toys + 4 * error + 0.25
    assert scan.elsewhere.p_value > 0.1  # no significant excess, as published


def test_limits_on_a_gaussian_resonance(dijet: Spectrum) -> None:
    """Cross section x branching x acceptance x 137/fb: falls from about 50 fb at 2 TeV by three decades to 7 TeV.

    The publication's limits on narrow resonances fall as much; shapes of peaks, systematics and the extended method
    differ, so no digit is compared.
    """
    search = resonance_search(dijet, relative_width=0.05)
    masses = [2000.0, 3000.0, 4000.0, 5000.0, 6000.0, 7000.0]

    def at(mass: float) -> object:
        return lambda: limit_of(search.likelihood(mass), signal=f"{mass:g} GeV", xsec_pb=1 / LUMI_PB)

    scan = scan_limits({mass: at(mass) for mass in masses}, cross_section=True)
    assert scan.problems == ()
    assert np.all(np.diff([row[2] for row in scan.expected]) < 0)
    assert 0.01 < scan.observed[0] < 0.2
    assert 2e-5 < scan.observed[-1] < 2e-4
    for observed, bands in zip(scan.observed, scan.expected, strict=True):
        assert list(bands) == sorted(bands)
        assert bands[0] / 2 < observed < 2 * bands[4]
    # few events: between the 3 of an experiment without background and 2 + 2 sqrt(b) + 3 with the b under the peak
    high, share = limit_of(search.likelihood(7900.0), signal="7.9 TeV"), peak(dijet.edges, 7900.0, 395.0)
    under = search.expected_background[share > 0.05].sum()
    assert 3.0 < high.expected[2] * share.sum() < 5.0 + 2.0 * np.sqrt(under)


def test_a_peak_that_was_put_in_is_found() -> None:
    """Asimov data: q0 of s events on a known background is at most the sum over bins, and mu is s."""
    spectrum = falling()
    signal = 300 * peak(spectrum.edges, 3000.0, 90.0)
    search = resonance_search(Spectrum(spectrum.edges, spectrum.counts + signal, 13_000.0), relative_width=0.03)
    point = search.point(3000.0)
    assert point.events == pytest.approx(300, rel=0.02)
    known = np.sqrt(2 * np.sum((spectrum.counts + signal) * np.log1p(signal / spectrum.counts) - signal))
    assert 0.85 * known < point.z_local < known
    assert point.p_local == pytest.approx(stats.norm.sf(point.z_local))
    empty = resonance_search(spectrum, relative_width=0.03).point(3000.0)
    assert empty.z_local < 0.05


def test_local_p_values_are_uniform_without_a_signal() -> None:
    """400 toys at one mass, seed 8: half have no excess; P(p <= a) is a. Binomial bounds of 4 standard deviations."""
    search = resonance_search(falling(), relative_width=0.05)
    rng = np.random.default_rng(8)
    p_values = np.array([search.toy([3500.0], rng)[0].p_local for _ in range(400)])
    for level in (0.05, 0.1, 0.3):
        found = float(np.mean(p_values <= level))
        assert abs(found - level) < 4 * np.sqrt(level * (1 - level) / 400)


def search_of(**changes: object) -> ResonanceSearch:
    return resonance_search(falling(), **{"relative_width": 0.03, **changes})


def test_bad_input_is_named() -> None:
    edges, counts = falling().edges, falling().counts
    with pytest.raises(StatisticsError, match="a spectrum of 40 bins needs 41 edges that increase; got 40"):
        Spectrum(edges[:-1], counts, 13_000.0)
    with pytest.raises(StatisticsError, match="must lie between zero and the centre-of-mass energy 13"):
        Spectrum(edges, counts, 13.0)
    with pytest.raises(InputValueError, match="counts are negative or NaN"):
        Spectrum(edges, np.where(counts > 1, np.nan, counts), 13_000.0)
    with pytest.raises(StatisticsError, match="3 to 5 parameters, not 6"):
        search_of(shapes=6)
    with pytest.raises(StatisticsError, match="relative width of 3 is not between 0 and 1"):
        search_of(relative_width=3.0)
    with pytest.raises(StatisticsError, match="a peak at 100 lies outside the spectrum, 1500 to 8000"):
        search_of().point(100.0)
    with pytest.raises(StatisticsError, match="2 bins with events cannot fix the 4 parameters"):
        resonance_search(Spectrum(edges, np.where(np.arange(40) < 2, 5.0, 0.0), 13_000.0), relative_width=0.03)
