"""The ATLAS Open Data service, asked through its own client and a real HTTP server that answers in its form."""

import socket
from typing import Any

import pytest

from darkop_dist.catalogue.atlas_service import ADDRESS, ask_atlas
from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError, UnreachableFileError

service = pytest.importorskip("atlasopenmagic.metadata", reason="needs the extra access")

PREFIX = "root://eospublic.cern.ch:1094//eos/opendata/atlas/rucio/mc20_13TeV"
SAMPLE: dict[str, Any] = {
    "dataset_number": "410470",
    "physics_short": "PhPy8EG_A14_ttbar_hdamp258p75_nonallhad",
    "cross_section_pb": 729.77,
    "genFiltEff": 0.5438,
    "kFactor": 1.139756,
    "nEvents": 32890000,
    "sumOfWeights": 2.4e10,
    "file_list": [f"{PREFIX}/DAOD_PHYSLITE.37620644._00000{number}.pool.root.1" for number in (2, 1)],
    "skims": [{"skim_type": "4lep", "file_list": ["root://h//x/4lep.root"]}],
    "release": {"name": "2024r-pp"},
}
"""The fields are those that atlasopenmagic 1.10 names (AVAILABLE_FIELDS); the numbers are those of the catalogue."""
PATH = "/metadata/2024r-pp/410470"


def test_a_sample(answers: Any) -> None:
    answers.given[PATH] = (200, SAMPLE)
    before = service.current_release, service.API_BASE_URL, dict(service._metadata)
    record = ask_atlas("410470", address=answers.address)
    assert (record.name, record.dsid, record.kind) == ("atlas-2024r-pp-410470", 410470, "simulation")
    assert (record.xsec_pb, record.filter_efficiency, record.k_factor) == (729.77, 0.5438, 1.139756)
    assert (record.events, record.format, record.tree) == (32890000, "physlite", "CollectionTree")
    assert record.uris == tuple(sorted(SAMPLE["file_list"]))
    assert record.doubts("bytes")
    assert (service.current_release, service.API_BASE_URL, dict(service._metadata)) == before
    answers.given[PATH] = (200, SAMPLE | {"nEvents": 7})
    assert ask_atlas("410470", address=answers.address, name="mine").events == 7  # the client's memory is not asked
    assert answers.asked == [PATH, PATH]


def test_a_skim_of_ntuples(answers: Any) -> None:
    answers.given["/metadata/2025e-13tev-beta/410470"] = (200, SAMPLE)
    record = ask_atlas("410470", "2025e-13tev-beta", skim="4lep", address=answers.address)
    assert (record.name, record.format) == ("atlas-2025e-13tev-beta-410470-4lep", "flat")
    assert (record.uris, record.events) == (("root://h//x/4lep.root",), None)
    assert record.doubts("tree")
    with pytest.raises(UnknownNameError, match=r"unknown skim '3lep'. Did you mean 4lep"):
        ask_atlas("410470", "2025e-13tev-beta", skim="3lep", address=answers.address)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, {"detail": "not found"}, UnknownNameError, "unknown ATLAS sample '410470'. Release 2024r-pp has none"),
        (500, "", UnreachableFileError, "the service is out of order. Try again later"),
        (200, "<html>", InputFileError, "answered in another shape: it is no JSON"),
        (200, {}, InputFileError, "answered in another shape: it is empty"),
        (200, {"dataset_number": "x1"}, InputValueError, "ATLAS sample 410470: has no files"),
        (200, {"file_list": ["a"]}, InputFileError, "another shape: KeyError: 'dataset_number'"),
        (200, SAMPLE | {"cross_section_pb": -1}, InputFileError, "another shape: ValidationError.*xsec_pb"),
        (200, SAMPLE | {"file_list": [3]}, InputFileError, "another shape: TypeError: addresses of files"),
        (0, "", UnreachableFileError, "cannot be reached"),
        (-1, "", UnreachableFileError, r"no answer within 0\.3 s"),
    ],
)
def test_answers_that_are_none(answers: Any, status: int, body: object, kind: type[Exception], message: str) -> None:
    answers.given[PATH] = (status, body)
    with pytest.raises(kind, match=message):
        ask_atlas("410470", address=answers.address, timeout_s=0.3 if status == -1 else 20)


def test_no_network_and_no_release() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UnreachableFileError, match=r"cannot be reached .*Check the network and the address"):
        ask_atlas("410470", address=address)
    with pytest.raises(UnknownNameError, match=r"release of ATLAS open data '2024r-p'. Did you mean 2024r-pp"):
        ask_atlas("410470", "2024r-p", address=address)
    with pytest.raises(InputValueError, match="2024r-hi: is a release whose files this package does not read"):
        ask_atlas("410470", "2024r-hi", address=address)


@pytest.mark.network
def test_the_real_service() -> None:
    try:
        record = ask_atlas("410470", address=ADDRESS)
    except UnreachableFileError as error:
        pytest.skip(f"no network: {error}")
    assert record.dsid == 410470
    assert record.files
