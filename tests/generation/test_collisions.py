"""Slices of collisions: reduced to what a trigger sees, kept, the same when they are made again."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from darkop_dist.errors import InputValueError
from darkop_dist.generation.collisions import (
    CHARGED_HADRON,
    MUON,
    NEUTRAL_HADRON,
    PHOTON_OR_ELECTRON,
    SliceRequest,
    load_slices,
    reduce_particles,
    slice_requests,
)


def test_particles_are_sorted_into_kinds() -> None:
    names = ("px", "py", "pz", "id", "charge")
    rows = [[(3.0, 4.0, 0.0, 22, 0.0), (1.0, 0.0, 1.0, 211, 1.0), (0.0, 2.0, -2.0, -13, 1.0)], [(1.0, 0.0, 900.0, 211, 1.0)],
            [(0.0, -1.0, 0.0, 130, 0.0), (1.0, 1.0, 0.0, -11, 1.0)]]  # fmt: skip
    found = reduce_particles(ak.Array([[dict(zip(names, one, strict=True)) for one in row] for row in rows]))
    assert found.offsets.tolist() == [0, 3, 3, 5], "the second collision left along the beam"
    assert found.kind.tolist() == [PHOTON_OR_ELECTRON, CHARGED_HADRON, MUON, NEUTRAL_HADRON, PHOTON_OR_ELECTRON]
    np.testing.assert_allclose(found.pt[:3], [5.0, 1.0, 2.0])
    np.testing.assert_allclose(found.eta[1:3], [np.arcsinh(1.0), -np.arcsinh(1.0)], rtol=1e-6)
    np.testing.assert_allclose(found.phi[3], -np.pi / 2, rtol=1e-6)


def test_requests_cover_all_scatterings() -> None:
    requests = slice_requests(5, 2)
    assert requests[0] == SliceRequest(0.0, 20.0, 5)
    assert requests[-1] == SliceRequest(300.0, float("inf"), 2)
    assert all(one.high_gev == other.low_gev for one, other in pairwise(requests))
    with pytest.raises(InputValueError, match="one or more of each"):
        slice_requests(0, 2)
    assert {request.seed for request in slice_requests(5, 2, seed=3)} == {3}
    with pytest.raises(InputValueError, match="Choose 0 to 800"):
        slice_requests(5, 2, seed=-1)
    first, last = (SliceRequest(300.0, float("inf"), 1, seed).pythia_seed for seed in (0, 800))
    assert 0 < first < last < 899_000_000


@pytest.mark.slow
def test_slices_are_generated_and_kept(tmp_path: Path) -> None:
    requests = (SliceRequest(0.0, 20.0, 30), SliceRequest(120.0, 170.0, 20))
    soft, hard = load_slices(requests, tmp_path, workers=2)
    assert len(soft.particles) == 30
    assert len(hard.particles) == 20
    assert 70.0 < soft.xsec_mb < 80.0, "inelastic cross section of Pythia at 13 TeV: 78 mb"
    assert 3e-4 < hard.xsec_mb < 7e-4
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = load_slices(requests, tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept
    other = load_slices(requests[1:], tmp_path / "elsewhere")
    for one, two in ((again[1], hard), (other[0], hard)):
        for name, values in vars(two.particles).items():
            np.testing.assert_array_equal(getattr(one.particles, name), values)
        assert one.xsec_mb == two.xsec_mb
    (another,) = load_slices((SliceRequest(120.0, 170.0, 20, seed=1),), tmp_path)
    assert len(another.particles) == 20
    assert len(np.intersect1d(another.particles.pt, hard.particles.pt)) < 0.05 * len(hard.particles.pt)
