from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from darkop_dist.generation import GeneratedSample
from darkop_dist.generation.card import load_card
from darkop_dist.generation.clustering import cluster, constituent_columns
from darkop_dist.generation.cones import nearest
from darkop_dist.generation.jets import btag, hadron_flavour
from darkop_dist.generation.leptons import isolation
from darkop_dist.generation.response import CHARGED_HADRON, MUON

CARD = load_card()


def random_particles(seed: int) -> ak.Array:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 60, 40)
    size = int(counts.sum())
    pt, eta, phi = rng.exponential(8, size) + 0.5, rng.normal(0, 1.5, size), rng.uniform(-np.pi, np.pi, size)
    flat = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "E": np.hypot(pt * np.cosh(eta), 0.14),
        "kind": rng.integers(0, 5, size),
    }
    return ak.zip({name: ak.unflatten(values, counts) for name, values in flat.items()})


def test_jets_are_sorted_and_their_constituents_add_up() -> None:
    particles = random_particles(2)
    jets, constituents = cluster(particles, radius=0.4, pt_min=10.0)
    assert int(ak.sum(ak.num(jets))) > 20
    assert ak.all(jets.pt[:, :-1] >= jets.pt[:, 1:])
    for event in range(len(particles)):
        for jet, members in zip(jets[event], constituents[event], strict=True):
            px, py = (float(ak.sum(particles[axis][event][members])) for axis in ("px", "py"))
            assert jet.pt == pytest.approx(np.hypot(px, py), rel=1e-9)
    columns = constituent_columns(jets, constituents, particles)
    total = sum(columns[name] for name in ("chHEF", "neHEF", "neEmEF", "chEmEF", "muEF"))
    assert np.allclose(ak.to_numpy(ak.flatten(total)), 1)
    assert ak.all(columns["nConstituents"] == ak.num(constituents, axis=2))


def test_the_nearest_object_is_found_across_the_seam_in_phi() -> None:
    one = ak.Array([[{"eta": 0.0, "phi": 3.1}], [{"eta": 0.0, "phi": 0.0}], [{"eta": 0.0, "phi": 0.0}]])
    others = ak.Array([[{"eta": 0.0, "phi": 2.0}, {"eta": 0.1, "phi": -3.1}], [{"eta": 1.0, "phi": 0.0}], []])
    assert nearest(one, others, cone=0.4).to_list() == [[1], [-1], [-1]]


def test_flavour_is_the_heaviest_hadron_in_the_cone() -> None:
    jets = ak.Array([[{"eta": 0.0, "phi": 0.0}, {"eta": 2.0, "phi": 0.0}], [{"eta": 0.0, "phi": 0.0}]])
    hadrons = ak.Array([[{"eta": 0.1, "phi": 0.1, "flavour": 4}, {"eta": 0.0, "phi": 0.2, "flavour": 5}], []])
    assert hadron_flavour(jets, hadrons, cone=0.4).to_list() == [[5, 0], [0]]


@pytest.mark.parametrize(("flavour", "rates"), [(5, CARD.btag.bottom), (4, CARD.btag.charm), (0, CARD.btag.light)])
def test_btag_working_points_have_the_rates_of_the_card(flavour: int, rates: tuple[float, ...]) -> None:
    count = 40_000
    jets = ak.Array([[{"eta": 0.0}] * count])
    values = btag(jets, ak.Array([[flavour] * count]), CARD, np.random.default_rng(4))
    for threshold, rate in zip(CARD.btag.thresholds, rates, strict=True):
        found = float(ak.mean(values > threshold))
        assert found == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / count))


def test_isolation_counts_the_cone_and_not_the_candidate() -> None:
    kinds = [MUON, CHARGED_HADRON, CHARGED_HADRON, MUON]
    etas = [0.0, 0.2, 1.0, 0.1]
    pts = [20.0, 4.0, 50.0, 30.0]
    particles = ak.Array(
        [
            [
                {"pt": p, "eta": e, "phi": 0.0, "kind": k, "primary": True}
                for p, e, k in zip(pts, etas, kinds, strict=True)
            ]
        ]
    )
    found = isolation(particles[particles.kind == MUON], particles, cone=0.4)
    assert ak.to_numpy(found[0]) == pytest.approx([4 / 20, 4 / 30])


def test_jet_response_is_that_of_the_card(
    samples: dict[str, GeneratedSample], open_with_coffea: Callable[[Path], Any]
) -> None:
    """Central jets of 90 to 300 GeV in 300 QCD events.

    The card promises a mean of 1 within 2% and 0.91/sqrt(pt) and 4.1% in quadrature; about 300 jets measure the
    standard deviation to 4%, and gluon and quark jets differ, so 20% are allowed.
    """
    events = open_with_coffea(samples["qcd-dijets"].file)
    matched = events.Jet[events.Jet.genJetIdx >= 0]
    generated = events.GenJet[matched.genJetIdx]
    chosen = (generated.pt > 90) & (generated.pt < 300) & (abs(generated.eta) < 1.3)
    ratio = ak.to_numpy(ak.flatten((matched.pt / generated.pt)[chosen]))
    expected = np.sqrt(np.mean(0.91**2 / ak.to_numpy(ak.flatten(generated.pt[chosen])) + 0.041**2))
    assert len(ratio) > 200
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() == pytest.approx(expected, rel=0.2)


def test_missing_momentum_of_z_to_neutrinos_follows_the_neutrinos(
    samples: dict[str, GeneratedSample], open_with_coffea: Callable[[Path], Any]
) -> None:
    """Resolution of MET - GenMET per axis: with jets of 200 GeV at 8% it is 10 to 30 GeV, without bias."""
    events = open_with_coffea(samples["z-nunu-jets"].file)
    difference = ak.to_numpy(events.MET.pt * np.cos(events.MET.phi) - events.GenMET.pt * np.cos(events.GenMET.phi))
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(difference))
    assert 8 < difference.std() < 30
    assert float(ak.mean(events.GenMET.pt > 100)) > 0.98  # pthat_min is 150 GeV
