"""The packaged records against the facts that they were built from, and against the portal's own totals."""

import filecmp
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.catalogue import load_catalogue
from darkop_dist.catalogue.records_file import RECORDS
from darkop_dist.config.datasets import DatasetFile, DatasetRecord

CATALOGUE = load_catalogue()
MEGABYTES = 6


@pytest.fixture(scope="module")
def facts(shared_data: Path) -> Path:
    folder = shared_data.parent / "catalogue"
    if not folder.is_dir():
        pytest.skip("the facts are absent: there is no folder ../shared/catalogue beside the repository")
    return folder


@pytest.fixture(scope="module")
def portal(facts: Path) -> dict[int, dict[str, Any]]:
    listed = json.loads((facts / "cern_open_data_records.json").read_text())
    return {int(fact["recid"]): fact for fact in listed}


def files_of(record: DatasetRecord) -> list[DatasetFile]:
    return [file for file in record.files if isinstance(file, DatasetFile)]


def test_the_records_are_what_the_facts_give(facts: Path, tmp_path: Path, repository: Path) -> None:
    command = [sys.executable, "jobs/build_catalogue.py", str(facts), "--output", str(tmp_path)]
    subprocess.run(command, cwd=repository, check=True, env={"PYTHONPATH": str(repository)}, stdout=subprocess.DEVNULL)
    by_hand = {"derived.json", "generated.json"}
    for folder in (".", "files"):
        built = {path.name for path in (tmp_path / folder).glob("*.json")}
        assert built == {path.name for path in (RECORDS / folder).glob("*.json")} - (
            by_hand if folder == "." else set()
        )
        same, other, unreadable = filecmp.cmpfiles(tmp_path / folder, RECORDS / folder, built, shallow=False)
        assert (other, unreadable) == ([], [])
        assert len(same) == len(built) > 0


def test_each_record_file_says_where_it_comes_from() -> None:
    paths = sorted(RECORDS.glob("*.json"))
    assert len(paths) == 10
    for path in paths:
        content = json.loads(path.read_text())
        assert content["provenance"]
        if path.stem in {"derived", "generated"}:
            continue
        assert content["built_by"] == "python jobs/build_catalogue.py FACTS"
        assert all(len(digest) == 64 for digest in content["sources"].values())


def test_every_record_has_provenance_and_a_source() -> None:
    for record in CATALOGUE.values():
        assert record.provenance
        assert record.recid or record.generated or record.doi or record.files
        assert record.name == record.name.lower()


def test_the_package_stays_small() -> None:
    size = sum(path.stat().st_size for path in RECORDS.rglob("*.json"))
    assert size < MEGABYTES * 1_000_000


def test_records_of_the_portal(portal: dict[int, dict[str, Any]]) -> None:
    """Whatever a record takes from the portal is what the portal says; a size that cannot be in bytes is left out."""
    seen = 0
    for record in CATALOGUE.records.values():
        if record.recid is None or record.dsid is not None:
            continue
        fact = portal[record.recid]
        assert (record.events, record.file_count) == (fact["events"], fact["files"])
        assert (record.doi, record.licence) == (fact["doi"], fact["licence"])
        assert record.bytes == fact["size"] or (record.bytes is None and record.doubts("bytes"))
        seen += 1
    assert seen == 32 + 17 + 34 + 18 + 2 + 3


def test_file_lists_are_complete() -> None:
    """A list holds all files of its record, once each, and adds up to the record's events and bytes."""
    listed = [record for record in CATALOGUE.values() if record.files and record.generated is None]
    assert len(listed) == 16 + 9 + 125
    for record in listed:
        files = files_of(record)
        assert len({file.uri for file in files}) == len(files) == record.file_count
        assert list(record.uris) == sorted(record.uris)
        if record.bytes is not None:
            assert sum(file.bytes or 0 for file in files) == record.bytes
            assert all(file.adler32 for file in files)
        if files[0].events is not None:
            assert sum(file.events or 0 for file in files) == record.events


