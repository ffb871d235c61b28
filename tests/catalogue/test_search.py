"""The packaged catalogue, a user's own records, and what a document's entries become."""

import json
from pathlib import Path

import pytest

from darkop_dist.catalogue import find_datasets, load_catalogue, read_records, record_of_file
from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import DocumentError, InputFileError, InputValueError, UnknownNameError


def test_packaged_facts_agree_with_the_portal(shared_data: Path) -> None:
    facts = json.loads((shared_data.parent / "catalogue" / "cern_open_data_records.json").read_text())
    by_recid = {int(fact["recid"]): fact for fact in facts}
    records = load_catalogue().list_datasets(experiment="CMS", years=[2016], kind="data")
    assert len(records) == 32
    for record in records:
        assert record.recid is not None
        fact = by_recid[record.recid]
        assert (record.events, record.doi, record.title) == (fact["events"], fact["doi"], fact["title"])
        if record.files:
            sizes = [file.bytes or 0 for file in record.files if not isinstance(file, str)]
            assert (len(sizes), sum(sizes)) == (fact["files"], fact["size"])
            assert len(set(record.uris)) == len(sizes)


def test_every_packaged_record_has_provenance_and_a_source() -> None:
    for record in load_catalogue().values():
        assert record.provenance
        assert record.recid or record.generated


def test_find() -> None:
    met = load_catalogue().find("cms-2016g-met")
    assert (met.recid, met.events, len(met.files), met.kind) == (30526, 26974131, 17, "data")
    assert met.uris[0].startswith("root://eospublic.cern.ch//eos/opendata/cms/Run2016G/MET/")


def test_find_unknown() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown dataset 'cms-2016g-mte'. Did you mean .*cms-2016g-met"
    ) as caught:
        load_catalogue().find("cms-2016g-mte")
    assert "cms-2016g-met" in caught.value.nearest


def test_match_and_list() -> None:
    catalogue = load_catalogue()
    assert [record.name for record in catalogue.match("cms-2016?-met")] == ["cms-2016g-met", "cms-2016h-met"]
    with pytest.raises(UnknownNameError, match="unknown dataset pattern 'cms-2017"):
        catalogue.match("cms-2017*")
    assert {record.name for record in catalogue.list_datasets(kind="simulation")} == {
        "qcd-pythia",
        "zjets-nunu-pythia",
        "dm-axial-1000-100",
        "dm-vector-1000-100",
        "dm-native-1000-100",
    }
    assert catalogue.list_datasets(years=[1999]) == ()


TOML = """\
[[records]]
name = "mine"
kind = "simulation"
files = ["data/*.csv", {uri = "more.csv", events = 3}]
xsec_pb = 2
"""


def test_own_records(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    mine = load_catalogue([path]).find("mine")
    assert mine.uris == (f"{tmp_path}/data/*.csv", f"{tmp_path}/more.csv")
    as_json = tmp_path / "mine.json"
    as_json.write_text(json.dumps({"records": [mine.model_dump(mode="json")]}))
    assert read_records(as_json) == (mine,)


@pytest.mark.parametrize(
    ("old", "text", "message"),
    [
        ("kind", "kinf", r"records\[0\].kinf: unknown key.*did you mean 'kind'"),
        ('"simulation"', '"mc"', r"records\[0\].kind: must be 'data' or 'simulation' \(found mc\)"),
        ('"mine"', '"cms-2016g-met"', r"records\[0\].name: the catalogue has a dataset of this name already"),
        ("[[records]]", "schema_version = 2\n[[records]]", "schema_version: this version reads 1 only"),
    ],
)
def test_own_records_with_mistakes(tmp_path: Path, old: str, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TOML.replace(old, text, 1))
    with pytest.raises(DocumentError, match=message):
        load_catalogue([path])


def test_unreadable_records(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none\.toml: cannot be read"):
        read_records(tmp_path / "none.toml")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputFileError, match=r"bad\.json: is not valid JSON"):
        read_records(tmp_path / "bad.json")


def test_find_datasets() -> None:
    inline = DatasetRecord(name="inline", kind="simulation", files=("a.csv",))
    entries: list[str | DatasetRecord] = [inline, "cms-2016h-met", "cms-2016?-met", "/data/Run2012B SingleMu*.root"]
    found = find_datasets(entries, load_catalogue())
    assert [record.name for record in found] == ["inline", "cms-2016h-met", "cms-2016g-met", "Run2012B-SingleMu"]
    assert found[-1].uris == ("/data/Run2012B SingleMu*.root",)
    with pytest.raises(UnknownNameError, match="Did you mean qcd-pythia"):
        find_datasets(["qcd-pythi"], load_catalogue())
    with pytest.raises(InputValueError, match="x: two different datasets have this name"):
        find_datasets(["/a/x.root", "/b/x.root"], load_catalogue())


def test_generated_records_use_settings_that_exist() -> None:
    from darkop_dist.generation import process

    generated = [record.generated for record in load_catalogue().values() if record.generated is not None]
    assert len({recipe.seed for recipe in generated}) == len(generated) == 5
    for recipe in generated:
        assert process.pythia_lines(process.load_process(recipe.process), recipe.settings)


def test_record_of_file() -> None:
    assert record_of_file("x/a.csv").format == "flat"
    assert record_of_file("tar://*.csv::x/many.tgz").name == "many"
    assert record_of_file("*.root").name == "file"
