"""What a package holds, what it must not hold, and what the RO-Crate specification asks of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from rocrate.rocrate import ROCrate

from darkop_dist.config import load_document
from darkop_dist.errors import InputFileError, LedgerError, OutputError
from darkop_dist.execution import load_ledger
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.preservation import METADATA, PackageRequest, write_package
from darkop_dist.stages.preservation.document import written_document

from .conftest import MODULE, MadeSearch


def entities(package: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((package / METADATA).read_text())["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph), "MUST NOT list an @id twice"
    return {entity["@id"]: entity for entity in graph}


def references(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [item["@id"] for item in items if isinstance(item, dict)]


def test_musts_of_ro_crate_1_1(package: Path) -> None:
    """https://www.researchobject.org/ro-crate/specification/1.1: metadata, root data entity, data entities."""
    metadata, found = json.loads((package / METADATA).read_text()), entities(package)
    assert metadata["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    descriptor, root = found[METADATA], found["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset"
    assert all(root[key] for key in ("name", "description", "license"))
    assert datetime.fromisoformat(root["datePublished"]).tzinfo is not None
    files = {name: entity for name, entity in found.items() if entity["@type"] == "File"}
    assert set(references(root["hasPart"])) == set(files)
    on_disk = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert {unquote(name) for name in files} == on_disk - {METADATA}
    for name, entity in files.items():
        content = (package / unquote(name)).read_bytes()
        assert entity["contentSize"] == str(len(content))
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
        assert "/" in entity["encodingFormat"]
    linked = {name for entity in found.values() for value in entity.values() for name in references(value)}
    assert linked <= {*found, "https://w3id.org/ro/crate/1.1"}, "entities that are referred to are described"
    assert ROCrate(package).name == "Small search"


def test_musts_of_process_run_crate(package: Path) -> None:
    """https://w3id.org/ro/wfrun/process/0.5; nobody is named as agent, since the package does not know who ran it."""
    metadata, found = json.loads((package / METADATA).read_text()), entities(package)
    profile = "https://w3id.org/ro/wfrun/process/0.5"
    assert "https://w3id.org/ro/terms/workflow-run/context" in metadata["@context"]
    assert profile in references(found["./"]["conformsTo"])
    assert found[profile]["@type"] == "CreativeWork"
    (action,) = (entity for entity in found.values() if entity["@type"] == "CreateAction")
    assert references(found["./"]["mentions"]) == [action["@id"]]
    software = found[references(action["instrument"])[0]]
    assert software["@type"] == "SoftwareApplication"
    assert software["softwareVersion"].startswith("0.")
    assert datetime.fromisoformat(action["startTime"]) <= datetime.fromisoformat(action["endTime"])
    assert {"results/histograms.json", "results/limits.json"} <= set(references(action["result"]))
    assert {"document/search.json", "#local%3A/data.csv"} <= set(references(action["object"]))
    assert "agent" not in action


def test_it_holds_code_files_operator_records_and_results(package: Path, made_search: MadeSearch) -> None:
    search = json.loads((package / "document" / "search.json").read_text())
    processor = search["processor"].removeprefix("package:/").removesuffix(":ZPrime")
    assert (package / processor).read_bytes() == (made_search.folder / "code of mine" / "own.py").read_bytes()
    names = {path.relative_to(package / "code").as_posix()[2:] for path in (package / "code").rglob("*.*")}
    assert names == {"own.py", f"{MODULE}/__init__.py", f"{MODULE}/scale.py", "tables/scale.json"}
    table = search["parameters"]["table"].removeprefix("package:/")
    assert (package / table).read_text() == "{}\n"
    assert (package / "operator" / "checkpoint" / "model.safetensors").exists()
    records = json.loads((package / "catalogue" / "records.json").read_text())["records"]
    assert [record["files"] for record in records] == [
        ["local:/data.csv"],
        ["local:/background.csv"],
        ["local:/signal.csv"],
    ]
    told = json.loads((package / "results" / "provenance.json").read_text())
    assert told["seeds"] == {"operator": 3, "split": 1}
    assert f"numpy=={told['versions']['numpy']}\n" in (package / "requirements.txt").read_text()
    assert (package / "results" / "histograms.json").read_bytes() == made_search.run.histograms.read_bytes()
    assert load_ledger(package / "results" / "ledger.json").digest == load_ledger(made_search.run.ledger).digest
    assert "signal: mu < " in (package / "README.md").read_text()


def test_it_holds_no_path_of_this_machine(package: Path, made_search: MadeSearch) -> None:
    places = {Path.home(), Path.cwd(), Path(tempfile.gettempdir()), made_search.folder, package.parent}
    forbidden = {str(place).encode() for place in places if len(str(place)) > 1}
    assert b"run from local:/search.yml in results" in (package / "results" / "report" / "index.html").read_bytes()
    for path in package.rglob("*"):
        if path.is_file() and path.name not in ("own.py", METADATA):
            assert not [place for place in forbidden if place in path.read_bytes()], path
    words = (package / METADATA).read_text().replace("https://w3id.org/ro/terms/workflow-run", "")
    assert not [place for place in forbidden if place.decode() in words]


def test_two_exports_are_equal_to_the_last_byte(made_search: MadeSearch, package: Path, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_package(PackageRequest(made_search.run.path, tmp_path / name))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read(METADATA) == (package / METADATA).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_inputs_are_copied_where_that_is_asked_for(made_search: MadeSearch, package: Path, tmp_path: Path) -> None:
    said: list[str] = []
    write_package(PackageRequest(made_search.run.path, tmp_path / "all", with_inputs=True), said.append)
    assert said[-1] == "copying 3 input files, 0.8 MB"
    assert (tmp_path / "all/inputs/signal.csv").read_bytes() == (made_search.folder / "signal.csv").read_bytes()
    assert "inputs/signal.csv" in references(entities(tmp_path / "all")["#run"]["object"])
    assert not (package / "inputs").exists()


def test_an_input_that_has_changed_is_refused(made_search: MadeSearch, tmp_path: Path) -> None:
    data = made_search.folder / "data.csv"
    content, times = data.read_bytes(), data.stat()
    data.write_bytes(content + b"\n")
    try:
        with pytest.raises(InputFileError, match=r"data\.csv: has changed since the run. Put the file of the run back"):
            write_package(PackageRequest(made_search.run.path, tmp_path / "out"))
    finally:
        data.write_bytes(content)
        os.utime(data, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not list(tmp_path.iterdir())


def test_an_output_that_exists_is_refused(made_search: MadeSearch, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        write_package(PackageRequest(made_search.run.path, tmp_path))


def test_a_run_that_is_not_whole_is_refused(made_search: MadeSearch, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such run directory"):
        write_package(PackageRequest(tmp_path / "absent", tmp_path / "out"))
    copied = RunDirectory(tmp_path / "copied")
    shutil.copytree(made_search.run.path, copied.path, ignore=shutil.ignore_patterns("chunks"))
    copied.limits.unlink()
    with pytest.raises(InputFileError, match=r"limits\.json.*Run the stage that writes it: darkop limits"):
        write_package(PackageRequest(copied.path, tmp_path / "out"))
    shutil.copy(made_search.run.limits, copied.limits)
    (copied.path / "output.json").write_text("{}")
    with pytest.raises(InputFileError, match="is the run of a processor that is no search"):
        write_package(PackageRequest(copied.path, tmp_path / "out"))
    (copied.path / "output.json").unlink()
    shutil.rmtree(copied.sources)
    with pytest.raises(InputFileError, match=r"did not keep what a run is made from\. Run the search"):
        write_package(PackageRequest(copied.path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_stage_that_was_run_again_is_noted(made_search: MadeSearch, tmp_path: Path) -> None:
    copied = RunDirectory(tmp_path / "copied")
    shutil.copytree(made_search.run.path, copied.path, ignore=shutil.ignore_patterns("chunks"))
    copied.limits.write_text(copied.limits.read_text() + "\n")
    made = write_package(PackageRequest(copied.path, tmp_path / "out"))
    assert made.notes == ("results/limits.json is not the one that the run wrote: a stage was run again since",)
    assert f"Note: {made.notes[0]}" in (tmp_path / "out" / "README.md").read_text()


def test_a_run_that_lost_events_needs_its_loss_accepted(write_search: Callable[..., Path], tmp_path: Path) -> None:
    files = ["data.csv", {"uri": "broken.csv", "events": 7}]
    document = write_search(tmp_path, operator=None, anomaly_detection=None, limits=None)
    body = json.loads(document.read_text())
    body["datasets"][0]["files"] = files
    document.write_text(json.dumps(body))
    (tmp_path / "broken.csv").write_text("mtt,mu_pt,mu_abseta,pileup,weight,N_gen\n1,2,3,4,5,6\n")
    run = run_search(Request(document, tmp_path / "run", accept_loss=("data",), page=False))
    with pytest.raises(LedgerError, match="--accept-loss data"):
        write_package(PackageRequest(run.path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    write_package(PackageRequest(run.path, tmp_path / "out", accept_loss=("data",)))
    assert json.loads((tmp_path / "out" / "package.json").read_text())["accepted_loss"] == ["data"]


def test_what_a_site_must_know_is_left_out(tmp_path: Path) -> None:
    document = tmp_path / "search.yml"
    document.write_text(
        "name: A search # kept\ndatasets: [cms-2016g-met]\nprocessor: some.module:ZPrime\n"
        "execution:\n  where: gateway\n  cluster:\n    address: https://hub.org\n"
        "    options: {token: hunter2} # secret hunter2\n  workers: 4\n"
    )
    assert load_document(document).document.execution.cluster.options == {"token": "hunter2"}
    written = written_document(document.read_text())
    assert "hunter2" not in written
    assert "hub.org" not in written
    assert "name: A search # kept" in written
    document.write_text(written)
    assert load_document(document).document.execution.workers == 4
