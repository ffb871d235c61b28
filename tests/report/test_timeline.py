"""The figure of the workers' time, in the sizes that it must stay readable in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from darkop_dist.execution.timeline import Timeline
from darkop_dist.report.style import save_figure
from darkop_dist.report.timeline import BINS, busy_workers, has_lanes, timeline_figure

Make = Callable[..., Timeline]
BOX = st.floats(0.0, 50.0, allow_subnormal=False)


@settings(deadline=None)
@given(arrays.arrays(np.float64, st.integers(0, 30), elements=BOX), st.integers(1, 20), st.floats(0.5, 60.0))
def test_busy_workers_are_counted_right(starts: np.ndarray, bins: int, end: float) -> None:
    """Against the overlap of every piece with every bin, one by one."""
    lengths = np.roll(starts, 1) / 3.0
    edges = np.linspace(0.0, end, bins + 1)
    expected = [
        np.clip(np.minimum(starts + lengths, high) - np.maximum(starts, low), 0.0, None).sum() / (high - low)
        for low, high in itertools.pairwise(edges)
    ]
    assert busy_workers(starts, lengths, edges) == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize(("workers", "chunks", "lanes"), [(1, 2, 2), (2, 40, 3), (11, 60, 12)])
def test_few_workers_have_lanes(make_timeline: Make, workers: int, chunks: int, lanes: int) -> None:
    timeline = make_timeline(workers, chunks)
    figure = timeline_figure(timeline)
    assert figure is not None
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "driver"
    assert len(axes.get_yticks()) == lanes
    widths = [path.get_extents().width for bars in axes.collections for path in bars.get_paths()]
    drawn_s = timeline.total.all_s
    failed_s = sum(span.wall_s for lane in timeline.spans.values() for span in lane if span.failed)
    assert sum(widths) == pytest.approx(lanes * timeline.wall_s + drawn_s + failed_s + 0.5, rel=1e-6)


@pytest.mark.parametrize(("workers", "chunks"), [(200, 20_000), (2, 2_000), (40, 10)])
def test_many_workers_or_chunks_are_summed(make_timeline: Make, workers: int, chunks: int, tmp_path: Path) -> None:
    timeline = make_timeline(workers, chunks)
    figure = timeline_figure(timeline)
    assert figure is not None
    axes = figure.axes[0]
    assert axes.get_ylim() == (0.0, workers)
    top = axes.patches[-1].get_data()
    busy_s = timeline.total.all_s
    factor = {"s": 1.0, "min": 60.0}[figure.axes[1].get_xlabel().split("[")[1].rstrip("]")]
    assert np.sum(top.values * np.diff(top.edges)) * factor == pytest.approx(busy_s, rel=1e-6)
    assert top.values.max() <= workers * (1 + 1e-9)
    assert len(top.values) == BINS
    assert save_figure(figure, tmp_path / "timeline.svg").stat().st_size < 300_000


@pytest.mark.parametrize(("workers", "chunks"), [(1, 2), (2, 40), (200, 1000)])
def test_the_legend_covers_nothing(make_timeline: Make, workers: int, chunks: int) -> None:
    figure = timeline_figure(make_timeline(workers, chunks))
    assert figure is not None
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert [axes for axes in figure.axes if axes.get_tightbbox().overlaps(legend)] == []
    assert legend.x1 <= figure.bbox.x1
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:5] == ["Reading", "Computing", "Waiting for scores", "Writing results", "Merging"]
    assert labels[-1] == "Idle"
    assert "[s]" in figure.axes[-1].get_xlabel() or "[min]" in figure.axes[-1].get_xlabel()


def test_phases_differ_in_lightness_too(make_timeline: Make) -> None:
    """A reader who sees no colour tells neighbouring phases apart: relative luminance differs by at least 0.08."""
    figure = timeline_figure(make_timeline(2, 40))
    assert figure is not None
    colours = [mpl.colors.to_rgb(patch.get_facecolor()) for patch in figure.legends[0].get_patches()]
    luminance = [float(np.dot(np.power(colour, 2.2), (0.2126, 0.7152, 0.0722))) for colour in colours[:5]]
    assert min(abs(a - b) for a, b in itertools.pairwise(luminance)) > 0.08


def test_nothing_timed_gives_no_figure() -> None:
    assert timeline_figure(Timeline(3.0, 2)) is None
    assert has_lanes(Timeline(3.0, 12))
    assert not has_lanes(Timeline(3.0, 13))
