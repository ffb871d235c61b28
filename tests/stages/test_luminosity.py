"""The luminosity of what was processed, from document to limits, with losses, copies and tables that do not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from ruamel.yaml import YAML
from typer.testing import CliRunner

from darkop_dist.cli.app import app
from darkop_dist.errors import DocumentError, InputValueError
from darkop_dist.execution import Watch
from darkop_dist.runs import RunDirectory, file_sha256
from darkop_dist.stages.context import RunContext, load_context, save_document
from darkop_dist.stages.limits import write_limits
from darkop_dist.stages.provenance import Stopwatch, write_provenance
from darkop_dist.stages.run_events import run_events
from darkop_dist.stages.search import prepare_search
from darkop_dist.stages.skim.call import skim
from darkop_dist.stages.warnings import page_warnings

HEADER = "#run:fill,ls,time,beamstatus,E(GeV),delivered(/pb),recorded(/pb),avgpu,source"
SIMULATION = {"kind": "simulation", "xsec_pb": 40.0, "filter_efficiency": 0.5, "k_factor": 1.5}


def table(path: Path, sections: list[tuple[int, int]], each_ipb: float = 100.0) -> Path:
    rows = [f"{run}:7,{ls}:{ls},t,STABLE BEAMS,6500,{2 * each_ipb},{each_ipb},20,HFOC" for run, ls in sections]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, write_nanoaod: Callable[..., Path]) -> Path:
    """Made-up files with 1000 events in each of the sections 0 to 5 of run 1."""
    folder = tmp_path_factory.mktemp("samples")
    for seed, name in enumerate(("data", "background", "signal"), start=1):
        write_nanoaod(folder / f"{name}.root", 6000, seed=seed, basket_events=2000)
    return folder


def document(folder: Path, samples: Path, repository: Path, **changes: Any) -> Path:
    """A search whose observation is a made-up file: its parameters are those of the quick start, with wider cuts."""
    (folder / "golden.json").write_text('{"1": [[0, 4]]}')
    table(folder / "lumi.csv", [(1, ls) for ls in range(6)])
    parameters = YAML(typ="safe").load(repository / "jobs" / "quickstart.yml")["parameters"]
    body: dict[str, Any] = {
        "name": "Luminosity",
        "lumi_ifb": "measured",
        "datasets": [
            {"name": "data", "kind": "data", "files": [f"{samples}/data.root"]},
            {"name": "background", **SIMULATION, "files": [f"{samples}/background.root"]},
            {"name": "signal", **SIMULATION, "files": [f"{samples}/signal.root"]},
        ],
        "processor": f"{repository}/processors/monojet.py:MonoJet",
        "parameters": parameters,
        "corrections": {"golden_json": "golden.json", "luminosity_csv": "lumi.csv"},
        "execution": {"chunk_events": 1500},
    }
    path = folder / "search.yml"
    path.write_text(json.dumps({key: value for key, value in (body | changes).items() if value is not None}))
    return path


def damage(path: Path, branch: str, basket: int) -> None:
    """Overwrite the middle of one basket of a file."""
    with uproot.open(path) as file:
        place = int(file["Events"][branch].member("fBasketSeek")[basket])
    content = bytearray(path.read_bytes())
    content[place + 100 : place + 600] = b"\x00" * 500
    path.write_bytes(content)


def processed(
    path: Path, folder: Path, *, earlier: RunDirectory | None = None, watch: Watch | None = None
) -> RunContext:
    """The run without its page, whose sixty figures would take a minute."""
    run, search = RunDirectory(folder), prepare_search(path)
    folder.mkdir(exist_ok=True)
    save_document(search, run)
    run_events(search, run, None, earlier=earlier, watch=watch)
    write_provenance(search, run, Stopwatch(), fingerprint=None, arguments=["darkop", "run"])
    return load_context(run)


def warnings_of(context: RunContext) -> str:
    return "\n".join(page_warnings(context, ()))


def test_certified_data_normalise_simulation(samples: Path, tmp_path: Path, repository: Path) -> None:
    context = processed(document(tmp_path, samples, repository), tmp_path / "result")
    assert context.lumi_ifb == pytest.approx(0.5)  # five of six sections with 0.1/fb each
    assert context.luminosity is not None
    (run,) = context.luminosity.datasets[0].runs
    assert (run.sections, run.certified, run.events, run.uncertified_events) == (6, 5, 5000, 1000)
    assert context.cutflow["data"]["signal"][1] == ["certified sections", 5000, 5000.0]
    sum_weights = next(c.sum_weights for c in context.ledger.closure() if c.dataset == "background")
    assert sum_weights == pytest.approx(1.7 * 0.8 * 6000, rel=0.05)
    assert context.scales["background"] == pytest.approx(40.0 * 0.5 * 1.5 * 500.0 / sum_weights)
    hashes = json.loads(context.run.provenance.read_text())["hashes"]
    assert hashes["corrections.golden_json"] == file_sha256(tmp_path / "golden.json")
    assert hashes["corrections.luminosity_csv"] == file_sha256(tmp_path / "lumi.csv")
    told = warnings_of(context)
    assert "data: 1000 events were left out: 1 section (1:5) not certified." in told
    assert "background: 1 file does not say how many events were generated." in told
    assert "data: 1 file does not say" not in told
    shown = CliRunner().invoke(app, ["lumi", str(context.run.path)], catch_exceptions=False).output
    assert re.search(r"1 │ +6 │ +5 │ +5000 │ +1000 │ +0 │ +1/fb │ +500/pb", shown)
    assert "recorded: 500/pb" in shown
    printed = CliRunner().invoke(app, ["lumi", str(context.run.path), "--json"], catch_exceptions=False).output
    assert json.loads(printed)["recorded_ifb"] == pytest.approx(0.5)


def test_a_changed_list_makes_results_stale(samples: Path, tmp_path: Path, repository: Path) -> None:
    path, said = document(tmp_path, samples, repository), []
    watch = Watch(said.append, lambda result: said.append("kept" if result.kept else "done"))
    first = processed(path, tmp_path / "first")
    (tmp_path / "golden.json").write_text('{"1": [[1, 2]]}')
    second = processed(path, tmp_path / "second", earlier=first.run, watch=watch)
    assert "stale, and therefore computed again: what depends on settings" in said
    assert "kept" not in said
    assert [context.cutflow["data"]["signal"][1][1] for context in (first, second)] == [5000, 2000]
    table(tmp_path / "lumi.csv", [(1, ls) for ls in range(6)], 10.0)
    said.clear()
    third = processed(path, tmp_path / "third", earlier=second.run, watch=watch)
    assert set(said) == {"kept"}  # events do not depend on it
    assert third.lumi_ifb == pytest.approx(0.02)


def test_lost_data_take_their_luminosity_with_them(samples: Path, tmp_path: Path, repository: Path) -> None:
    data = tmp_path / "data.root"
    data.write_bytes((samples / "data.root").read_bytes())
    damage(data, "MET_pt", 1)  # entries 2000 to 4000: the chunks [1500:3000] and [3000:4500]
    path = document(tmp_path, samples, repository)
    body = json.loads(path.read_text())
    body["datasets"][0]["files"] = [str(data)]
    path.write_text(json.dumps(body | {"execution": {"chunk_events": 1500, "retries": 0}}))
    context = processed(path, tmp_path / "result")
    assert context.luminosity is not None
    assert context.luminosity.datasets[0].partial == {"1": [[1, 1], [4, 4]]}
    assert context.luminosity.datasets[0].unseen == {"1": [[2, 3]]}
    assert context.lumi_ifb == pytest.approx(0.1 + 0.05 + 0.05)
    told = warnings_of(context)
    assert "2 sections (1:1, 1:4) were processed in part" in told
    assert "as if the lost" not in told


def test_a_stated_luminosity_is_compared(samples: Path, tmp_path: Path, repository: Path) -> None:
    context = processed(document(tmp_path, samples, repository, lumi_ifb=0.6), tmp_path / "result")
    assert context.lumi_ifb == 0.6
    told = warnings_of(context)
    assert "The document states 0.6/fb" in told
    assert "processed hold 0.5/fb (-16.67%)" in told


def test_a_copy_of_a_file_counts_events_twice(
    samples: Path, tmp_path: Path, repository: Path, write_nanoaod: Callable[..., Path]
) -> None:
    write_nanoaod(tmp_path / "copy.root", 6000, seed=9)
    path = document(tmp_path, samples, repository)
    body = json.loads(path.read_text())
    body["datasets"][0]["files"].append(str(tmp_path / "copy.root"))
    body["limits"] = {"signal": "signal", "lumi_uncertainty": 0.012, "bins": [250, 1250]}
    body["corrections"]["repeated_sections"] = "refuse"
    path.write_text(json.dumps(body))
    context = processed(path, tmp_path / "result")
    assert "6 sections (1:0-5) are in several files" in warnings_of(context)
    assert context.lumi_ifb == pytest.approx(0.5)  # counted once
    with pytest.raises(InputValueError, match=r"dataset data: 6 sections \(1:0-5\) are in several files .*copy\.root"):
        write_limits(context)


def test_nothing_recorded_is_no_luminosity(samples: Path, tmp_path: Path, repository: Path) -> None:
    path = document(tmp_path, samples, repository)
    table(tmp_path / "lumi.csv", [(2, 1)])
    with pytest.raises(InputValueError, match="lumi_ifb: measured: no luminosity was recorded"):
        processed(path, tmp_path / "result")


def test_part_of_the_simulation_is_normalised_to_what_was_processed(
    samples: Path, tmp_path: Path, repository: Path
) -> None:
    background = tmp_path / "background.root"
    background.write_bytes((samples / "background.root").read_bytes())
    damage(background, "MET_pt", 2)  # entries 4000 to 6000
    path = document(tmp_path, samples, repository)
    body = json.loads(path.read_text())
    body["datasets"][1]["files"] = [str(background)]
    path.write_text(json.dumps(body | {"execution": {"chunk_events": 2000, "retries": 0}}))
    context = processed(path, tmp_path / "result")
    with uproot.open(background) as file:
        weights = file["Events"]["genWeight"].array(library="np", entry_stop=4000).astype(float)
    # cross section x filter efficiency x k-factor x luminosity, over the weights of the chunks that were processed
    assert context.scales["background"] == pytest.approx(40.0 * 0.5 * 1.5 * 500.0 / weights.sum())
    assert next(c.lost for c in context.ledger.closure() if c.dataset == "background") == 2000


def test_pile_up_weights_that_change_the_normalisation_are_said(
    shared_data: Path,
    tmp_path: Path,
    repository: Path,
    samples: Path,
    write_pileup: Callable[..., Path],
    jerc_file: Path,
) -> None:
    write_pileup(tmp_path / "pu.json", [0.0] * 8 + [1.5] * 12, [1.0] * 20, [1.0] * 20)
    path = document(tmp_path, samples, repository, lumi_ifb=1.0)
    ttbar = {
        "name": "tt",
        **SIMULATION,
        "files": [str(shared_data / "cms" / "nanoAOD_2015_CMS_Open_Data_ttbar.root")],
        "year": 2015,
    }
    wide = YAML(typ="safe").load(repository / "jobs" / "monojet_cms.yml")["parameters"] | {
        "recoil_min": 0.0,
        "jet_pt_min": 20.0,
        "dphi_min": 0.0,
    }
    corrections = {
        "pileup": {"file": "pu.json", "correction": "Collisions16_UltraLegacy_goldenJSON"},
        "jet_energy": {
            "file": str(jerc_file),
            "correction": "Summer19UL16_V7_MC_L1L2L3Res_AK4PFchs",
            "uncertainties": ["FlavorQCD", "AbsoluteStat"],
        },
        "met_filters": "recommended",
    }
    body = json.loads(path.read_text()) | {"datasets": [ttbar], "corrections": corrections, "parameters": wide}
    path.write_text(json.dumps(body | {"systematics": ["jet_energy_scale", "pileup_reweighting"]}))
    context = processed(path, tmp_path / "result")
    told = warnings_of(context)
    assert re.search(r"tt: the mean pile-up weight of the events that were processed is 1\.\d{4}, not 1", told)
    assert re.search(r"tt: \d+ events outside the range of the pile-up weights\.", told)
    assert re.search(r"tt: \d+ events whose pile-up weight is zero\.", told)
    names = list(context.histograms.histograms["recoil"].axes["variation"])
    assert {"jet_energy_scale_FlavorQCD_up", "jet_energy_scale_AbsoluteStat_down", "pileup_reweighting_up"} < set(names)
    assert "jet_energy_scale_up" not in names
    assert context.cutflow["tt"]["signal"][1][0] == "MET filters"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corrections": {"golden_json": "nowhere.json"}}, r"corrections\.golden_json: no file .*nowhere\.json"),
        ({"corrections": {"golden_jsn": "golden.json"}}, r"corrections\.golden_jsn: unknown key.*did you mean 'golden_json'"),
        ({"corrections": {}}, r"lumi_ifb: a measured luminosity needs corrections\.luminosity_csv"),
        ({"lumi_ifb": "mesured"}, r"lumi_ifb: must be a number or 'measured'.*did you mean 'measured'"),
        ({"corrections": {"luminosity_csv": "golden.json"}}, r"corrections\.luminosity_csv: .*has no header line"),
        ({"lumi_ifb": 1, "corrections": {"golden_json": "lumi.csv"}}, r"corrections\.golden_json: .*is no list of certified sections"),
        ({"lumi_ifb": 1, "corrections": {"met_filters": "recommended"}}, r"corrections\.met_filters: recommended for data needs corrections\.year"),
        ({"lumi_ifb": 1, "corrections": {"year": "2016"}}, r"corrections\.year: must be '2015', '2016preVFP'"),
        ({"lumi_ifb": 1, "corrections": {"triggers": "single_mu", "year": "2018"}}, r"corrections\.triggers: .*did you mean 'single_muon'"),
        ({"lumi_ifb": 1, "corrections": {"pileup": {"file": "golden.json"}}}, r"corrections\.pileup: must have file and correction, or data and simulation"),
        ({"lumi_ifb": 1, "corrections": {"pileup": {"file": "golden.json", "correction": "a"}}}, r"corrections\.pileup\.file: .*is no file of corrections"),
        (
            {"lumi_ifb": 1, "corrections": {"jet_energy": {"file": "jerc.json.gz", "correction": "Summer19UL16_V7_MC_L1L2L3Re_AK4PFchs", "uncertainties": ["Totl"], "data": {"dta": "x"}}}},
            (r"4 mistakes[\s\S]*jet_energy\.correction: there is no correction 'Summer19UL16_V7_MC_L1L2L3Re_AK4PFchs'[\s\S]*did you mean 'Summer19UL16_V7_MC_L1L2L3Res_AK4PFchs'"
            r"[\s\S]*data\.dta: no dataset of collision data has this name[\s\S]*unknown correction 'x'[\s\S]*uncertainties: unknown correction 'Totl'"),
        ),
        (
            {"lumi_ifb": 1, "corrections": {"jet_energy": {"file": "jerc.json.gz", "correction": "a", "uncertainties": ["Total", "A"], "resolution": "b"}}},
            r"2 mistakes[\s\S]*Total holds all sources[\s\S]*smearing needs both",
        ),
    ],
)  # fmt: skip
def test_mistakes_have_their_place(
    changes: dict[str, Any], message: str, samples: Path, tmp_path: Path, repository: Path, jerc_file: Path
) -> None:
    (tmp_path / "jerc.json.gz").write_bytes(jerc_file.read_bytes())
    with pytest.raises(DocumentError, match=message):
        prepare_search(document(tmp_path, samples, repository, **changes))


def test_a_processor_that_applies_none(write_search: Callable[..., Path], tmp_path: Path) -> None:
    tmp_path.joinpath("golden.json").write_text('{"1": [[1, 2]]}')
    path = write_search(tmp_path, corrections={"golden_json": "golden.json"})
    with pytest.raises(
        DocumentError, match=r"corrections\.golden_json: ZPrime does not apply this: it applies no corrections"
    ):
        prepare_search(path)


def test_files_without_numbers_have_no_luminosity(write_search: Callable[..., Path], tmp_path: Path) -> None:
    context = processed(write_search(tmp_path, operator=None, anomaly_detection=None, limits=None), tmp_path / "result")
    assert not context.run.lumi.exists()
    assert all(entry.sections is None for entry in context.ledger.entries)
    refused = CliRunner().invoke(app, ["lumi", str(context.run.path)])
    assert "this run directory does not hold it" in str(refused.exception)


def test_a_skim_that_lost_events_loses_their_luminosity(
    write_nanoaod: Callable[..., Path], samples: Path, tmp_path: Path, repository: Path
) -> None:
    whole = write_nanoaod(tmp_path / "data.root", 6000, seed=4, basket_events=2000)
    with uproot.update(whole) as file:
        file["LuminosityBlocks"] = {"run": np.ones(6, np.uint32), "luminosityBlock": np.arange(6, dtype=np.uint32)}
    damage(whole, "MET_pt", 1)
    made = skim(str(whole), tmp_path / "skim", drop="genWeight", chunk_events=2000, accept_loss=["data"])
    (again,) = json.loads(made.record.read_text())["records"] if made.record else ()
    again |= {"kind": "data", "files": [str(made.directory / again["files"][0]["uri"])]}
    simulation = {"name": "background", **SIMULATION, "files": [f"{samples}/background.root"]}
    path = document(tmp_path, samples, repository, datasets=[again, simulation])
    assert processed(path, tmp_path / "result").lumi_ifb == pytest.approx(0.3)  # of sections 0, 1 and 4


@pytest.mark.parametrize("layout", ["ttree", "rntuple", "parquet"])
def test_a_skim_holds_the_luminosity_of_the_whole(
    layout: Any, write_nanoaod: Callable[..., Path], samples: Path, tmp_path: Path, repository: Path
) -> None:
    """Sections of which no event is kept count, those of a file of which no event is kept too."""
    first = write_nanoaod(tmp_path / "first.root", 3000, seed=4)  # sections 0 to 2; the other file has 0 to 5
    record = {"name": "data", "kind": "data", "files": [str(first), str(samples / "data.root")]}
    (tmp_path / "own.json").write_text(json.dumps({"records": [record]}))

    def select(events: Any) -> Any:
        return (events.luminosityBlock == 1) & (events.metadata["filename"] == str(first))

    made = skim("data", tmp_path / "skim", select=select, format=layout, catalogue=[tmp_path / "own.json"])
    assert sorted(output.rows for output in made.outputs) == [0, 1000]
    assert made.record is not None
    (again,) = json.loads(made.record.read_text())["records"]
    again["files"] = [{**file, "uri": str(made.directory / file["uri"])} for file in again["files"]]
    simulation = {"name": "background", **SIMULATION, "files": [f"{samples}/background.root"]}
    path = document(tmp_path, samples, repository, datasets=[again, simulation])
    (tmp_path / "golden.json").write_text('{"1": [[0, 5]]}')
    context = processed(path, tmp_path / "result")
    assert context.lumi_ifb == pytest.approx(0.6)  # six sections with 0.1/fb each
    assert context.luminosity is not None
    (run,) = context.luminosity.datasets[0].runs
    assert (run.sections, run.certified, run.events) == (6, 6, 1000)
