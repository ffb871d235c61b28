"""Jet energies against closed forms, correctionlib's own evaluation and coffea's factories, on real simulation."""

from dataclasses import replace
from pathlib import Path

import awkward as ak
import correctionlib
import numpy as np
import pytest
from coffea.jetmet_tools import CorrectedMETFactory, FactorizedJetCorrector
from coffea.lookup_tools import extractor

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError
from darkop_dist.events.corrections.jet_energy import JetEnergies, corrected_columns
from darkop_dist.events.corrections.tables import read_table
from darkop_dist.events.event_columns import ChosenColumns, EventColumns
from darkop_dist.events.jet_shifts import jet_shifts, met_limit, unshifted
from darkop_dist.events.marked import all_objects, of_events
from darkop_dist.events.read import open_events
from darkop_dist.events.systematics import ShiftSizes, object_variations

MC = DatasetRecord(name="tt", kind="simulation", files=("x",))
NAME = "Summer19UL16_V7_MC_{}_AK4PFchs"
SOURCES = {f"jet_energy_scale_{name}": NAME.format(name) for name in ("FlavorQCD", "AbsoluteStat")}
NAMES = (*SOURCES, "jet_energy_resolution")


@pytest.fixture
def ttbar(shared_data: Path) -> ak.Array:
    return open_events(str(shared_data / "cms" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"), MC)


@pytest.fixture
def scale(jerc_file: Path) -> JetEnergies:
    return JetEnergies(read_table(jerc_file), NAME.format("L1L2L3Res"), uncertainties=SOURCES)


@pytest.fixture
def smeared(scale: JetEnergies) -> JetEnergies:
    prefix = "Summer20UL16_JRV3_MC"
    return replace(scale, resolution=f"{prefix}_PtResolution_AK4PFchs", scale_factor=f"{prefix}_ScaleFactor_AK4PFchs")


def flat(values: ak.Array) -> np.ndarray:
    return np.asarray(ak.flatten(values), np.float64)


def test_the_levels_by_hand(ttbar: ak.Array, scale: JetEnergies, jerc_file: Path) -> None:
    found = corrected_columns(EventColumns(ttbar), "MET", scale, NAMES, print)
    jets = ttbar.Jet
    raw, eta = flat(jets.pt) * (1 - flat(jets.rawFactor)), flat(jets.eta)
    rho = np.repeat(np.asarray(ttbar.fixedGridRhoFastjetAll, np.float64), ak.num(jets))
    after_l1 = raw * np.maximum(0.0001, 1 - rho * flat(jets.area) / raw)
    after_l2 = after_l1 * np.where((eta >= -2.0) & (eta < 2.0), 1.05, 1.1)
    assert found["Jet.pt"] == pytest.approx(after_l2 + 2.0, rel=1e-6)  # (1 + 2 / pt) pt
    official = correctionlib.CorrectionSet.from_file(str(jerc_file)).compound[NAME.format("L1L2L3Res")]
    factor = official.evaluate(flat(jets.area), eta, raw, rho)
    assert found["Jet.pt"].tolist() == (raw * factor).astype(np.float32).tolist()
    assert found["Jet.mass"] == pytest.approx(flat(jets.mass) * raw * factor / flat(jets.pt), rel=1e-5)
    assert found["Jet.jet_energy_scale_FlavorQCD"] == pytest.approx(0.008)
    assert found["Jet.jet_energy_scale_AbsoluteStat"] == pytest.approx(0.002 + 0.001 * np.abs(eta))


def test_missing_momentum_is_that_of_coffea(ttbar: ak.Array, scale: JetEnergies) -> None:
    found = corrected_columns(EventColumns(ttbar), "MET", scale, (), print)
    names = {"xMETRaw": "pt", "yMETRaw": "phi", "METpt": "pt", "METphi": "phi", "JetPt": "pt", "JetPhi": "phi", "ptRaw": "pt_raw",
             "UnClusteredEnergyDeltaX": "dx", "UnClusteredEnergyDeltaY": "dy"}  # fmt: skip
    counted = ttbar.Jet.pt > 15.0
    jets = ak.zip({"pt": ttbar.Jet.pt, "phi": ttbar.Jet.phi, "new": ak.unflatten(found["Jet.pt"], ak.num(ttbar.Jet))})[
        counted
    ]
    given = ak.zip({"pt": jets.new, "phi": jets.phi, "pt_orig": jets.pt}, depth_limit=2)
    met = ak.zip({"pt": ttbar.MET.pt, "phi": ttbar.MET.phi, "dx": 0 * ttbar.MET.pt, "dy": 0 * ttbar.MET.pt})
    expected = CorrectedMETFactory(names).build(met, given)
    assert found["MET.pt"] == pytest.approx(np.asarray(expected.pt), rel=1e-4)
    assert np.cos(found["MET.phi"] - np.asarray(expected.phi)) == pytest.approx(1.0, abs=1e-6)
    assert np.abs(found["MET.pt"] / np.asarray(ttbar.MET.pt) - 1).max() > 0.05


def test_corrections_in_text_files_read_by_coffea(ttbar: ak.Array, scale: JetEnergies, tmp_path: Path) -> None:
    """The same four levels as JEC text files; coffea evaluates the chain with its own parser."""
    texts = {
        "L1FastJet": ("3 JetPt JetA Rho max(0.0001,1-z*y/x)", ["-5.4 5.4 6 0.001 6500 0 10 0 200"]),
        "L2Relative": ("1 JetPt [0]", [f"{eta} 3 0.001 6500 {value}" for eta, value in (("-5.4 -2.0", 1.1), ("-2.0 2.0", 1.05), ("2.0 5.4", 1.1))]),
        "L3Absolute": ("1 JetPt 1+2/x", ["-5.4 5.4 2 0.001 6500"]),
    }  # fmt: skip
    names = []
    for level, (formula, rows) in texts.items():
        name = NAME.format(level)
        header = f"{{1 JetEta {formula} Correction {level}}}"
        (tmp_path / f"{name}.jec.txt").write_text("\n".join([header, *rows, ""]))
        names.append(name)
    read = extractor()
    read.add_weight_sets([f"* * {tmp_path / name}.jec.txt" for name in names])
    read.finalize()
    stack = FactorizedJetCorrector(**{name: read.make_evaluator()[name] for name in names})
    raw = flat(ttbar.Jet.pt) * (1 - flat(ttbar.Jet.rawFactor))
    rho = np.repeat(np.asarray(ttbar.fixedGridRhoFastjetAll, np.float64), ak.num(ttbar.Jet))
    expected = stack.getCorrection(JetEta=flat(ttbar.Jet.eta), JetPt=raw, JetA=flat(ttbar.Jet.area), Rho=rho)
    found = corrected_columns(EventColumns(ttbar), "MET", scale, (), print)["Jet.pt"]
    assert found == pytest.approx(raw * np.asarray(expected), rel=1e-5)


def test_smearing_is_the_hybrid_method(ttbar: ak.Array, scale: JetEnergies, smeared: JetEnergies) -> None:
    before = corrected_columns(EventColumns(ttbar), "MET", scale, (), print)["Jet.pt"].astype(np.float64)
    found = corrected_columns(EventColumns(ttbar), "MET", smeared, NAMES, print)
    jets, generated = ttbar.Jet, ttbar.GenJet
    counts = ak.num(jets)
    eta, sizes = flat(jets.eta), np.sqrt(0.0025 + 1 / before)
    inner = (eta >= -2.0) & (eta < 2.0)
    valid = (jets.genJetIdx >= 0) & (jets.genJetIdx < ak.num(generated))
    partner = generated[ak.mask(ak.values_astype(jets.genJetIdx, np.int64), valid)]
    gen = np.asarray(ak.flatten(ak.fill_none(partner.pt, -1e9)), np.float64)
    dphi = (jets.phi - partner.phi + np.pi) % (2 * np.pi) - np.pi
    away = np.asarray(ak.flatten(ak.fill_none(np.hypot(jets.eta - partner.eta, dphi), 9.0)))
    matched = (away < 0.2) & (np.abs(before - gen) < 3 * sizes * before)
    for way, shift in (("nominal", 0.0), ("up", 0.05), ("down", -0.05)):
        factor = np.where(inner, 1.1 + shift, 1.2 + 2 * shift)
        by_hand = 1 + (factor - 1) * (before - gen) / before
        nominal = found["Jet.pt"] / before
        ratio = nominal if way == "nominal" else nominal * found[f"Jet.jet_energy_resolution_{way}"]
        assert ratio[matched] == pytest.approx(by_hand[matched], rel=2e-6)
        width = sizes * np.sqrt(np.maximum(factor**2 - 1, 0))
        pulls = (ratio - 1)[~matched & (width > 0)] / width[~matched & (width > 0)]
        assert len(pulls) > 150
        assert abs(pulls.mean()) < 4 / np.sqrt(len(pulls))
        assert abs(pulls.std() - 1) < 4 / np.sqrt(2 * len(pulls))
    assert 0.2 < matched.mean() < 0.99
    assert len(counts) == 200


def test_a_jet_is_smeared_alike_in_any_chunk(ttbar: ak.Array, smeared: JetEnergies) -> None:
    whole = corrected_columns(EventColumns(ttbar), "MET", smeared, NAMES, print)
    part = corrected_columns(EventColumns(ttbar[50:120]), "MET", smeared, NAMES, print)
    start, stop = (int(ak.sum(ak.num(ttbar.Jet)[:end])) for end in (50, 120))
    for name, values in part.items():
        everything = whole[name]
        assert values.tolist() == (everything[start:stop] if name.startswith("Jet") else everything[50:120]).tolist()


@pytest.mark.parametrize("met", ["MET", "PuppiMET"])
def test_both_kinds_of_variations_are_the_same(ttbar: ak.Array, smeared: JetEnergies, met: str) -> None:
    columns = corrected_columns(EventColumns(ttbar), met, smeared, NAMES, print)
    read, sizes, every = EventColumns(ttbar, columns), ShiftSizes(), np.arange(len(ttbar))
    jets = all_objects(read, "Jet")
    found = [unshifted(read, jets, met), *jet_shifts(read, jets, met, NAMES, sizes, print)]
    expected = object_variations(read.replaced_in(ttbar), met, NAMES, sizes, print)
    assert [shift.name for shift in found] == [variation.name for variation in expected]
    assert len(found) == 7
    limit, some = met_limit(read, jets, met, NAMES, sizes, every), np.arange(199, 0, -3)
    few = ChosenColumns(read, some)
    again = [unshifted(few, of_events(jets, some)[0], met)]
    again += jet_shifts(few, of_events(jets, some)[0], met, NAMES, sizes, print)
    for shift, same, variation in zip(found, again, expected, strict=True):
        assert shift.pt.tobytes() == ak.to_numpy(ak.flatten(variation.jets.pt)).tobytes()
        x, y = shift.met(every)
        assert (x.tobytes(), y.tobytes()) == (variation.met_x.tobytes(), variation.met_y.tobytes())
        assert [part.tobytes() for part in same.met(np.arange(len(some)))] == [x[some].tobytes(), y[some].tobytes()]
        assert (np.hypot(x, y) <= limit).all()
    assert not np.array_equal(found[0].pt, found[1].pt)
    assert not np.array_equal(found[0].met(every)[0], found[1].met(every)[0])


def test_collision_data(shared_data: Path, scale: JetEnergies) -> None:
    record = DatasetRecord(name="DoubleMuon", kind="data", files=("x",))
    events = open_events(str(shared_data / "cms" / "nano_dimuon.root"), record)
    notes: list[str] = []
    assert corrected_columns(EventColumns(events), "MET", scale, NAMES, notes.append) == {}
    assert notes == ["no jet energy correction is named for these data: their jets are as they are in the file"]
    named = replace(scale, data={"DoubleMuon": "Summer19UL16_RunFGH_V7_DATA_L1L2L3Res_AK4PFchs"})
    found = corrected_columns(EventColumns(events), "MET", named, NAMES, notes.append)
    as_simulation = replace(scale, data={"DoubleMuon": scale.simulation})
    other = corrected_columns(EventColumns(events), "MET", as_simulation, NAMES, notes.append)
    assert set(found) == {"Jet.pt", "Jet.mass", "MET.pt", "MET.phi"}
    assert found["Jet.pt"] == pytest.approx(1.02 * other["Jet.pt"], rel=1e-6)  # the residual of runs above 1000


def test_what_is_missing_is_named(ttbar: ak.Array, scale: JetEnergies, smeared: JetEnergies) -> None:
    bare = ak.without_field(ttbar, "fixedGridRhoFastjetAll")
    with pytest.raises(InputFileError, match="has no branch fixedGridRhoFastjetAll or Rho_fixedGridRhoFastjetAll"):
        corrected_columns(EventColumns(bare), "MET", scale, (), print)
    slim = ak.without_field(ttbar, ["Jet", "rawFactor"])
    with pytest.raises(InputFileError, match="has no branch Jet_rawFactor"):
        corrected_columns(EventColumns(slim), "MET", scale, (), print)
    without = ak.without_field(ttbar, "event")
    with pytest.raises(InputFileError, match="has no branch event"):
        corrected_columns(EventColumns(without), "MET", smeared, (), print)
    with pytest.raises(UnknownNameError, match="Did you mean Summer19UL16_V7_MC_L1L2L3Res_AK4PFchs"):
        corrected_columns(
            EventColumns(ttbar), "MET", replace(scale, simulation="Summer19UL16_V7_MC_L1L2L3Res_AK4PFch"), (), print
        )
    with pytest.raises(InputValueError, match="needs the inputs systematic"):
        corrected_columns(EventColumns(ttbar), "MET", replace(scale, simulation=str(smeared.scale_factor)), (), print)
    far = ak.with_field(ttbar, ak.with_field(ttbar.Jet, 0 * ttbar.Jet.eta + 6.0, "eta"), "Jet")
    with pytest.raises(InputValueError, match="does not cover its inputs"):
        corrected_columns(EventColumns(far), "MET", scale, (), print)
    notes: list[str] = []
    lonely = ak.without_field(ttbar, "GenJet")
    corrected_columns(EventColumns(lonely), "MET", smeared, NAMES, notes.append)
    assert notes == ["no generator jets in the file: all jets are smeared with random numbers"]
