"""The packaged catalogue, a user's own records, and what a document's entries become."""

import json
from pathlib import Path

import pytest

from darkop_dist.catalogue import file_lists, find_datasets, load_catalogue, read_records, record_of_file, resolve_files
from darkop_dist.config.datasets import DatasetFile, DatasetRecord
from darkop_dist.errors import DocumentError, InputFileError, InputValueError, UnknownNameError


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
    assert {record.name for record in catalogue.list_datasets("simulation", formats=["nanoaod"])} == {
        "qcd-pythia",
        "zjets-nunu-pythia",
        "dm-axial-1000-100",
        "dm-vector-1000-100",
        "dm-native-1000-100",
    }
    assert catalogue.list_datasets(years=[1999]) == ()
    atlas = catalogue.list_datasets("ATLAS", years=[2016])
    assert {record.kind for record in atlas} == {"data", "simulation"}
    assert "atlas-2015-data" not in {record.name for record in atlas}
    assert [record.dsid for record in catalogue.list_datasets(pattern="TTBAR_hdamp")] == [410470, 410471]
    assert (
        len(catalogue.list_datasets(pattern="cms-pfnano-*")) == len(catalogue.list_datasets(formats=["pfnano"])) == 17
    )


def test_a_pattern_that_matches_nothing_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown dataset pattern 'atlas-mc21-\*'. Did you mean atlas-mc20-\*"):
        load_catalogue().match("atlas-mc21-*")
    with pytest.raises(UnknownNameError, match=r"Did you mean cms-2016g-\*"):
        find_datasets(["cms-2016gg-*"], load_catalogue())


def test_lists_of_files_are_read_when_a_dataset_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = file_lists.read_file_list
    monkeypatch.setattr(file_lists, "read_file_list", lambda path: read.append(path.name) or real(path))
    catalogue = load_catalogue()
    listed = {record.name: record for record in catalogue.list_datasets("CMS", years=[2016])}
    assert read == []
    assert (listed["cms-2016g-met"].files, listed["cms-2016g-met"].file_count) == ((), 17)
    assert len(catalogue["cms-2016g-met"].files) == 17
    assert read == ["cms-2016g-met.json"]
    paths = [file.path_or_url for file in resolve_files(listed["cms-2016g-met"], Path(), Path())]
    assert paths == sorted(catalogue.find("cms-2016g-met").uris)


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
        (
            '"mine"',
            '"mine"\nuncertain = [{fact = "xsec", why = "x"}]',
            r"about a key of the record.*did you mean 'xsec_pb'",
        ),
        ('"mine"', '"mine"\nfile_list = "x.json"', r"file_list: a dataset has files or a file_list: remove one"),
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


def test_a_record_of_a_document_holds_the_checksums_of_its_file_list(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('{"prefix": "https://h/", "files": [["a.root", 5, "00000001", 7]]}')
    record = DatasetRecord(name="own", kind="data", file_list=str(tmp_path / "list.json"))
    (found,) = find_datasets([record], load_catalogue())
    assert found.files == (DatasetFile(uri="https://h/a.root", bytes=5, adler32="00000001", events=7),)


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
    atlas = record_of_file("root://host//mc20_13TeV/DAOD_PHYSLITE.37110904._000001.pool.root.1")
    assert (atlas.name, atlas.format, atlas.tree) == ("DAOD_PHYSLITE.37110904._000001", "physlite", "CollectionTree")
    assert record_of_file("nano.root").format == record_of_file("nano.root.2").format == "nanoaod"
    found = find_datasets(["DAOD_PHYSLITE.1._000001.pool.root.1"], load_catalogue())
    assert [record.format for record in found] == ["physlite"]
