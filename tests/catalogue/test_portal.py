"""The CERN Open Data portal, asked through a real HTTP server that answers in the portal's form."""

import copy
import socket
from typing import Any

import pytest

from darkop_dist.catalogue.portal import Portal, read_portal_record, search_records
from darkop_dist.catalogue.portal_record import dataset_of
from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError, UnreachableFileError

ROOT = "root://eospublic.cern.ch//eos/opendata/cms/Run2016G/MET/NANOAOD/UL2016_MiniAODv2_NanoAODv9-v1"


def file(name: str, size: int, checksum: str = "adler32:cb447a54", **more: object) -> dict[str, object]:
    return {"key": name, "uri": f"{ROOT}/{name}", "size": size, "checksum": checksum, "availability": "online"} | more


METADATA: dict[str, Any] = {
    "recid": "30526",
    "title": "/MET/Run2016G-UL2016_MiniAODv2_NanoAODv9-v1/NANOAOD",
    "experiment": ["CMS"],
    "type": {"primary": "Dataset", "secondary": ["Collision"]},
    "run_period": ["Run2016G"],
    "distribution": {"formats": ["nanoaod", "root"], "number_events": 500, "number_files": 3, "size": 60},
    "doi": "10.7483/OPENDATA.CMS.X",
    "license": {"attribution": "CC0-1.0"},
    "_file_indices": [
        {"key": "MET_130000_file_index.json", "number_files": 1, "size": 10, "files": [file("130000/a.root", 10)]},
        {"key": "MET_270000_file_index.json", "number_files": 2, "size": 50},
    ],
    "_files": [],
}
SECOND = {"key": "MET_270000_file_index.json", "files": [file("270000/b.root", 20), file("270000/c.root", 30)]}
"""The forms were taken from cernopendata-client and from answers of the portal that public programs keep for their tests;
numbers and names of files are made up."""


@pytest.fixture
def portal(answers: Any) -> Portal:
    answers.given["/api/records/30526"] = (200, {"id": "30526", "metadata": METADATA})
    answers.given["/record/30526/file_index/MET_270000_file_index.json"] = (200, SECOND)
    return Portal(answers.address, timeout_s=20)


def changed(answers: Any, **keys: object) -> None:
    """Give the record another answer for these keys of its metadata."""
    metadata = copy.deepcopy(METADATA) | keys
    answers.given["/api/records/30526"] = (200, {"id": "30526", "metadata": metadata})


def test_a_record_with_files_here_and_there(portal: Portal, answers: Any) -> None:
    record = dataset_of(read_portal_record(portal, 30526))
    assert (record.name, record.experiment, record.kind, record.format) == ("cern-30526", "CMS", "data", "nanoaod")
    assert (record.events, record.file_count, record.bytes, record.year) == (500, 3, 60, 2016)
    assert (record.doi, record.licence, record.recid) == ("10.7483/OPENDATA.CMS.X", "CC0-1.0", 30526)
    assert record.uris == tuple(f"{ROOT}/{name}" for name in ("130000/a.root", "270000/b.root", "270000/c.root"))
    assert record.files[0].adler32 == "cb447a54"  # type: ignore[union-attr]
    assert record.uncertain == ()
    assert answers.asked == ["/api/records/30526", "/record/30526/file_index/MET_270000_file_index.json"]


def test_one_file_index_is_asked_for(portal: Portal, answers: Any) -> None:
    record = dataset_of(read_portal_record(portal, 30526, "*_130000_*"), "met-part")
    assert (record.name, len(record.files), record.events) == ("met-part", 1, None)
    assert "a part of the record's 500 events" in record.doubts("events")[0]
    assert answers.asked == ["/api/records/30526"]
    with pytest.raises(
        UnknownNameError, match=r"unknown file index 'MET_13000_file_index.json'. Did you mean MET_130000"
    ):
        read_portal_record(portal, 30526, "MET_13000_file_index.json")


def test_files_in_the_record_itself(portal: Portal, answers: Any) -> None:
    listed = [
        {"uri": "root://h//eos/opendata/cms/DYJetsToLL.root", "size": 60, "checksum": "adler32:dfd0d57c"},
        {"uri": "root://h//eos/opendata/cms/x_file_index.json", "size": 1, "checksum": "adler32:1"},
    ]
    changed(answers, _file_indices=[], files=listed, type={"primary": "Dataset", "secondary": ["Derived"]})
    record = dataset_of(read_portal_record(portal, 30526))
    assert record.uris == ("root://h//eos/opendata/cms/DYJetsToLL.root",)
    assert "1 in the list of files, 3 in the record's total" in record.doubts("files")[0]
    assert "the portal says Derived" in record.doubts("kind")[0]


