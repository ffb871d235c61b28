"""Features against closed forms and against a plain loop written after the challenge's definitions."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, log10, pi, sin, sqrt

import numpy as np
import pytest

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.features import classifier_features, classifier_voxels, shower_features
from darkop_dist.operators.showers.sample import (
    DATASET_2,
    READOUT_MEV,
    Showers,
    VoxelGeometry,
    as_read_out,
    coarsen,
    join,
)

Make = Callable[..., Showers]
SMALL = VoxelGeometry(2, 4, 3, 30.0)


def test_the_voxels_are_those_of_the_challenge() -> None:
    """First and last bin of ``binning_dataset_2.xml``: r from 0 to 4.65 and 37.2 to 41.85 mm, alpha from -pi on."""
    eta, phi = DATASET_2.centres_mm()
    alpha = -pi + pi / 16
    assert (eta[0], phi[0]) == pytest.approx((2.325 * cos(alpha), 2.325 * sin(alpha)))
    assert (eta[8], phi[8]) == pytest.approx((39.525 * cos(alpha), 39.525 * sin(alpha)))
    assert DATASET_2.voxels == 6480
    assert pytest.approx(0.0151515, rel=1e-5) == READOUT_MEV


def test_features_of_two_voxels_by_hand() -> None:
    """30 MeV at r = 5 mm and 10 MeV at r = 15 mm, both at alpha = -3 pi / 4, and an empty second layer."""
    energies = np.zeros((1, SMALL.voxels), dtype=np.float32)
    energies[0, :2] = 30.0, 10.0
    found = shower_features(Showers(np.array([50.0], dtype=np.float32), energies, SMALL))
    assert found.total_mev == pytest.approx([40.0])
    assert found.total_over_incident == pytest.approx([0.8])
    assert found.layer_mev[0] == pytest.approx([40.0, 0.0])
    across = cos(-3 * pi / 4)
    assert found.centre_eta_mm[0] == pytest.approx([7.5 * across, 0.0])
    assert found.centre_phi_mm[0] == pytest.approx([7.5 * across, 0.0])
    assert found.width_eta_mm[0] == pytest.approx([sqrt(18.75) * abs(across), 0.0])  # variance 75 - 56.25
    assert found.sparsity[0] == pytest.approx([10 / 12, 1.0])


def test_features_agree_with_a_loop(make_showers: Make) -> None:
    showers = make_showers(4, 3, SMALL)
    found = shower_features(showers)
    assert (found.layer_mev[:, 1] > 0).all()
    for n in range(4):
        voxels = showers.energies[n].astype(float).reshape(SMALL.shape)
        for layer in range(2):
            total = first = second = 0.0
            for a in range(4):
                for r in range(3):
                    position = (r + 0.5) * 10.0 * sin(-pi + 2 * pi * (a + 0.5) / 4)
                    total += voxels[layer, a, r]
                    first += voxels[layer, a, r] * position
                    second += voxels[layer, a, r] * position**2
            assert found.centre_phi_mm[n, layer] == pytest.approx(first / total)
            assert found.width_phi_mm[n, layer] == pytest.approx(sqrt(second / total - (first / total) ** 2))


def test_many_showers_are_as_few(make_showers: Make) -> None:
    showers = make_showers(2300, 4, SMALL)
    np.testing.assert_array_equal(
        shower_features(showers)[2000:].width_eta_mm, shower_features(showers[2000:]).width_eta_mm
    )


def test_inputs_of_the_classifiers(make_showers: Make) -> None:
    showers = make_showers(5, 5, SMALL)
    high, low = classifier_features(shower_features(showers)), classifier_voxels(showers)
    assert high.shape == (5, 11)
    assert low.shape == (5, 25)
    assert high[2, 0] == pytest.approx(log10(showers.incident_energies[2]))
    assert high[2, 1] == pytest.approx(log10(showers.energies[2, :12].sum() + 1e-8))
    assert low[2, 7] == pytest.approx(100 * showers.energies[2, 6] / showers.incident_energies[2])


def test_read_out_and_sums_keep_what_they_should(make_showers: Make) -> None:
    showers = make_showers(5, 6, SMALL)
    read = as_read_out(showers, sampling_fraction=0.5, threshold_mev=10.0)
    assert set(np.unique(read.energies[read.energies < 10.0])) <= {0.0}
    kept = read.energies > 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_array_equal(read.energies[kept], 2 * showers.energies[kept])
    summed = coarsen(showers, azimuths=2, radii=3)
    assert summed.geometry == VoxelGeometry(2, 2, 1, 30.0)
    assert summed.energies[0, 0] == pytest.approx(showers.energies[0, :6].sum())
    np.testing.assert_array_equal(join([showers[:2], showers[2:]]).energies, showers.energies)


def test_showers_that_do_not_fit_their_voxels(make_showers: Make) -> None:
    made = make_showers(5, 6, SMALL)
    with pytest.raises(InputValueError, match="for 5 particles and 6480 voxels"):
        Showers(made.incident_energies, made.energies, DATASET_2)
    with pytest.raises(InputValueError, match="Give one number per shower"):
        Showers(made.incident_energies, made.energies, SMALL, {"cpu_s": np.ones(4, dtype=np.float32)})
    with pytest.raises(InputValueError, match="Join showers of one geometry"):
        join([])
