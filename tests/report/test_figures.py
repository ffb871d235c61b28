from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from darkop_dist.report.calibration import calibration_figure, calibration_scatter
from darkop_dist.report.content import PageInput, PlotContext, Pull, SignalLimit
from darkop_dist.report.limit_figures import limit_summary_figure, most_pulled, pulls_figure, scan_figure
from darkop_dist.report.scores import score_figure
from darkop_dist.report.stack import stack_figure
from darkop_dist.report.style import settle_layout
from darkop_dist.report.timeline import timeline_figure


def test_figures_leave_no_global_state_behind(full_page: PageInput) -> None:
    before = dict(mpl.rcParams)
    assert full_page.calibration is not None
    calibration_figure(full_page.calibration, full_page.context)
    limit_summary_figure(full_page.limits, full_page.context)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_a_layout_that_is_settled_once_is_that_of_every_file(full_page: PageInput, make_timeline: Any) -> None:
    assert full_page.fit is not None
    bins = full_page.fit.prefit[0]
    makers = (
        lambda: stack_figure(bins, full_page.samples, full_page.context),
        lambda: pulls_figure(full_page.fit.pulls, full_page.context),
        lambda: timeline_figure(make_timeline(2, 40)),
    )
    for make in makers:
        figure, settled = make(), make()
        minor = [axis.get_minor_locator() for axes in settled.axes for axis in (axes.xaxis, axes.yaxis)]
        settle_layout(settled)
        assert [axis.get_minor_locator() for axes in settled.axes for axis in (axes.xaxis, axes.yaxis)] == minor
        figure.draw_without_rendering()
        settled.draw_without_rendering()
        for axes, expected in zip(settled.axes, figure.axes, strict=True):
            assert axes.get_position().bounds == pytest.approx(expected.get_position().bounds, abs=0.002)


def test_scores_are_normalised_with_what_lies_outside(full_page: PageInput) -> None:
    figure = score_figure(full_page.scores, full_page.samples[4:], "signal", full_page.context)
    assert figure is not None
    values, edges, _ = figure.axes[0].patches[0].get_data()
    counts = full_page.scores[{"dataset": "dm-axial", "region": "signal", "split": sum}].values(flow=True)
    assert np.sum(values * np.diff(edges)) == pytest.approx(counts[1:-1].sum() / counts.sum())
    assert counts[-1] > 0
    assert score_figure(full_page.scores, full_page.samples, "nowhere", full_page.context) is None


def test_scatter_of_one_calibration_is_the_beta_law() -> None:
    low, high = calibration_scatter(np.array([0.5 / 100, 0.05, 1.0]), 99, 0.9)
    assert (low[0], high[0]) == (0.0, 0.0)
    assert low[1] == pytest.approx(stats.beta(5, 95).ppf(0.05))
    assert high[1] == pytest.approx(stats.beta(5, 95).ppf(0.95))
    assert (low[2], high[2]) == (1.0, 1.0)


def test_scatter_holds_simulated_calibrations() -> None:
    # 1000 calibrations of 99 uniform scores: the 5th largest leaves Beta(5, 95) above it. 90% +- 4 binomial s.d. (3.8%).
    rng = np.random.default_rng(5)
    above = 1.0 - np.sort(rng.random((1000, 99)), axis=1)[:, -5]
    low, high = calibration_scatter(np.array([0.05]), 99, 0.9)
    assert np.mean((above >= low[0]) & (above <= high[0])) == pytest.approx(0.9, abs=0.038)


def test_the_floor_is_drawn_and_written(full_page: PageInput) -> None:
    assert full_page.calibration is not None
    axes = calibration_figure(full_page.calibration, full_page.context).axes[0]
    assert any("floor 1/(n + 1) = 3.3e-05" in text.get_text() for text in axes.texts)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any(label.startswith("Held-out background (n = 10,000") for label in labels)
    assert "Data (n = 8,500)" in labels


def test_the_scan_marks_the_limit(full_page: PageInput) -> None:
    figure = scan_figure(full_page.limits[0], full_page.context)
    assert figure is not None
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert r"Observed limit: $\mu$ < 1.21" in labels
    assert scan_figure(SignalLimit("empty"), full_page.context) is None


def test_the_summary_draws_expected_limits_without_data() -> None:
    expected = (0.5, 0.7, 1.0, 1.4, 2.0)
    figure = limit_summary_figure((SignalLimit("a", expected=expected), SignalLimit("b")), PlotContext())
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a"]
    assert limit_summary_figure((SignalLimit("b"),), PlotContext()) is None


def test_many_pulls_become_the_farthest() -> None:
    pulls = [Pull(f"p{i}", i / 10.0, 1.0) for i in range(50)]
    assert [pull.name for pull in most_pulled(pulls)][:2] == ["p49", "p48"]
    assert len(most_pulled(pulls)) == 40
    assert most_pulled(pulls[:3]) == tuple(pulls[:3])
    assert pulls_figure([], PlotContext()) is None
    wide = pulls_figure([Pull("far", -9.0, 1.0)], PlotContext())
    assert wide is not None
    assert wide.axes[0].get_xlim()[0] < -10.0
