"""Packages of searches whose events are on a server, in ROOT files, or generated; of models chosen or given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from darkop_dist.config import Document
from darkop_dist.stages.code_version import UNKNOWN
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.preservation import (
    METADATA,
    PackageRequest,
    ReproductionRequest,
    reproduce_package,
    write_package,
)
from darkop_dist.stages.preservation.document import packaged_document
from darkop_dist.stages.sources import Sources


def packaged(document: Path, folder: Path) -> Path:
    run = run_search(Request(document, folder / "run", page=False))
    write_package(PackageRequest(run.path, folder / "package"))
    return folder / "package"


def monojet(repository: Path, folder: Path, datasets: list[dict[str, Any]]) -> Path:
    """The selection of the quick start on other events, without a model and limits."""
    body = YAML(typ="safe").load((repository / "jobs" / "quickstart.yml").read_text())
    for section in ("operator", "anomaly_detection", "limits", "systematics"):
        del body[section]
    processor = f"{repository / 'processors' / 'monojet.py'}:MonoJet"
    path = folder / "monojet.yml"
    path.write_text(json.dumps(body | {"datasets": datasets, "processor": processor, "execution": {"workers": 1}}))
    return path


def test_events_on_a_server(
    write_search: Callable[..., Path], flaky_server: Callable[[Path], Any], tmp_path: Path
) -> None:
    document = write_search(tmp_path, operator=None, anomaly_detection=None, limits=None)
    server = flaky_server(tmp_path)
    body = json.loads(document.read_text())
    for dataset in body["datasets"]:
        (name,) = dataset["files"]
        dataset["files"] = [{"uri": server.url(name), "replicas": [name]}]
    document.write_text(json.dumps(body))
    package = packaged(document, tmp_path / "made")
    inputs = json.loads((package / "inputs.json").read_text())
    assert inputs["local"] == []
    assert {file["path"] for file in inputs["files"]} == {
        server.url(f"{n}.csv") for n in ("data", "background", "signal")
    }
    graph = {entity["@id"]: entity for entity in json.loads((package / METADATA).read_text())["@graph"]}
    assert graph[server.url("data.csv")]["@type"] == "File"
    assert {"@id": server.url("data.csv")} in graph["./"]["hasPart"]
    made = reproduce_package(ReproductionRequest(package, tmp_path / "again", page=False))
    assert made.agrees
    (tmp_path / "data.csv").write_text((tmp_path / "data.csv").read_text().replace("1", "2"))
    made = reproduce_package(ReproductionRequest(package, tmp_path / "changed", page=False))
    found = {finding.what: finding.detail for finding in made.findings if not finding.agrees}
    assert found["inputs"] == "other files: data.csv"
    assert {"histogram mtt", "cutflow"} <= set(found)


@pytest.mark.parametrize("name", ["nano.root", "nano.root.1"])
def test_root_files_found_by_name(
    name: str, repository: Path, write_nanoaod: Callable[..., Path], tmp_path: Path
) -> None:
    """Two files of one name keep their order and the ends of their paths."""
    for number in (1, 0):
        folder = tmp_path / "events" / f"000{number}"
        folder.mkdir(parents=True)
        write_nanoaod(folder / name, 300 + number, seed=number + 1)
    data = {"name": "data", "kind": "data", "files": [f"events/*/{name}"], "doi": "10.7483/x", "licence": "CC0-1.0"}
    package = packaged(monojet(repository, tmp_path, [data]), tmp_path / "made")
    local = json.loads((package / "inputs.json").read_text())["local"]
    assert [file["name"] for file in local] == [f"local:/0000/{name}", f"local:/0001/{name}"]
    assert "| data | https://doi.org/10.7483/x | CC0-1.0 |" in (package / "README.md").read_text()
    (tmp_path / "events").rename(tmp_path / "moved")
    request = ReproductionRequest(package, tmp_path / "again", (tmp_path / "moved",), page=False)
    made = reproduce_package(request)
    assert made.agrees
    assert {finding.difference for finding in made.findings} == {0.0}


@pytest.mark.slow
def test_generated_events_are_generated_again(repository: Path, tmp_path: Path) -> None:
    settings = {"pthat_min": 200.0, "mpi": "off"}
    generated = {"process": "z-nunu-jets", "events": 40, "seed": 7, "settings": settings}
    made = {"name": "made", "kind": "simulation", "experiment": "simulation", "generated": generated}
    package = packaged(monojet(repository, tmp_path, [made]), tmp_path / "made")
    (record,) = json.loads((package / "catalogue" / "records.json").read_text())["records"]
    assert (record["files"], record["generated"]["seed"]) == ([], 7)
    assert "generated: z-nunu-jets, 40 events, seed 7" in (package / "README.md").read_text()
    again = reproduce_package(ReproductionRequest(package, tmp_path / "again", page=False))
    assert list((tmp_path / "again" / "generated").glob("*.root")), "not taken from the cache"
    assert again.agrees


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ({"checkpoint": "cylinder-fno-v1"}, {"checkpoint": "cylinder-fno-v1"}),
        ({"checkpoint": "/home/me/mine"}, {"checkpoint": "package:/operator/checkpoint"}),
        (
            {"choose_from": ["cylinder-fno-v1", "/home/me/mine"]},
            {"choose_from": ["cylinder-fno-v1", "not-packaged/mine"]},
        ),
    ],
)
def test_models_by_name_and_by_path(operator: dict[str, Any], expected: dict[str, Any]) -> None:
    told = {"name": "s", "datasets": ["d"], "processor": "/home/me/p.py:P", "operator": operator}
    told |= {"parameters": {"golden": "golden.json", "list": ["golden.json", 3]}, "output": "/home/me/out"}
    document = Document.model_validate_json(json.dumps(told))
    sources = Sources("code/0/p.py:P", (), {"golden.json": "files/0/golden.json"}, UNKNOWN, begins_in=False, notes=())
    body = packaged_document(document, [], sources)
    assert expected.items() <= body["operator"].items()
    assert body["processor"] == "package:/code/0/p.py:P"
    assert body["parameters"] == {
        "golden": "package:/files/0/golden.json",
        "list": ["package:/files/0/golden.json", 3],
    }
    assert body["output"] is None
