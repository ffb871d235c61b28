"""The figure of a pool under load."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkop_dist.report.load_curve import load_figure
from darkop_dist.report.style import save_figure
from darkop_dist.scoring.capacity import Curve, Point


def curve(*clients: int, replicas: int = 1) -> Curve:
    points = tuple(
        Point(
            clients=number,
            requests=300,
            seconds=5.0,
            events_per_s=1e4 * number / (1 + 0.4 * number),
            p50_s=0.02 + 0.01 * number,
            p99_s=0.05 + 0.02 * number,
        )
        for number in clients
    )
    return Curve(model="m", fingerprint="f" * 64, at="http://pool", events=256, replicas=replicas, points=points)


@pytest.mark.parametrize("replicas", [1, 2])
def test_both_panels_show_what_was_measured(tmp_path: Path, replicas: int) -> None:
    measured = curve(1, 2, 4, 8, 16, 32, 64, replicas=replicas)
    figure = load_figure(measured)
    upper, lower = figure.axes
    drawn = upper.lines[0].get_xydata()
    assert [tuple(pair) for pair in drawn] == [(point.clients, point.events_per_s / 1000) for point in measured.points]
    law = upper.lines[1]
    assert law.get_label() == "Scalability law, fitted"
    assert law.get_ydata().max() < upper.get_ylim()[1]
    assert [line.get_label() for line in lower.lines[:2]] == ["99%", "Median"]
    assert [tick.get_text() for tick in lower.get_xticklabels()] == ["1", "2", "4", "8", "16", "32", "64"]
    assert lower.get_ylabel() == "Time to an answer [ms]"
    assert save_figure(figure, tmp_path / "curve.png").stat().st_size > 10_000


def test_without_enough_points_there_is_no_law() -> None:
    upper, _ = load_figure(curve(1, 4)).axes
    assert "Scalability law, fitted" not in [line.get_label() for line in upper.lines]
