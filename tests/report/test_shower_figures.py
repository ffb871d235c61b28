"""Figures of showers: what the axes hold is what was computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darkop_dist.errors import InputValueError, OutputError
from darkop_dist.operators.showers.features import shower_features
from darkop_dist.operators.showers.sample import Showers, VoxelGeometry
from darkop_dist.report.shower_figures import display_figure, draw_showers, histogram_figure, profile_figure

GEOMETRY = VoxelGeometry(8, 4, 3)


def showers(count: int, seed: int, geometry: VoxelGeometry = GEOMETRY) -> Showers:
    rng = np.random.default_rng(seed)
    incident = rng.uniform(1e3, 1e5, count).astype(np.float32)
    share = rng.gamma(0.3, 1.0, (count, geometry.voxels))
    energies = (incident[:, None] * share / share.sum(axis=1, keepdims=True)).astype(np.float32)
    energies[energies < 1.0] = 0.0
    return Showers(incident, energies, geometry)


def test_the_profile_has_the_means_and_their_errors() -> None:
    ours, theirs = shower_features(showers(60, 1)), shower_features(showers(60, 2))
    main, ratio = profile_figure(ours, theirs).axes
    points, _, (bars,) = main.containers[1]
    np.testing.assert_allclose(points.get_ydata(), theirs.layer_mev.mean(axis=0))
    length = bars.get_segments()[3][1, 1] - bars.get_segments()[3][0, 1]
    assert length == pytest.approx(2 * theirs.layer_mev[:, 3].std() / np.sqrt(60))
    drawn = ratio.containers[0][0].get_ydata()
    np.testing.assert_allclose(drawn, ours.layer_mev.mean(axis=0) / theirs.layer_mev.mean(axis=0))


def test_a_histogram_adds_up_to_one_and_says_what_it_leaves_out() -> None:
    ours, theirs = np.array([1.5, 1.6, 2.5, 2.6]), np.array([1.5, 2.5, 2.6, 9.0])
    main, ratio = histogram_figure((ours, theirs), np.array([1.0, 2.0, 3.0]), label="x").axes
    np.testing.assert_allclose([patch.get_data().values for patch in main.patches], [[0.5, 0.5], [1 / 3, 2 / 3]])
    told = [text.get_text() for text in main.get_legend().get_texts()]
    assert told == ["Generated", "Geant4 (25.0% empty or outside)"]
    np.testing.assert_allclose(ratio.containers[0][0].get_ydata(), [1.5, 0.75])


def test_a_display_holds_the_energy_of_the_shower() -> None:
    sample = showers(3, 1)
    figure = display_figure(sample, chosen=1)
    views = [axes.images[0].get_array() for axes in figure.axes[:2]]
    assert [view.shape for view in views] == [(4, 8), (3, 8)]
    for view in views:
        assert view.sum() == pytest.approx(sample.energies[1].sum(), rel=1e-5)


def test_all_figures_are_written(tmp_path: Path) -> None:
    paths = draw_showers(tmp_path / "new", showers(40, 1), showers(50, 2))
    assert len(paths) == len(set(paths)) == 14
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputValueError, match="Give showers of both kinds in the same voxels"):
        draw_showers(tmp_path, showers(4, 1), showers(4, 1, VoxelGeometry(8, 2, 3)))
    with pytest.raises(InputValueError, match="0 showers of"):
        draw_showers(tmp_path, showers(4, 1)[:0], showers(4, 1))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        draw_showers(tmp_path / "file", showers(4, 1), showers(4, 1))
