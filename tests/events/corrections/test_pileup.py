"""Pile-up weights against closed forms, from files as CMS publishes them and from two profiles."""

import json
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import hist
import numpy as np
import pytest
import uproot
from scipy import stats

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError
from darkop_dist.events.corrections.pileup import PileupWeights, Profile, read_profile, weights_from_profiles
from darkop_dist.events.corrections.search import SearchCorrections
from darkop_dist.events.corrections.tables import read_table
from darkop_dist.events.read import open_events

NAME = "Collisions16_UltraLegacy_goldenJSON"
EDGES = np.arange(0.0, 101.0)


def poisson(mean: float) -> Profile:
    return Profile(EDGES, stats.poisson.pmf(np.arange(100), mean))


@pytest.fixture
def ttbar(shared_data: Path) -> ak.Array:
    record = DatasetRecord(name="tt", kind="simulation", files=("x",))
    return open_events(str(shared_data / "cms" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"), record)


def test_weights_of_real_simulation(ttbar: ak.Array, tmp_path: Path, write_pileup: Callable[..., Path]) -> None:
    values = [0.0 if n < 8 else 0.1 * n for n in range(20)]
    path = write_pileup(tmp_path / "pu.json", values, [2 * v for v in values], [v / 2 for v in values])
    pileup = PileupWeights(read_table(path), NAME)
    sums: dict[str, float] = {}
    generated = np.sign(np.asarray(ttbar.genWeight, np.float64))
    factors = SearchCorrections(pileup=pileup).pileup_factors(ttbar, generated, sums.__setitem__, print)
    interactions = np.asarray(ttbar.Pileup.nTrueInt)
    expected = np.asarray(values)[np.minimum(interactions.astype(int), 19)]  # flow: clamp
    assert factors is not None
    assert factors["nominal"] == pytest.approx(expected, rel=1e-15)
    assert factors["up"] == pytest.approx(2 * expected, rel=1e-15)
    assert sums["sum of weights before pile-up weights"] == generated.sum()
    assert sums["sum of weights with pile-up weights, nominal"] == pytest.approx((generated * expected).sum())
    assert sums["events outside the range of the pile-up weights"] == (interactions >= 20).sum() > 0
    assert sums["events whose pile-up weight is zero"] == (interactions < 8).sum() > 0


def test_profiles_become_the_ratio_of_their_shapes() -> None:
    simulation = poisson(25.0)
    data = {"nominal": Profile(EDGES, 7 * poisson(20.0).values), "up": poisson(21.0), "down": poisson(19.0)}
    pileup = weights_from_profiles(data, simulation)
    bins = np.arange(100)
    for way, mean in (("nominal", 20.0), ("up", 21.0), ("down", 19.0)):
        found = pileup.weights(bins + 0.5, way)
        assert found == pytest.approx(
            np.exp(25.0 - mean) * (mean / 25.0) ** bins, rel=1e-9
        )  # the ratio of Poisson laws
        assert (found * simulation.values).sum() == pytest.approx(1.0)
    assert pileup.weights(np.array([-0.5, 100.0, 1e9]), "nominal").tolist() == [0.0, 0.0, 0.0]
    assert pileup.remarks == ()


def test_a_shifted_cross_section_scales_the_number_of_interactions() -> None:
    flat = Profile(EDGES, np.where(EDGES[:-1] < 40, 1.0, 0.0))
    up = flat.stretched(1.25)
    assert up.values == pytest.approx(np.where(EDGES[:-1] < 50, 0.8, 0.0))
    centres = EDGES[:-1] + 0.5
    for factor in (1.046, 0.954):
        shifted = poisson(30.0).stretched(factor)
        assert shifted.values.sum() == pytest.approx(1.0)
        assert (shifted.values * centres).sum() == pytest.approx(factor * 30.5, rel=2e-4)  # within the width of a bin


def test_what_the_simulation_lacks_is_said() -> None:
    simulation = Profile(EDGES, np.where(EDGES[:-1] < 20, 1.0, 0.0))
    pileup = weights_from_profiles({"nominal": poisson(20.0)}, simulation)
    (remark,) = pileup.remarks
    assert f"{stats.poisson.sf(19, 20.0):.3g} of the nominal pile-up profile" in remark
    with pytest.raises(InputValueError, match="different bins"):
        weights_from_profiles({"nominal": Profile(EDGES[:51], poisson(20.0).values[:50])}, simulation)
    with pytest.raises(InputValueError, match="a profile holds nothing"):
        weights_from_profiles({"nominal": poisson(20.0)}, Profile(EDGES, np.zeros(100)))


def test_profiles_in_root_and_json(tmp_path: Path) -> None:
    made = hist.Hist.new.Reg(100, 0, 100).Double()
    made.view()[:] = poisson(20.0).values
    with uproot.recreate(tmp_path / "pu.root") as file:
        file["pileup"] = made
    (tmp_path / "pu.json").write_text(json.dumps({"edges": EDGES.tolist(), "values": poisson(20.0).values.tolist()}))
    for name in ("pu.root", "pu.json"):
        found = read_profile(tmp_path / name, "pileup")
        assert found.values.tolist() == poisson(20.0).values.tolist()
        assert found.edges.tolist() == EDGES.tolist()
    with pytest.raises(InputFileError, match="holds no profile 'pile_up'"):
        read_profile(tmp_path / "pu.root", "pile_up")
    (tmp_path / "pu.json").write_text('{"edges": [0, 1, 2], "values": [1, -1]}')
    with pytest.raises(InputFileError, match="bad contents"):
        read_profile(tmp_path / "pu.json", "pileup")


def test_bad_weights_and_names(ttbar: ak.Array, tmp_path: Path, write_pileup: Callable[..., Path]) -> None:
    table = read_table(write_pileup(tmp_path / "a.json", [1.0] * 5, [1.0] * 5, [1.0] * 5, flow="error"))
    with pytest.raises(InputValueError, match=f"{NAME}: does not cover its inputs"):
        PileupWeights(table, NAME).of(ttbar)
    with pytest.raises(UnknownNameError, match=f"Did you mean {NAME}"):
        PileupWeights(table, "Collisions16_UltraLegacy_goldenJSOM").of(ttbar)
    negative = read_table(write_pileup(tmp_path / "b.json", [-1.0], [1.0], [1.0]))
    with pytest.raises(InputValueError, match="negative or not finite"):
        PileupWeights(negative, NAME).of(ttbar)
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(InputFileError, match=r"c\.json: is no file of corrections"):
        read_table(tmp_path / "c.json")
    with pytest.raises(InputFileError, match="has no branch Pileup_nTrueInt"):
        PileupWeights(negative, NAME).of(ak.without_field(ttbar, "Pileup"))
