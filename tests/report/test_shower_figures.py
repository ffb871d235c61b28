"""Figures of showers: what is drawn, and that they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers import Showers, VoxelGeometry
from darkop_dist.report.shower_figures import comparison_figure, display_figure
from darkop_dist.report.style import save_figure

GEOMETRY = VoxelGeometry(6, 8, 4)


def sample(seed: int, geometry: VoxelGeometry = GEOMETRY) -> Showers:
    rng = np.random.default_rng(seed)
    energies = rng.exponential(1.0, (50, geometry.voxels)) * (rng.random((50, geometry.voxels)) < 0.3)
    return Showers(rng.uniform(1e3, 1e4, 50).astype(np.float32), energies.astype(np.float32), geometry)


def test_distributions_have_units_and_a_ratio_each(tmp_path: Path) -> None:
    figure = comparison_figure(sample(1), sample(2))
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert len(figure.axes) == 16
    assert {"Layer", "Energy of a voxel [MeV]", "Width in $y$ [mm]", "Voxels with energy [%]"} <= set(labels)
    assert sum(axes.get_ylabel() == "Ratio" for axes in figure.axes) == 8
    assert save_figure(figure, tmp_path / "showers.png").stat().st_size > 20_000


def test_equal_samples_have_the_ratio_one() -> None:
    figure = comparison_figure(sample(1), sample(1))
    ratios = [axes for axes in figure.axes if axes.get_ylabel() == "Ratio"]
    drawn = np.concatenate([axes.containers[0].lines[0].get_ydata() for axes in ratios])
    assert drawn == pytest.approx(np.ones(len(drawn)))


def test_displays_have_a_row_of_two_for_each_sample() -> None:
    figure = display_figure([("Simulated", sample(1)), ("Generated", sample(2))], showers=2)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(figure.axes) == 9  # eight pictures and the colour scale
    assert [title.split(",")[0] for title in titles] == ["Simulated"] * 2 + ["Generated"] * 2


def test_other_voxels_are_refused() -> None:
    with pytest.raises(InputValueError, match="different voxels"):
        comparison_figure(sample(1), sample(2, VoxelGeometry(6, 8, 5)))
