"""The 57 integers of a trigger: scales, saturation, order, places without an object."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.events.level1 import decode, encode, input_names, input_ranges, load_scales
from darkop_dist.events.representations import columns_read, represent


def objects(*rows: list[tuple[float, float, float]]) -> ak.Array:
    return ak.Array([[dict(zip(("pt", "eta", "phi"), one, strict=True)) for one in row] for row in rows])


def events(**collections: ak.Array) -> ak.Array:
    empty = objects([(50.0, 0.0, 0.0)], [(50.0, 0.0, 0.0)])
    empty = empty[empty.pt < 0]
    met = ak.Array([{"pt": 33.4, "phi": -0.01}, {"pt": 1e5, "phi": 3.0}])
    found = {"Jet": empty, "Muon": empty, "Electron": empty, "Photon": empty, "MET": met, **collections}
    return ak.zip(found, depth_limit=1)


def test_names_and_ranges_follow_the_order_of_the_scales() -> None:
    names, (low, high) = input_names(), input_ranges()
    assert len(names) == len(low) == len(high) == 57
    assert names[:3] == ("met.pt", "met.eta", "met.phi")
    assert names[3] == "egamma1.pt"
    assert names[-1] == "jet10.phi"
    by_name = dict(zip(names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    assert by_name["met.pt"] == (0, 4095)
    assert by_name["met.eta"] == (0, 0)
    assert by_name["muon1.phi"] == (0, 575)
    assert by_name["jet1.eta"] == (-115, 115)


def test_steps_turn_and_saturate() -> None:
    scale = load_scales().jet
    pt, phi = np.array([10.4, 1e6, 20.0, 20.0]), np.array([0.0, -1e-12, 2 * np.pi, np.pi])
    found = encode(pt, np.array([0.0, 4.9, -0.0435, 0.0218]), phi, scale)
    assert found[:, 0].tolist() == [20, 2047, 40, 40]
    assert found[:, 1].tolist() == [0, 113, -1, 1]
    assert found[0, 2] == 0
    assert found[1, 2] in (0, 143), "just below a full turn"
    assert found[2, 2] == 0
    assert found[3, 2] == 72


def test_objects_are_ordered_and_a_cluster_counts_once() -> None:
    jets = objects([(30.0, 1.0, 1.0), (90.0, -1.0, 2.0), (9.0, 0.0, 0.0)], [])
    electrons = objects([(40.0, 0.5, 1.0)], [(20.0, 0.0, 0.0)])
    photons = objects([(39.0, 0.51, 1.01), (12.0, 2.0, -1.0)], [(30.0, 0.2, 0.0)])
    found = represent(events(Jet=jets, Electron=electrons, Photon=photons), "level1", {})
    named = dict(zip(input_names(), found.T, strict=True))
    assert found.dtype == np.float32
    assert named["jet1.pt"].tolist() == [180.0, 0.0]
    assert named["jet2.pt"].tolist() == [60.0, 0.0]
    assert named["jet3.pt"].tolist() == [0.0, 0.0], "below 10 GeV"
    assert named["egamma1.pt"].tolist() == [80.0, 60.0]
    assert named["egamma2.pt"].tolist() == [24.0, 40.0], "the photon of the first electron is the same cluster"
    assert named["met.pt"].tolist() == [66.0, 4095.0]
    assert named["met.phi"].tolist() == [143.0, 68.0]


def test_decoding_encodes_to_the_same_integers() -> None:
    rng = np.random.default_rng(3)
    jets = objects(*[[(float(p), float(e), float(f)) for p, e, f in zip(
        rng.uniform(10, 900, 12), rng.uniform(-5, 5, 12), rng.uniform(-3.1, 3.1, 12), strict=True)] for _ in range(2)])  # fmt: skip
    first = represent(events(Jet=jets), "level1", {})
    np.testing.assert_array_equal(represent(decode(first), "level1", {}), first)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InputFileError, match=r"Muon"):
        represent(events()[["Jet", "Electron", "Photon", "MET"]], "level1", {})
    with pytest.raises(InputValueError, match="representation level1, mett"):
        represent(events(), "level1", {"mett": "MET"})
    assert set(columns_read("level1", {"met": "PuppiMET"})) >= {"Jet.pt", "Photon.eta", "PuppiMET.phi"}
