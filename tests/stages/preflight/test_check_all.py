"""What would stop a run, or spoil it, is found before it begins; all of it at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from darkop_dist.errors import DocumentError
from darkop_dist.stages.preflight import Finding, check_all

Write = Callable[..., Path]
CHECKPOINT = {"checkpoint": "cylinder-fno-v1"}
LIMITS = {"signal": "signal", "observable": "mtt", "lumi_uncertainty": 0.012, "bins": [400, 800, 4000]}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def of(findings: list[Finding], check: str, subject: str | None = None) -> Finding:
    return next(f for f in findings if f.check == check and subject in (None, f.subject))


def failed(findings: list[Finding]) -> dict[tuple[str, str], Finding]:
    return {(finding.check, finding.subject): finding for finding in findings if finding.status == "failed"}


def test_a_search_without_fault(write_search: Write, tmp_path: Path) -> None:
    findings = check_all(write_search(tmp_path))
    assert failed(findings) == {}
    wanted = ["document", "scorer", "files", "training", "limits", "workers", "memory", "walltime", "space", "access"]
    assert list(dict.fromkeys(finding.check for finding in findings)) == wanted
    background = of(findings, "files", "background")
    assert background.message == "1 file; first 100 events processed, selected: signal 100"
    assert of(findings, "training").numbers["events"] == 1000
    run = of(findings, "walltime", "run").numbers
    assert (run["entries"], run["chunks"]) == (10_800, 3)
    memory = of(findings, "memory").numbers
    assert 50 < float(memory["bytes_per_event"]) < 5000, "eight rows of eight bytes and their copies"


def test_everything_that_is_wrong_is_found_at_once(write_search: Write, tmp_path: Path) -> None:
    limits = LIMITS | {"observable": "mttt", "regions": ["singal"]}
    document = write_search(tmp_path, limits=limits, operator={"checkpoint": "cylinder-fno-v2"}, anomaly_detection=None)
    (tmp_path / "signal.csv").unlink()
    pd.read_csv(tmp_path / "data.csv").drop(columns="mu_pt").to_csv(tmp_path / "data.csv", index=False)
    found = failed(check_all(document))
    assert set(found) == {
        ("scorer", "cylinder-fno-v2"), ("files", "signal"), ("files", "data"), ("limits", "limits.observable")
    }  # fmt: skip
    assert "signal.csv: no such file" in found["files", "signal"].message
    assert "data.csv: has no branch mu_pt" in found["files", "data"].message
    assert "Did you mean cylinder-fno-v1" in found["scorer", "cylinder-fno-v2"].message
    assert found["limits", "limits.observable"].what_to_do == "Did you mean mtt?"


def test_regions_and_bins_that_the_processor_does_not_have(write_search: Write, tmp_path: Path) -> None:
    limits = LIMITS | {"regions": ["singal"], "bins": [400, 850, 4000]}
    findings = check_all(write_search(tmp_path, limits=limits, operator=None, anomaly_detection=None))
    found = failed(findings)
    assert found["limits", "limits.regions"].message == "the processor has no region singal, but signal"
    assert found["limits", "limits.bins"].message == "850 are no edges of the histogram"


def test_p_values_have_no_bins_before_the_run(write_search: Write, tmp_path: Path) -> None:
    limits = {"signal": "signal", "observable": "p_value", "p_value_bins": [0.01, 0.1], "lumi_uncertainty": 0.012}
    findings = check_all(write_search(tmp_path, limits=limits))
    assert failed(findings) == {}
    assert of(findings, "limits").message == "p-values have no bins before the calibration is there"


def test_a_systematic_that_nothing_varies(write_search: Write, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"systematics": ["jet_energy_scale"], "operator": None, "anomaly_detection": None}
    findings = check_all(write_search(tmp_path, **changes))
    finding = of(findings, "limits")
    assert (finding.status, finding.subject) == ("warning", "systematics")
    assert "no dataset varies mtt with jet_energy_scale" in finding.message


def test_a_bug_of_the_processor_shows_in_every_dataset(write_search: Write, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from pydantic import BaseModel\n"
        "class Nothing(BaseModel):\n    pass\n"
        "class Broken:\n    Parameters = Nothing\n"
        "    def __init__(self, settings, scorer=None): ...\n"
        "    def process(self, events): return 1 / 0\n"
    )
    changes = {"processor": "broken.py:Broken", "parameters": {}, "signal_region": None, "limits": None}
    findings = check_all(write_search(tmp_path, operator=None, anomaly_detection=None, **changes))
    found = failed(findings)
    assert set(found) == {("files", "data"), ("files", "background"), ("files", "signal")}
    assert "ZeroDivisionError" in found["files", "data"].message
    assert of(findings, "memory").status == "skipped"


def test_the_scorer_scores_and_shows_its_fingerprint(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, operator=CHECKPOINT, anomaly_detection=None)
    finding = of(check_all(document), "scorer")
    assert finding.status == "ok"
    assert f"fingerprint {str(finding.numbers['fingerprint'])[:12]}" in finding.message
    assert len(str(finding.numbers["fingerprint"])) == 64


def test_a_server_that_refuses(write_search: Write, tmp_path: Path, flaky_server: Callable[[Path], Any]) -> None:
    server = flaky_server(tmp_path)
    document = write_search(tmp_path, operator=None, anomaly_detection=None)
    server.fail("data.csv", "status", status=403)
    body = json.loads(document.read_text())
    body["datasets"][0]["files"] = [server.url("data.csv")]
    document.write_text(json.dumps(body))
    findings = check_all(document)
    found = failed(findings)
    assert set(found) == {("files", "data"), ("access", "http://127.0.0.1")}
    assert "(status 403): it wants a login" in found["access", "http://127.0.0.1"].message


def test_a_file_in_two_datasets_and_an_empty_one_before_the_others(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, operator=None, anomaly_detection=None)
    pd.read_csv(tmp_path / "data.csv").iloc[:0].to_csv(tmp_path / "a_data.csv", index=False)
    body = json.loads(document.read_text())
    body["datasets"][0] |= {"files": ["*data.csv"], "allow_empty": True}
    body["datasets"][2]["files"] = ["background.csv"]
    document.write_text(json.dumps(body))
    findings = check_all(document)
    assert of(findings, "files", "data").message == "2 files; first 100 events processed, selected: signal 100"
    assert "belongs to the datasets background and signal" in failed(findings)["files", "datasets"].message


def test_mistakes_of_the_document_are_told_before_all(write_search: Write, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="signal_region: ZPrime cannot cut on masss"):
        check_all(write_search(tmp_path, signal_region="masss > 400 GeV"))


@pytest.mark.slow
def test_events_that_are_not_made_yet_are_tried_on_a_few(write_search: Write, tmp_path: Path) -> None:
    generated = {"process": "monojet-dm", "events": 50_000, "seed": 3, "settings": {"mpi": "off", "pthat_min": 200.0}}
    datasets = [{"name": "dm", "kind": "simulation", "experiment": "simulation", "generated": generated}]
    source = Path(__file__).resolve().parents[3] / "jobs" / "quickstart.yml"
    from ruamel.yaml import YAML

    body = YAML(typ="safe").load(source.read_text())
    processor = str(source.parents[1] / "processors" / "monojet.py") + ":MonoJet"
    changes = {"datasets": datasets, "parameters": body["parameters"], "processor": processor, "limits": None}
    findings = check_all(write_search(tmp_path, operator=None, anomaly_detection=None, signal_region=None, **changes))
    assert failed(findings) == {}
    finding = of(findings, "files", "dm")
    assert "not in the cache: takes about" in finding.message
    assert finding.numbers["entries"] == 50_000
    assert "dm to be generated: about" in of(findings, "space", "cache").message
