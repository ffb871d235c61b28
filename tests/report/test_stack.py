from __future__ import annotations

import hist
import numpy as np
import pytest

from darkop_dist.report.binned import background_uncertainty, binned, stacked_bins
from darkop_dist.report.content import ObservablePlot, PlotContext, SamplePlot, StackedBins
from darkop_dist.report.poisson import garwood_errors
from darkop_dist.report.stack import stack_figure

CMS = PlotContext("CMS", has_data=True, lumi_ifb=16.39)
SAMPLES = (
    SamplePlot("data", "Data", ("data",), role="data"),
    SamplePlot("top", "Top", ("tt", "st"), {"tt": 0.5, "st": 2.0}),
    SamplePlot("signal", "Signal", ("signal",), role="signal", overlay_scale=10.0),
)


@pytest.fixture
def booked() -> hist.Hist:
    booked = hist.Hist(
        hist.axis.StrCategory([], growth=True, name="dataset"),
        hist.axis.StrCategory([], growth=True, name="region"),
        hist.axis.StrCategory([], growth=True, name="variation"),
        hist.axis.Variable([0.0, 10.0, 30.0], name="x", label="x [GeV]"),
        storage=hist.storage.Weight(),
    )
    booked.fill(dataset="tt", region="SR", variation="nominal", x=[5.0, 5.0, 20.0, 99.0], weight=[1.0, 3.0, 2.0, 4.0])
    booked.fill(dataset="tt", region="SR", variation="scale_up", x=[5.0, 20.0, 20.0], weight=[2.0, 3.0, 3.0])
    booked.fill(dataset="st", region="SR", variation="nominal", x=[5.0])
    booked.fill(dataset="data", region="SR", variation="nominal", x=[5.0, 5.0, 20.0, -1.0])
    booked.fill(dataset="signal", region="SR", variation="nominal", x=[20.0])
    return booked


def test_datasets_are_summed_with_their_scales(booked: hist.Hist) -> None:
    part = binned(booked, SAMPLES[1], "SR")
    np.testing.assert_allclose(part.values, [0.0, 0.5 * 4.0 + 2.0, 0.5 * 2.0, 0.5 * 4.0])
    np.testing.assert_allclose(part.variances, [0.0, 0.25 * 10.0 + 4.0, 0.25 * 4.0, 0.25 * 16.0])


def test_a_dataset_without_a_variation_keeps_its_nominal_bins(booked: hist.Hist) -> None:
    np.testing.assert_allclose(binned(booked, SAMPLES[1], "SR", "scale_up").inside, [0.5 * 2.0 + 2.0, 0.5 * 6.0])


def test_uncertainty_adds_shifts_in_quadrature(booked: hist.Hist) -> None:
    band, label = background_uncertainty(booked, SAMPLES, "SR")
    np.testing.assert_allclose(band, np.sqrt([6.5 + 1.0**2, 1.0 + 2.0**2]))
    assert label == "Stat. + syst."


def test_stacked_bins_name_what_lies_outside(booked: hist.Hist) -> None:
    bins = stacked_bins(ObservablePlot("x", booked), SAMPLES, "SR")
    assert bins is not None
    assert bins.outside == {"background": (0.0, 2.0), "data": (1.0, 0.0)}
    assert stacked_bins(ObservablePlot("x", booked), SAMPLES, "nowhere") is None


def test_unequal_bins_are_divided_by_their_width(booked: hist.Hist) -> None:
    bins = stacked_bins(ObservablePlot("x", booked), SAMPLES, "SR")
    assert bins is not None
    main, ratio = stack_figure(bins, SAMPLES, CMS).axes
    assert main.get_ylabel() == "Events / GeV"
    assert ratio.get_xlabel() == "x [GeV]"
    (points,) = [line for line in main.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points.get_ydata(), [2.0 / 10.0, 1.0 / 20.0])
    np.testing.assert_allclose(ratio.lines[1].get_ydata(), [2.0 / 4.0, 1.0 / 1.0])
    texts = [text.get_text() for text in main.get_legend().get_texts()]
    assert r"Signal $\times$ 10" in texts


def test_error_bars_are_garwood_intervals_and_empty_counts_have_one() -> None:
    bins = StackedBins("SR", "x [GeV]", [0, 1, 2], {"top": [3.0, 2.0]}, [0.3, 0.2], data=[4.0, 0.0])
    main, ratio = stack_figure(bins, SAMPLES, CMS, log=False).axes
    low, high = garwood_errors([4.0, 0.0])
    segments = np.asarray(main.collections[0].get_segments())[:, :, 1]
    np.testing.assert_allclose(segments, [[4.0 - low[0], 4.0 + high[0]], [0.0, high[1]]])
    np.testing.assert_allclose(np.asarray(ratio.collections[0].get_segments())[1, :, 1], [0.0, high[1] / 2.0])
    assert main.get_ylabel() == "Events / 1 GeV"


def test_without_data_there_is_no_ratio_and_the_label_says_simulation() -> None:
    bins = StackedBins("SR", "x", [0, 1, 2], {"top": [3.0, 2.0]}, [0.3, 0.2])
    figure = stack_figure(bins, SAMPLES, PlotContext("simulation", lumi_ifb=None))
    assert len(figure.axes) == 1
    assert "Simulation" in [text.get_text() for text in figure.axes[0].texts]


def test_points_outside_the_ratio_are_marked() -> None:
    bins = StackedBins("SR", "x", [0, 1, 2], {"top": [3.0, 2.0]}, [0.3, 0.2], data=[30.0, 2.0])
    _, ratio = stack_figure(bins, SAMPLES, CMS).axes
    (arrow,) = [line for line in ratio.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert arrow.get_xdata().tolist() == [0.5]


def test_no_error_bar_reaches_the_legend() -> None:
    bins = StackedBins("SR", "x", [0, 1, 2], {"top": [3.0, 2.0]}, [0.3, 0.2], data=[5.0, 9.0])
    main, _ = stack_figure(bins, SAMPLES, CMS, log=False).axes
    assert 9.0 + garwood_errors([9.0])[1][0] < 0.8 * main.get_ylim()[1]


def test_a_background_without_datasets_is_drawn() -> None:
    """Such as ABCD's: it stands for data, so no sample of the run has its name."""
    bins = StackedBins("SR", "x", [0, 1, 2], {"top": [3.0, 2.0], "from_abcd": [1.0, 2.0]}, [0.3, 0.2], data=[4.0, 4.0])
    main, ratio = stack_figure(bins, SAMPLES, CMS).axes
    assert "from abcd" in [text.get_text() for text in main.get_legend().get_texts()]
    np.testing.assert_allclose(ratio.lines[1].get_ydata(), [1.0, 1.0])
    assert main.get_xscale() == "linear"


def test_bins_of_p_values_are_wide_enough_to_see() -> None:
    bins = StackedBins("SR", "conformal p-value", [0, 0.001, 0.1, 1], {"background": [1.0, 9.0, 90.0]}, [0.3, 0.2, 0.1])
    (main,) = stack_figure(bins, SAMPLES, CMS).axes
    assert main.get_xscale() == "symlog"
    left, right = main.transData.transform([(0.0, 1.0), (0.001, 1.0)])[:, 0]
    assert right - left > 0.1 * main.get_window_extent().width