def test_events_that_were_lost_on_the_way_from_miniaod(portal: dict[int, dict[str, Any]]) -> None:
    """Five NanoAOD and two PFNano datasets hold fewer events than the MiniAOD that they were made from."""
    found = (re.fullmatch(r"/(\w+)/(Run2016[GH])-[\w-]+/MINIAOD", fact["title"]) for fact in portal.values())
    parents = {(match[2], match[1].lower()): match[0] for match in found if match}
    events = {fact["title"]: fact["events"] for fact in portal.values()}
    lost = {}
    for record in CATALOGUE.list_datasets(pattern="cms-*2016[gh]-*"):
        run, primary = record.name.removeprefix("cms-").removeprefix("pfnano-").split("-")
        fewer = events[parents[f"Run2016{run[-1].upper()}", primary]] - (record.events or 0)
        assert bool(record.doubts("events")) == bool(fewer)
        if fewer:
            lost[record.name] = fewer
    assert lost == {
        "cms-2016g-htmht": 163_533,
        "cms-2016g-jetht": 56_678,
        "cms-2016h-btagcsv": 183_175,
        "cms-2016h-doubleeg": 61,
        "cms-2016h-jetht": 4_460,
        "cms-pfnano-2016g-doubleeg": 580_396,
        "cms-pfnano-2016g-jetht": 227_928,
    }


def test_run2016_and_run1() -> None:
    met = CATALOGUE.find("cms-2016g-met")
    assert (met.bytes, met.files[0].adler32) == (25_585_948_442, "cb447a54")  # type: ignore[union-attr]
    assert "16.39/fb" in met.doubts("lumi_ifb")[0]
    assert met.lumi_ifb is None
    for record in CATALOGUE.list_datasets(formats=["pfnano"]):
        assert record.bytes is None
        assert "bytes per event" in record.doubts("bytes")[0]
    parked = CATALOGUE.records["cms-outreach-2012-doublemuparked"]
    parts = [CATALOGUE.records[f"cms-outreach-2012{run}-doublemuparked"].events or 0 for run in "bc"]
    assert parked.events == sum(parts)
    assert "exactly those of Run2012B and Run2012C" in parked.doubts("title")[0]


@pytest.mark.parametrize(
    ("name", "xsec_pb", "events"),
    [
        ("ttbar", 729.84, 276_079_127),
        ("ttbar-scaleup", 729.84, 38_424_467),
        ("ttbar-scaledown", 729.84, 39_329_663),
        ("ttbar-me-var", 729.84, 19_098_219),
        ("ttbar-ps-var", 729.84, 19_337_064),
        ("single-top-s-chan", 3.2944, 2_867_199),
        ("single-top-t-chan", 234.8, 109_305_936),
        ("single-top-tw", 75.843, 1_999_400),
        ("wjets", 15487, 433_719_099),
    ],
)
def test_simulation_of_2015(name: str, xsec_pb: float, events: int) -> None:
    record = CATALOGUE.find(f"cms-2015-{name}")
    assert (record.xsec_pb, record.events, record.year, record.kind) == (xsec_pb, events, 2015, "simulation")
    assert bool(record.doubts("xsec_pb")) == (name not in {"ttbar", "single-top-s-chan"})
    assert record.doubts("files")


TOTALS = {
    80010: (97, 71, 10_461, 1_342_644_920, 1_469_269_920),
    80011: (14, 0, 0, 0, 150_000),
    80012: (94, 26, 31, 2_871_000, 13_317_000),
    80014: (27, 8, 403, 41_887_400, 312_607_000),
    80016: (11, 0, 0, 0, 110_000),
    80017: (23, 15, 371, 56_714_200, 62_914_200),
}
"""By portal record: samples; of these with files, their files and events; events where the table stands in for the rest.

Counted with awk and grep from the tables and the list of files, not with the builder. The portal's own totals are larger in every record, because its
files hold more events than the tables ask for: 1 469 945 920, 317 000, 13 499 000, 313 881 400, 174 000, 63 507 400.
"""


