"""Figures of the trigger: what the axes hold is what was computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from level1_events import checkpoint_of, made_up, random_inputs, random_network

from darkop_dist.conformal.bounds import clopper_pearson
from darkop_dist.errors import OutputError
from darkop_dist.report.style import check_figure_path, save_figure
from darkop_dist.report.trigger_figures import mean_efficiency, pareto_figure, rate_figure, stability_figure
from darkop_dist.trigger.curve import rate_curve
from darkop_dist.trigger.estimate import RateEstimate, estimate_trigger_rates
from darkop_dist.trigger.pareto import ParetoSet, Point
from darkop_dist.trigger.stability import Stability, estimate_stability

NETWORK = random_network(2)
SAMPLE = made_up(random_inputs(3000), np.random.default_rng(2).poisson(56.0, 3000))
CUT = float(np.quantile(NETWORK.score(SAMPLE.inputs), 0.8))


@pytest.fixture(scope="module")
def rates() -> RateEstimate:
    return estimate_trigger_rates(checkpoint_of(NETWORK), sample=SAMPLE, conditions="run2-2018", rate_hz=5e6)


@pytest.fixture(scope="module")
def changes() -> Stability:
    return estimate_stability(
        checkpoint_of(NETWORK), sample=SAMPLE, conditions="run2-2018", threshold=CUT, mean_collisions=(54.0, 30.0)
    )


def point(widths: tuple[int, ...], luts: float, first: float, second: float) -> Point:
    return Point(
        name="s", widths=widths, epoch=1, loss=0.1, ebops=10.0, luts=luts, depth=luts / 50,
        efficiency={"a": first, "b": second}, mean_efficiency=(first + second) / 2,
    )  # fmt: skip


STUDENTS = ParetoSet(
    rate_hz=1e3, conditions="run2-2018", luminosity=2e34, events={"a": 400, "b": 1000}, teacher={"a": 0.5, "b": 1.0},
    points=(point((8, 3), 300, 0.4, 1.0), point((16, 3), 500, 0.5, 0.9), point((8, 3), 600, 0.6, 0.95)),
)  # fmt: skip


def test_rates_against_threshold(rates: RateEstimate, tmp_path: Path) -> None:
    figure = rate_figure(rates)
    (axes,) = figure.axes
    assert (axes.get_yscale(), axes.get_ylabel(), axes.get_xlabel()) == (
        "log", "Rate [Hz]", "Threshold of the score (no unit)",
    )  # fmt: skip
    drawn = {line.get_label(): line for line in axes.lines}
    for label, curve in (
        ("All, 68% interval", rates.curve),
        ("Without a seed of the menu, 68% interval", rates.pure_curve),
    ):
        np.testing.assert_array_equal(drawn[label].get_xdata(), curve.thresholds)
        np.testing.assert_array_equal(drawn[label].get_ydata(), curve.rate_hz)
    assert drawn["Asked: 5 MHz"].get_ydata() == [5e6, 5e6]
    assert drawn[f"Threshold: {rates.threshold:.5g}"].get_xdata() == [rates.threshold] * 2
    band = np.concatenate([path.vertices for path in axes.collections[0].get_paths()])
    said = np.isfinite(rates.curve.rate_hz)
    assert set(rates.curve.low_hz[said]) | set(rates.curve.high_hz[said]) <= set(band[:, 1])
    title = axes.get_legend().get_title().get_text()
    assert "toy-trigger\nrun2-2018: 2$\\times$10$^{34}$ cm$^{-2}$s$^{-1}$\n2544 bunches, 55.9 collisions" in title
    assert "(13 TeV)" in [text.get_text() for text in axes.texts]
    assert save_figure(figure, tmp_path / "rates.svg").stat().st_size > 10_000


def test_the_curve_stops_where_the_sample_cannot_say(rates: RateEstimate) -> None:
    scores = np.random.default_rng(3).exponential(9.0, 2000).astype(np.float32)
    curve = rate_curve(scores, np.full(2000, 5e-4), 1e6)
    assert np.isnan(curve.rate_hz[-1])
    (axes,) = rate_figure(replace(rates, threshold=15.0, curve=curve, pure_curve=curve)).axes
    last = float(curve.thresholds[np.isfinite(curve.rate_hz)].max())
    assert axes.get_xlim()[1] == pytest.approx(1.03 * last)
    assert np.isnan(axes.lines[0].get_ydata()[-1])
    assert last < curve.thresholds[-1]


def test_of_a_rate_of_zero_the_upper_end_is_shown() -> None:
    found = estimate_trigger_rates(checkpoint_of(NETWORK), sample=SAMPLE, conditions="run2-2018", threshold=1e9)
    (axes,) = rate_figure(found).axes
    assert not any(str(line.get_label()).startswith("Asked") for line in axes.lines)
    ends = [bar.lines[0].get_ydata()[0] for bar in axes.containers]
    assert ends == [found.total.high_hz, found.pure.high_hz]
    assert all(bar.lines[1][0].get_marker() for bar in axes.containers)


def test_the_band_of_one_signal_is_binomial() -> None:
    found = mean_efficiency({"a": 0.1295}, {"a": 4000}, ["a"])
    low, high = clopper_pearson([518], 4000, 0.68)
    assert found == pytest.approx((0.1295, low[0], high[0]))
    assert found[2] - found[1] == pytest.approx(2 * np.sqrt(0.1295 * 0.8705 / 4000), rel=0.03)
    mean, below, above = mean_efficiency({"a": 0.5, "b": 0.5}, {"a": 4000, "b": 4000}, ["a", "b"])
    assert (mean, above - below) == (0.5, pytest.approx(np.sqrt(0.25 / 4000) * np.sqrt(2), rel=0.03))
    assert mean_efficiency({"a": 1.0}, {"a": 100}, ["a"])[2] == 1.0


def test_students_against_resources() -> None:
    figure = pareto_figure(STUDENTS)
    top, first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["", "a", "b"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"LUTs (da4ml's estimate)"}
    for axes, values, teacher in ((top, [0.7, 0.7, 0.775], 0.75), (first, [0.5, 0.4, 0.6], 0.5), (second, None, 1.0)):
        shapes = {bar.get_label(): bar for bar in axes.containers}
        assert list(shapes) == ["16-3", "8-3"]
        luts = [shapes["16-3"].lines[0].get_xdata().tolist(), shapes["8-3"].lines[0].get_xdata().tolist()]
        assert luts == [[500], [300, 600]]
        drawn = [*shapes["16-3"].lines[0].get_ydata(), *shapes["8-3"].lines[0].get_ydata()]
        assert drawn == pytest.approx(values or [0.9, 1.0, 0.95])
        assert axes.lines[0].get_ydata() == [teacher, teacher]
        assert len({bar.lines[0].get_marker() for bar in axes.containers}) == 2
    (bars,) = next(bar for bar in first.containers if bar.get_label() == "16-3").lines[2]
    low, high = clopper_pearson([200], 400, 0.68)
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [low[0], high[0]])
    assert {"6", "10", "12"} <= {text.get_text() for text in top.texts}
    assert "1 kHz; numbers: depth in adders" in figure.legends[0].get_title().get_text()


def test_a_score_against_what_changes(changes: Stability, tmp_path: Path) -> None:
    figure = stability_figure(changes)
    rates, faults, means, scores = figure.axes
    assert (rates.get_yscale(), rates.get_ylabel()) == ("log", "Rate [Hz]")
    assert means.get_xlabel() == "Mean number of collisions in a crossing"
    rows = [one for one in changes.changes if one.rate is not None]
    drawn = [(float(bar.lines[0].get_xdata()[0]), float(bar.lines[0].get_ydata()[0])) for bar in rates.containers]
    nothing, near = changes.nothing, rows[0]
    assert nothing.rate is not None
    assert near.rate is not None
    assert drawn == [(nothing.mean_collisions, nothing.rate.rate_hz), (54.0, near.rate.rate_hz)]
    ends = rates.containers[1].lines[2][0].get_segments()[0][:, 1]
    np.testing.assert_allclose(ends, [near.rate.low_hz, near.rate.high_hz])
    assert [text.get_text() for text in rates.texts if text.get_text() == "refused"] == ["refused"]
    assert rates.get_xlim()[0] < 30.0, "the refused pile-up has its place"
    assert [bar.lines[0].get_ydata()[0] for bar in faults.containers] == [
        one.rate.rate_hz for one in rows[1:] if one.rate
    ]
    assert [line.get_ydata()[0] for line in scores.lines[1:]] == [one.mean_score for one in rows[1:]]
    labels = [tick.get_text().replace("\n", " ") for tick in scores.get_xticklabels()]
    assert labels == [one.change for one in rows[1:]]
    assert "55.9 collisions a crossing, score $\\geq$" in figure.legends[0].get_title().get_text()
    assert save_figure(figure, tmp_path / "stability.png").stat().st_size > 10_000


def test_without_other_pile_up_and_where_nothing_passes() -> None:
    found = estimate_stability(checkpoint_of(NETWORK), sample=SAMPLE, conditions="run2-2018", threshold=1e9)
    rates, *_ = stability_figure(found).axes
    assert found.nothing.rate is not None
    assert rates.containers[0].lines[0].get_ydata() == [found.nothing.rate.high_hz]
    low, high = rates.get_xlim()
    assert low < found.nothing.mean_collisions < high


def test_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    assert check_figure_path(tmp_path / "a.PDF") == ".pdf"
    with pytest.raises(OutputError, match=r"a\.gif: figures are written as \.png, \.svg, \.pdf"):
        check_figure_path(tmp_path / "a.gif")
    with pytest.raises(OutputError, match=r"the folder .*none does not exist. Make it first"):
        check_figure_path(tmp_path / "none" / "a.png")
