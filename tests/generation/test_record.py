"""The recipe in the file, and the record beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
import uproot

from darkop_dist.catalogue.records_file import read_records
from darkop_dist.generation import GeneratedSample, generate
from darkop_dist.generation.process import Process, list_processes
from darkop_dist.generation.record import adler32, write_record


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> GeneratedSample:
    target = tmp_path_factory.mktemp("made") / "svj 0.3.root"
    return generate("semivisible-jets", 20, target, seed=4, settings={"mpi": "off", "r_inv": 0.3})


def test_the_recipe_stands_in_the_file(sample: GeneratedSample) -> None:
    with uproot.open(sample.file) as file:
        recipe = json.loads(str(file["recipe"]))
    assert recipe == sample.recipe
    assert (recipe["process"], recipe["seed"], recipe["events"]) == ("semivisible-jets", 4, 20)
    assert "4900111:oneChannel = 1 0.3 0 51 -51" in recipe["pythia"]
    assert recipe["versions"]["pythia8mc"] == metadata.version("pythia8mc")


def test_the_recipe_makes_the_same_events_again(sample: GeneratedSample, tmp_path: Path) -> None:
    again = generate("semivisible-jets", 20, tmp_path / "again.root", seed=4, settings={"mpi": "off", "r_inv": 0.3})
    assert again.recipe == sample.recipe
    with uproot.open(sample.file) as one, uproot.open(again.file) as two:
        assert one["Events"]["MET_pt"].array().tolist() == two["Events"]["MET_pt"].array().tolist()


def test_the_record_is_one_that_documents_can_name(sample: GeneratedSample) -> None:
    path = write_record(sample)
    assert path.name == "svj 0.3.record.json"
    (record,) = read_records(path)
    assert record.name == "svj_0.3"
    assert record.xsec_pb is None  # the coupling is a choice, and the process says so
    assert record.events == 20
    (file,) = record.files
    assert Path(file.uri) == sample.file
    assert (file.bytes, file.events) == (sample.file.stat().st_size, 20)
    assert file.adler32 == adler32(sample.file)
    assert '"seed": 4' in record.provenance


@pytest.mark.parametrize("process", list_processes(), ids=lambda process: process.name)
def test_a_cross_section_that_the_process_disowns_is_left_out(process: Process, sample: GeneratedSample) -> None:
    recipe = {**sample.recipe, "process": process.name}
    (record,) = read_records(write_record(replace(sample, process=process.name, recipe=recipe)))
    disowned = "set xsec_pb" in process.approximations
    assert (process.cross_section == "unknown") == disowned
    assert record.xsec_pb == (None if disowned else sample.xsec_pb)