def test_totals_of_atlas(portal: dict[int, dict[str, Any]]) -> None:
    groups: dict[int, list[DatasetRecord]] = defaultdict(list)
    for record in CATALOGUE.values():
        if record.dsid is not None and record.recid is not None:
            groups[record.recid].append(record)
    found = {}
    for recid, records in groups.items():
        listed = [record for record in records if record.files]
        in_files = sum(record.events or 0 for record in listed)
        everything = sum(record.events or 0 for record in records)
        found[recid] = (len(records), len(listed), sum(len(record.files) for record in listed), in_files, everything)
        assert everything < portal[recid]["events"]
        assert found[recid][2] < portal[recid]["files"] or not listed
        without = [record for record in records if not record.files]
        assert all(record.doubts("events") for record in without)
    assert found == TOTALS


def test_totals_of_the_portal_add_up(portal: dict[int, dict[str, Any]]) -> None:
    parts = [portal[recid] for recid in (80000, 80001, *range(80010, 80019))]
    for key in ("events", "files", "size"):
        assert sum(part[key] for part in parts) == portal[80020][key]
    assert portal[80020]["events"] == 9_058_437_931


def test_a_sample_of_atlas() -> None:
    ttbar = CATALOGUE.find("atlas-mc20-410470")
    assert (ttbar.xsec_pb, ttbar.filter_efficiency, ttbar.k_factor) == (729.77, 0.5438, 1.139756)
    assert (ttbar.events, len(ttbar.files), ttbar.recid, ttbar.years) == (32_890_000, 190, 80017, (2015, 2016))
    assert ttbar.doubts("events") == ("32890000 in the files' own counts, 32760000 in the table",)
    assert (ttbar.format, ttbar.tree) == ("physlite", "CollectionTree")
    assert CATALOGUE.find("atlas-mc20-345106").xsec_pb == 0.00082296
    assert "NaN" in CATALOGUE.find("atlas-mc20-448624").doubts("provenance")[0]
    assert CATALOGUE.find("atlas-mc20-364712").doubts("xsec_pb") == ("printed as 0.000001: rounded by up to 50 %",)
    assert "without" in CATALOGUE.find("atlas-mc20-345060").doubts("xsec_pb")[0]
    assert "700 times" in CATALOGUE.find("atlas-mc20-801976").doubts("xsec_pb")[0]
    untabled = CATALOGUE.find("atlas-mc20-410646")
    assert (untabled.xsec_pb, untabled.recid, untabled.events) == (None, None, 2_640_000)
    assert untabled.doubts("xsec_pb")
    assert untabled.doubts("recid")


def test_derived_sets_are_named_and_their_gaps_marked() -> None:
    jets, olympics = CATALOGUE.find("aspen-open-jets"), CATALOGUE.find("lhco-rd")
    assert "2412.10504" in jets.provenance
    assert "2101.08320" in olympics.provenance
    assert {jets.format, olympics.format} == {"hdf5"}
    assert jets.doubts("files")
    assert olympics.doubts("files")


def test_the_page_about_records_names_every_field(repository: Path) -> None:
    page = (repository / "docs" / "catalogue.md").read_text()
    rows = page.partition("## Fields of a record")[2].partition("## What is not certain")[0]
    assert [name for name in DatasetRecord.model_fields if f"`{name}`" not in rows] == []
    assert f"The package holds {len(CATALOGUE)} of them" in page
    for recid, (samples, listed, files, _, events) in TOTALS.items():
        numbers = [f"{number:,}".replace(",", " ") for number in (samples, listed, events, files)]
        cells = [
            cell.strip() for line in page.splitlines() if line.startswith(f"| {recid} ") for cell in line.split("|")
        ]
        assert [cells[2], cells[3], cells[4], cells[6]] == numbers
