"""The compiled mono-jet selection against plain awkward (``reference_monojet.py``): equal to the last bit."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
import pytest
from ruamel.yaml import YAML

from darkop_dist.config import DatasetRecord
from darkop_dist.config.selection import parse_selection
from darkop_dist.events.corrections.certified import CertifiedSections
from darkop_dist.events.corrections.jet_energy import JetEnergies
from darkop_dist.events.corrections.pileup import PileupWeights
from darkop_dist.events.corrections.search import SearchCorrections
from darkop_dist.events.corrections.tables import read_table
from darkop_dist.events.read import open_events
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.split import SplitRule
from darkop_dist.stages.search import load_module

NO_SPLIT = SplitRule(seed=1, train_fraction=0.0, train_datasets=(), check_fraction=0.5)
SYSTEMATICS = ("jet_energy_scale", "jet_energy_resolution", "pileup_reweighting")
LOOSE = {"recoil_min": 0.0, "jet_pt_min": 0.0, "dphi_min": 0.0}
REAL = ("Run2012B_SingleMu_1000", "nano_dimuon", "nanoAOD_2015_CMS_Open_Data_ttbar", "nano_dy", "pfnano")


@pytest.fixture(scope="module")
def modules(repository: Path) -> tuple[ModuleType, ModuleType]:
    folder = Path(__file__).parent
    return load_module(repository / "processors" / "monojet.py"), load_module(folder / "reference_monojet.py")


@pytest.fixture(scope="module")
def parameters(repository: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(repository / "jobs" / "monojet_cms.yml")["parameters"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, write_nanoaod: Callable[..., Path]) -> str:
    path = tmp_path_factory.mktemp("generated") / "a.root"
    return str(write_nanoaod(path, 40_000, seed=3, basket_events=7000, with_generator_jets=True))


def outputs(
    modules: tuple[ModuleType, ModuleType], parameters: dict[str, Any], events: ak.Array, region: str | None = None
) -> list[dict[str, Any]]:
    compiled, *plain = modules
    chosen = parse_selection(region) if region else None
    settings = SearchSettings(compiled.MonoJetParameters.model_validate(parameters), SYSTEMATICS, chosen, NO_SPLIT, 10)
    processor = compiled.MonoJet(settings)
    others = [module.MonoJet(settings, processor.observables) for module in plain]
    return [each.process(events) for each in (processor, *others)]


def require_equal(compiled: dict[str, Any], plain: dict[str, Any]) -> int:
    """Histograms, cutflow and notes; the number of events in the regions."""
    assert list(compiled["histograms"]) == list(plain["histograms"])
    for name, expected in plain["histograms"].items():
        found = compiled["histograms"][name]
        assert found.axes == expected.axes, name
        assert found.view(flow=True).tobytes() == expected.view(flow=True).tobytes(), name
    dataset = next(iter(plain["cutflow"]))
    for region, steps in plain["cutflow"][dataset].items():
        found = compiled["cutflow"][dataset][region]
        assert list(found) == list(steps)
        assert [step.tobytes() for step in found.values()] == [step.tobytes() for step in steps.values()]
    assert set(compiled["notes"][dataset]) == set(plain["notes"][dataset])
    return sum(int(list(steps.values())[-1][0]) for steps in plain["cutflow"][dataset].values())


def test_generated_events_with_all_variations(
    modules: tuple[ModuleType, ModuleType], parameters: dict[str, Any], generated: str
) -> None:
    for start, stop, changes, region in (
        (0, 40_000, {}, None),
        (1234, 23_456, LOOSE, None),
        (0, 20_000, {"recoil_min": 100.0, "dphi_jets": 1, "overlap": 1.0, "b_jet": parameters["b_jet"] | {"pt_min": 60.0}}, None),
        (0, 20_000, {"recoil_min": 100.0}, "recoil > 300 GeV and MET > 280 GeV and jets < 5"),
        # Shifts so large that events from far below the threshold come above it.
        (0, 20_000, {"recoil_min": 180.0, "shifts": {"jet_energy_scale": 0.4, "jet_energy_resolution": 0.9}}, None),
    ):  # fmt: skip
        events = open_events(generated, DatasetRecord(name="mc", kind="simulation", files=("x",)), start, stop)
        compiled, plain = outputs(modules, parameters | changes, events, region)
        assert require_equal(compiled, plain) > 300
        assert len(plain["histograms"]) == 20
        assert len(list(plain["histograms"]["recoil"].axes["variation"])) == 7


@pytest.mark.parametrize("name", REAL)
def test_real_events(
    modules: tuple[ModuleType, ModuleType], parameters: dict[str, Any], shared_data: Path, name: str
) -> None:
    kind = "data" if name in REAL[:2] else "simulation"
    events = open_events(str(shared_data / "cms" / f"{name}.root"), DatasetRecord(name="real", kind=kind, files=("x",)))
    stored = [{"met": "PuppiMET", "recoil_min": 40.0, "dphi_min": 0.0, "jet_pt_min": 30.0}]
    for changes in ({}, *(stored if "PuppiMET" in events.fields else []), LOOSE):
        found = require_equal(*outputs(modules, parameters | changes, events))
    assert found > 5


def test_events_that_are_not_a_chunk_as_opened(
    modules: tuple[ModuleType, ModuleType], parameters: dict[str, Any], generated: str
) -> None:
    record = DatasetRecord(name="mc", kind="simulation", files=("x",))
    events = open_events(generated, record, 0, 9000)
    heavy = ak.with_field(events, 3 * events.genWeight, "genWeight")[np.arange(0, 9000, 2)]
    compiled, plain = outputs(modules, parameters | LOOSE, heavy)
    assert require_equal(compiled, plain) > 300
    read = outputs(modules, parameters | LOOSE, events)[0]
    assert compiled["histograms"]["recoil"].sum().value != read["histograms"]["recoil"].sum().value


def test_no_events_at_all(modules: tuple[ModuleType, ModuleType], parameters: dict[str, Any], generated: str) -> None:
    events = open_events(generated, DatasetRecord(name="mc", kind="simulation", files=("x",)), 5, 5)
    compiled = outputs(modules[:1], parameters, events)[0]
    assert compiled["histograms"]["recoil"].sum(flow=True).value == 0
    assert list(compiled["histograms"]["recoil"].axes["region"]) == ["signal", "dimuon", "single_muon"]


def test_all_corrections_at_once(
    modules: tuple[ModuleType, ModuleType],
    parameters: dict[str, Any],
    shared_data: Path,
    generated: str,
    jerc_file: Path,
    write_pileup: Callable[..., Path],
    tmp_path: Path,
) -> None:
    prefix = "Summer20UL16_JRV3_MC"
    sources = {
        f"jet_energy_scale_{name}": f"Summer19UL16_V7_MC_{name}_AK4PFchs" for name in ("FlavorQCD", "AbsoluteStat")
    }
    energies = JetEnergies(
        read_table(jerc_file), "Summer19UL16_V7_MC_L1L2L3Res_AK4PFchs", uncertainties=sources,
        resolution=f"{prefix}_PtResolution_AK4PFchs", scale_factor=f"{prefix}_ScaleFactor_AK4PFchs",
    )  # fmt: skip
    pileup = read_table(write_pileup(tmp_path / "pu.json", [0.1 * n for n in range(30)], [0.2] * 30, [0.3] * 30))
    corrections = SearchCorrections(
        CertifiedSections(((194711, 200, 299),)), {"real": ("Flag_goodVertices",)}, {"real": ("HLT_PFJet40", "HLT_IsoMu24")},
        ("Flag_goodVertices", "HLT_PFJet40"),
        PileupWeights(pileup, "Collisions16_UltraLegacy_goldenJSON"), energies,
    )  # fmt: skip
    names = (*sources, "jet_energy_resolution", "pileup_reweighting")
    compiled, plain = modules
    loose = LOOSE | {"charged_fraction_min": 0.0, "neutral_fraction_max": 1.0}
    for name, kind, variations in (
        ("nanoAOD_2015_CMS_Open_Data_ttbar", "simulation", 9),
        ("Run2012B_SingleMu_1000", "data", 1),
    ):
        events = open_events(
            str(shared_data / "cms" / f"{name}.root"), DatasetRecord(name="real", kind=kind, files=("x",))
        )
        for region in (None, "recoil > 10 GeV"):
            chosen = parse_selection(region) if region else None
            model = compiled.MonoJetParameters.model_validate(parameters | loose)
            settings = SearchSettings(model, names, chosen, NO_SPLIT, 10, corrections=corrections)
            processor = compiled.MonoJet(settings)
            found, expected = processor.process(events), plain.MonoJet(settings, processor.observables).process(events)
            assert require_equal(found, expected) > 5
            assert found["tallies"] == expected["tallies"]
            assert len(list(expected["histograms"]["recoil"].axes["variation"])) == variations
    with_none = compiled.MonoJet(SearchSettings(model, names, None, NO_SPLIT, 10)).process(events)
    assert found["cutflow"]["real"]["signal"]["trigger"][0] < with_none["cutflow"]["real"]["signal"]["events read"][0]
