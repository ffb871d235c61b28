"""Plots of fits: what is drawn and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.report.content import ImpactBar, MassLimits, PlotContext, ProfileCurve
from darkop_dist.report.fit_figures import correlation_figure, mass_figure, profile_figure, ranking_figure

CONTEXT = PlotContext("CMS", has_data=True, lumi_ifb=137.0)


def test_ranking_shows_the_largest_twenty_in_order() -> None:
    bars = [ImpactBar(f"nuisance_{k}", 0.1 * k, 0.9, 1.0 / (k + 1), -0.8 / (k + 1), None, None) for k in range(25)]
    figure = ranking_figure(bars, "mu", CONTEXT)
    assert figure is not None
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"nuisance_{k}" for k in range(20)]
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths[40:60] == pytest.approx([1.0 / (k + 1) for k in range(20)])
    low, high = figure.axes[0].get_xlim()
    assert low == -high
    assert high > 1.0
    assert ranking_figure([], "mu", CONTEXT) is None


def test_correlations_leave_out_what_is_not_correlated() -> None:
    matrix = np.eye(4)
    matrix[0, 2] = matrix[2, 0] = -0.7
    figure = correlation_figure(["a", "b", "c", "d"], matrix, CONTEXT)
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["a", "c"]
    assert figure.axes[0].images[0].get_array()[0, 1] == -0.7
    assert correlation_figure(["a", "b"], np.eye(2), CONTEXT) is None


def test_profile_names_its_interval() -> None:
    values = np.linspace(-1, 3, 21)
    figure = profile_figure(ProfileCurve("mu", 1.0, values, (values - 1) ** 2, 0.6827, 0.0, 2.0), CONTEXT)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts[0] == "68.3% interval: 0 to 2"
    one_sided = profile_figure(ProfileCurve("k", 0.0, values, values**2, 0.6827, None, 2.0), CONTEXT)
    assert "bound to 2" in one_sided.axes[0].get_legend().get_texts()[0].get_text()


def test_limits_against_mass() -> None:
    masses = np.array([1000.0, 2000.0, 3000.0])
    expected = [factor * 1e3 / masses for factor in (0.5, 0.7, 1.0, 1.4, 2.0)]
    limits = MassLimits(masses, 1e3 / masses, expected, limit_label=r"$\sigma$ [pb]", prediction_label="Z'")
    figure = mass_figure(limits, CONTEXT, prediction=lambda mass: 5e5 / mass**2)
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [r"Expected $\pm$ 2 s.d.", r"Expected $\pm$ 1 s.d.", "Expected median", "Observed", "Z'"]
    low, high = axes.get_ylim()
    assert low < 5e5 / 3000**2
    assert high > 2.0
    blind = mass_figure(MassLimits(masses, None, expected), CONTEXT)
    assert "Observed" not in [text.get_text() for text in blind.axes[0].get_legend().get_texts()]