@pytest.mark.parametrize(
    ("keys", "expected", "doubted"),
    [
        (
            {"title": "ATLAS DAOD_PHYSLITE format", "experiment": ["ATLAS"]},
            ("ATLAS", "physlite", "CollectionTree"),
            None,
        ),
        ({"title": "MET in NanoAOD enhanced with Particle Flow candidates"}, ("CMS", "pfnano", "Events"), None),
        ({"title": "ntuples", "distribution": {"formats": ["root"]}}, ("CMS", "flat", "Events"), "format"),
    ],
)
def test_formats(
    portal: Portal, answers: Any, keys: dict[str, object], expected: tuple[str, ...], doubted: str | None
) -> None:
    changed(answers, **keys)
    record = dataset_of(read_portal_record(portal, 30526))
    assert (record.experiment, record.format, record.tree) == expected
    assert doubted is None or record.doubts(doubted)


def test_simulation_with_a_cross_section(portal: Portal, answers: Any) -> None:
    section = {"total_value": "23095400400", "filter_efficiency": "0.5", "matching_efficiency": "0.3"}
    on_tape = {"key": "k", "files": [file("a.root", 60, availability="on demand")]}
    simulated = {"type": {"secondary": ["Simulated"]}, "run_period": ["Run2010A", "Run2011B"]}
    changed(answers, cross_section=section, _file_indices=[on_tape], **simulated)
    record = dataset_of(read_portal_record(portal, 30526))
    assert (record.kind, record.xsec_pb, record.filter_efficiency) == ("simulation", 23095400400.0, 0.5)
    assert record.years == (2010, 2011)
    assert "matching efficiency of 0.3" in record.doubts("xsec_pb")[0]
    assert "1 of 1 are on tape" in record.doubts("files")[0]


@pytest.mark.parametrize(
    ("keys", "kind", "message"),
    [
        ({"_file_indices": []}, InputValueError, "record 30526 of the portal: has no files. Look at its page"),
        (
            {"_file_indices": [], "relations": [{"type": "isParentOf", "recid": "80000"}]},
            InputValueError,
            "has no files. It stands for the records 80000: ask for these",
        ),
        ({"experiment": ["ALICE"]}, InputValueError, "is of ALICE. Ask for CMS or ATLAS"),
        (
            {"distribution": {"formats": ["miniaod"]}},
            InputValueError,
            "holds MINIAOD, which this package does not read",
        ),
        ({"_file_indices": [{"key": "k", "files": [file("a.txt", 1)]}]}, InputValueError, "has no ROOT, CSV"),
        (
            {"_file_indices": [{"key": "k", "files": [{"uri": "a"}]}]},
            InputFileError,
            r"files are not understood \(KeyErr",
        ),
        ({"_file_indices": "none"}, InputFileError, "another shape: its files are not understood"),
    ],
)
def test_records_that_cannot_be_used(
    portal: Portal, answers: Any, keys: dict[str, object], kind: type[Exception], message: str
) -> None:
    changed(answers, **keys)
    with pytest.raises(kind, match=message):
        dataset_of(read_portal_record(portal, 30526))


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, {}, UnknownNameError, "unknown record of the portal '30526'. Search it with words"),
        (503, "busy", UnreachableFileError, r"answered with HTTP status 503 .*Try again later"),
        (200, "<html>", InputFileError, "answered in another shape: it is no JSON. Check the address of the portal"),
        (200, [1], InputFileError, "another shape: it is no mapping"),
        (200, {"metadata": {}}, InputFileError, "another shape: no metadata with a title"),
        (0, "", UnreachableFileError, "the connection was cut"),
        (-1, "", UnreachableFileError, r"no answer within 0\.3 s. Try again, or give --time-out"),
    ],
)
def test_answers_that_are_none(answers: Any, status: int, body: object, kind: type[Exception], message: str) -> None:
    answers.given["/api/records/30526"] = (status, body)
    with pytest.raises(kind, match=message):
        read_portal_record(Portal(answers.address, timeout_s=0.3 if status == -1 else 20), 30526)


def test_no_network() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(
        UnreachableFileError, match=r"cannot be reached \(.*refused.*\). Check the network and the address"
    ):
        read_portal_record(Portal(address), 1)
    with pytest.raises(InputValueError, match="ftp://x/api/records/1: is no address of a portal"):
        read_portal_record(Portal("ftp://x"), 1)


def test_search(answers: Any) -> None:
    hits = [{"id": "30526", "metadata": METADATA}, {"id": "9", "metadata": {"title": "a page", "distribution": None}}]
    answers.given["/api/records/?q=MET+2016&page=1&size=5"] = (200, {"hits": {"hits": hits, "total": 12}})
    found, total = search_records(Portal(answers.address), "MET 2016", most=5)
    assert total == 12
    assert [(hit.recid, hit.events, hit.files, hit.bytes) for hit in found] == [
        (30526, 500, 3, 60),
        (9, None, None, None),
    ]
    answers.given["/api/records/?q=x&page=1&size=20"] = (200, {"aggregations": {}})
    with pytest.raises(InputFileError, match="another shape: no list of records in it"):
        search_records(Portal(answers.address), "x")


@pytest.mark.network
def test_the_real_portal() -> None:
    try:
        found = read_portal_record(Portal(), 30526, "*_1110000_*")
    except UnreachableFileError as error:
        pytest.skip(f"no network: {error}")
    record = dataset_of(found)
    assert (record.bytes, record.files[0].adler32) == (267424016, "cb447a54")  # type: ignore[union-attr]
