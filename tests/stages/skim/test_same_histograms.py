"""A search over a skim gives the histograms of the search over the whole, to the last bit, normalisation included."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from darkop_dist.catalogue.records_file import read_records
from darkop_dist.config import DatasetRecord
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.split import SplitRule
from darkop_dist.execution import Task, execute, plan_chunks
from darkop_dist.stages.run_events import normalisation_scales
from darkop_dist.stages.search import files_of, load_module
from darkop_dist.stages.skim.run import Skim

NO_SPLIT = SplitRule(seed=1, train_fraction=0.0, train_datasets=(), check_fraction=0.5)
FORMATS = ("ttree", "rntuple", "parquet")
LOOSE = "max(Jet.pt) > 60 GeV or MET.pt > 150 or nMuon >= 1"
"""No event that fails it passes all cuts of a region but one, which is what fills the plots without that cut."""
COLUMNS = "Jet,Muon,Electron_*,Photon_*,Tau_*,MET_*,PV_*,puWeight*"


@pytest.fixture(scope="module")
def monojet(repository: Path) -> ModuleType:
    return load_module(repository / "processors" / "monojet.py")


def searched(
    monojet: ModuleType, repository: Path, records: list[DatasetRecord], job: str, **changes: Any
) -> tuple[dict[str, Any], dict[str, float]]:
    """Histograms by name, and what normalises each dataset to 1/fb."""
    parameters = YAML(typ="safe").load(repository / "jobs" / job)["parameters"] | changes
    model = monojet.MonoJetParameters.model_validate(parameters)
    shifts = ("jet_energy_scale", "jet_energy_resolution", "pileup_reweighting")
    processor = monojet.MonoJet(SearchSettings(model, shifts, None, NO_SPLIT, 50))
    plan = plan_chunks([files_of(r, Path.cwd()) for r in records], chunk_events=250_000, whole_files=False)
    of = {record.name: record for record in records}
    result = execute([Task(chunk, of[chunk.dataset], 0, None) for chunk in plan], processor)
    output = processor.postprocess(result.output)
    return output, normalisation_scales(records, result.ledger, 1.0)


def require_equal(whole: dict[str, Any], skimmed: dict[str, Any]) -> None:
    assert list(whole["histograms"]) == list(skimmed["histograms"])
    filled = 0
    for name, histogram in whole["histograms"].items():
        other = skimmed["histograms"][name]
        assert histogram.axes == other.axes
        assert histogram.view(flow=True).tobytes() == other.view(flow=True).tobytes(), name
        filled += int((histogram.values() != 0).sum())
    assert filled > 100
    assert list(whole["candidates"].table["event"]) == list(skimmed["candidates"].table["event"])
    for dataset, regions in whole["cutflow"].items():
        for region, steps in regions.items():
            last = list(steps)[-1]
            assert steps[last].tolist() == skimmed["cutflow"][dataset][region][last].tolist()


@pytest.mark.parametrize("layout", FORMATS)
def test_of_simulation(
    layout: str, samples: Path, skim: Callable[..., Skim], monojet: ModuleType, repository: Path, tmp_path: Path
) -> None:
    files = [str(samples / f"{number}.root") for number in (0, 1)]
    whole = DatasetRecord(name="mc", kind="simulation", xsec_pb=3.3, files=tuple(files))
    output, scales = searched(monojet, repository, [whole], "quickstart.yml", recoil_min=150.0)
    document = tmp_path / "records.json"
    document.write_text(f'{{"schema_version": 1, "records": [{whole.model_dump_json(exclude_defaults=True)}]}}')

    made = skim("mc", select=LOOSE, columns=COLUMNS, layout=layout, catalogue=(document,), suffix="")
    (record,) = read_records(made.record)
    assert 0 < record.events < 3000
    skimmed, scales_of_skim = searched(monojet, repository, [record], "quickstart.yml", recoil_min=150.0)

    require_equal(output, skimmed)
    assert scales_of_skim == scales
    assert record.xsec_pb == 3.3


@pytest.mark.parametrize("layout", ["ttree", "parquet"])
def test_of_real_files(
    layout: str, shared_data: Path, skim: Callable[..., Skim], monojet: ModuleType, repository: Path, tmp_path: Path
) -> None:
    data = DatasetRecord(
        name="data", kind="data", lumi_ifb=1.0, files=(str(shared_data / "cms/Run2012B_SingleMu_1000.root"),)
    )
    tt = DatasetRecord(
        name="tt", kind="simulation", xsec_pb=831.76,
        files=(str(shared_data / "cms/nanoAOD_2015_CMS_Open_Data_ttbar.root"),),
    )  # fmt: skip
    cuts = {"recoil_min": 20.0, "jet_pt_min": 20.0, "dphi_min": 0.0}
    output, scales = searched(monojet, repository, [data, tt], "monojet_cms.yml", **cuts)
    listed = ",".join(r.model_dump_json(exclude_defaults=True) for r in (data, tt))
    (tmp_path / "records.json").write_text(f'{{"schema_version": 1, "records": [{listed}]}}')

    loose = "max(Jet.pt) > 10 or MET.pt > 10 or nMuon >= 1"
    columns = COLUMNS.replace("puWeight*", "GenJet")
    made = skim(
        "data", "tt", select=loose, columns=columns, layout=layout, catalogue=(tmp_path / "records.json",), suffix=""
    )
    records = list(read_records(made.record))
    skimmed, scales_of_skim = searched(monojet, repository, records, "monojet_cms.yml", **cuts)

    require_equal(output, skimmed)
    assert scales_of_skim == scales
