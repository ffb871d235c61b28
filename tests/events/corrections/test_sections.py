"""Sections add exactly in any order; certified sections and luminosities against coffea's own readers."""

import itertools
import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.lumi_tools import LumiData, LumiMask
from coffea.processor import ProcessorABC
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events.corrections.accounting import Part, account, luminosity_of_all
from darkop_dist.events.corrections.certified import read_certified
from darkop_dist.events.corrections.luminosity_table import LuminosityTable, read_luminosity
from darkop_dist.events.corrections.sections import NO_SECTIONS, Sections, sections_of, sections_with, total
from darkop_dist.events.read import open_events
from darkop_dist.execution import DatasetFiles, Task, attempt_chunk, plan_chunks

EVENTS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 12)), max_size=40)
HEADER = "#run:fill,ls,time,beamstatus,E(GeV),delivered(/pb),recorded(/pb),avgpu,source"


def of(pairs: list[tuple[int, int]]) -> Sections:
    return sections_with([run for run, _ in pairs], [number for _, number in pairs])


def table(path: Path, rows: dict[tuple[int, int], float], header: str = HEADER) -> Path:
    lines = [
        f"{run}:77,{ls}:{ls},06/01/16 10:00:00,STABLE BEAMS,6500,{2 * x},{x},20.1,HFOC" for (run, ls), x in rows.items()
    ]
    path.write_text("\n".join(["#Data tag : 19v3 , Norm tag: normtag", header, *lines, "#Summary:", ""]))
    return path


@given(st.tuples(EVENTS, EVENTS, EVENTS))
def test_sums_are_exact_in_any_order_and_survive_a_file(parts: tuple[list[tuple[int, int]], ...]) -> None:
    whole = of([pair for part in parts for pair in part])
    for order in itertools.permutations(parts):
        first, second, third = map(of, order)
        assert (first + second) + third == first + (second + third) == whole
    assert Sections.from_plain(json.loads(json.dumps(whole.to_plain()))) == whole
    assert whole.events.sum() == sum(map(len, parts))
    assert whole + NO_SECTIONS == whole == total([whole])


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 20), st.integers(0, 5)), max_size=6), EVENTS)
def test_certified_as_coffea_has_it(
    tmp_path_factory: pytest.TempPathFactory, ranges: list[tuple[int, int, int]], events: list[tuple[int, int]]
) -> None:
    golden: dict[str, list[list[int]]] = {}
    for run, first, length in sorted(ranges):
        held = golden.setdefault(str(run), [])
        if first >= 1 and (not held or first > held[-1][1]):
            held.append([first, first + length])
    path = tmp_path_factory.mktemp("golden") / "golden.json"
    path.write_text(json.dumps(golden))
    certified = read_certified([path])
    runs, numbers = (np.asarray([pair[at] for pair in events], np.int64) for at in (0, 1))
    inside = [
        [int(run), number] for run, held in golden.items() for first, last in held for number in range(first, last + 1)
    ]
    assert certified.contain(runs, numbers).tolist() == [list(pair) in inside for pair in events]
    held = certified.sections()
    assert np.stack([held.runs, held.numbers], axis=1).tolist() == sorted(inside)
    if events and golden:
        # a section 0 is none of CMS's, and coffea's lower edges would run below zero with it
        expected = LumiMask(str(path))(runs.astype(np.uint32), numbers.astype(np.uint32))
        assert certified.contain(runs, numbers).tolist() == expected.tolist()


def test_a_good_runs_list_of_atlas(tmp_path: Path) -> None:
    path = tmp_path / "grl.xml"
    path.write_text(
        '<?xml version="1.0"?><!DOCTYPE LumiRangeCollection SYSTEM "http://atlas-runquery.cern.ch/LumiRangeCollection.dtd">'
        "<LumiRangeCollection><NamedLumiRange><Name>grl</Name><LumiBlockCollection><Run>276262</Run>"
        '<LBRange Start="72" End="281"/><LBRange Start="290" End="290"/></LumiBlockCollection></NamedLumiRange></LumiRangeCollection>'
    )
    certified = read_certified([path])
    assert certified.ranges == ((276262, 72, 281), (276262, 290, 290))
    assert certified.contain([276262] * 5 + [1], [71, 72, 281, 282, 290, 100]).tolist() == [
        False,
        True,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"1": [[5, 3]]}', r"run 1: the range \[5, 3\] runs backwards"),
        ("a.json", '{"1": [[1, 3], [3, 4]]}', "run 1: section 3 is certified twice"),
        ("a.json", '{"1": [[1, 3.5]]}', r"\[1, 3.5\] are not whole numbers"),
        ("a.json", "[1]", "is no list of certified sections"),
        ("a.xml", "<html/>", "no LumiBlockCollection"),
        ("a.xml", '<!DOCTYPE x [<!ENTITY a "b">]><x/>', "declares entities"),
        ("b.json", None, "cannot be read"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputFileError, match=message):
        read_certified([tmp_path / name])


@pytest.mark.parametrize(("unit", "factor"), [("/ub", 1e-9), ("/nb", 1e-6), ("/pb", 1e-3), ("/fb", 1.0)])
def test_units_stand_in_the_header(tmp_path: Path, unit: str, factor: float) -> None:
    path = table(tmp_path / "lumi.csv", {(1, 1): 0.5, (1, 2): 0.25}, HEADER.replace("/pb", unit))
    recorded = read_luminosity([path]).of(sections_with([1, 1, 2], [1, 2, 1]))[1]
    assert recorded[:2] * 1e-9 == pytest.approx(np.array([0.5, 0.25]) * factor, rel=1e-15)
    assert np.isnan(recorded[2])


def test_integrated_luminosity_is_that_of_coffea(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = {(run, ls): float(x) for run in (7, 9) for ls, x in enumerate(rng.uniform(0, 0.3, 50), 1)}
    path = table(tmp_path / "lumi.csv", rows)
    processed = sections_with([7] * 20 + [9] * 30, [*range(1, 21), *range(1, 31)])
    found = account("data", [Part("a", 0, processed, lost=False)], None, read_luminosity([path]))
    expected = LumiData(str(path)).get_lumi(np.stack([processed.runs, processed.numbers], axis=1))
    assert found.recorded_ub == pytest.approx(1e6 * expected, rel=1e-14)
    assert found.delivered_ub == pytest.approx(2e6 * expected, rel=1e-14)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (HEADER.replace("(/pb)", "(hz/ub)"), {(1, 1): 1.0}, "'hz/ub', which is no integrated luminosity"),
        ("#run:fill,time,nls,ncms,delivered(/fb),recorded(/fb)", {}, "has no column ls: it holds whole runs"),
        (HEADER.replace("recorded(/pb)", "recorded"), {}, r"has no column recorded\(unit\)"),
        ("#nothing", {}, "no header line"),
        (HEADER, {(1, 1): float("nan")}, "negative or not finite"),
    ],
)
def test_tables_that_cannot_be_trusted(
    tmp_path: Path, header: str, rows: dict[tuple[int, int], float], message: str
) -> None:
    with pytest.raises(InputFileError, match=message):
        read_luminosity([table(tmp_path / "lumi.csv", rows, header)])


def test_two_values_for_one_section(tmp_path: Path) -> None:
    first, second = table(tmp_path / "a.csv", {(1, 1): 1.0}), table(tmp_path / "b.csv", {(1, 1): 1.1})
    assert len(read_luminosity([first, first]).keys) == 1
    with pytest.raises(InputFileError, match="section 1 of run 1 two luminosities"):
        read_luminosity([first, second])


def lumi(tmp_path: Path) -> LuminosityTable:
    return read_luminosity([table(tmp_path / "lumi.csv", {(run, ls): 1.0 for run in (1, 2) for ls in range(1, 11)})])


def test_what_is_unseen_uncertified_or_without_luminosity(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    path.write_text('{"1": [[1, 4]], "2": [[1, 10]], "3": [[1, 1]], "4": [[1, 2]]}')
    sections = of([(1, 1), (1, 2), (1, 2), (1, 5), (1, 5), (3, 1)])
    found = account("data", [Part("a", 0, sections, lost=False)], read_certified([path]), lumi(tmp_path))
    assert found.recorded_ub == pytest.approx(2e6)
    assert found.unseen == {"1": [[3, 4]]}
    assert found.unseen_runs == 2
    assert found.uncertified == {"1": [[5, 5]]}
    assert found.no_luminosity == {"3": [[1, 1]]}
    first = found.runs[0]
    assert (first.run, first.sections, first.certified, first.events, first.uncertified_events) == (1, 3, 2, 3, 2)
    assert (first.unseen, first.unseen_ub) == (2, pytest.approx(2e6))


def test_a_lost_chunk_takes_its_sections_where_they_can_be_told(tmp_path: Path) -> None:
    before, gone, after = of([(1, 1), (1, 2), (1, 2)]), of([(1, 2), (1, 3)]), of([(1, 4)])
    parts = [Part("a", 0, before, lost=False), Part("a", 3, gone, lost=True), Part("a", 5, after, lost=False)]
    found = account("data", parts, None, lumi(tmp_path))
    assert found.recorded_ub == pytest.approx((1 + 2 / 3 + 1) * 1e6)  # section 2 kept two of its three events
    assert (found.partial, found.doubtful) == ({"1": [[2, 2]]}, {})
    parts[1] = Part("a", 3, None, lost=True)
    found = account("data", parts, None, lumi(tmp_path))
    assert found.recorded_ub == pytest.approx(3e6)
    assert (found.partial, found.doubtful, found.unknown_losses) == ({}, {"1": [[2, 2], [4, 4]]}, 1)


def test_sections_without_events_count_unless_a_loss_may_have_held_them(tmp_path: Path) -> None:
    empty = Sections.from_plain({"1": [[1, 0, 0, 0]]})
    parts = [Part("a", 0, empty + of([(1, 1)]), lost=False), Part("a", 1, of([(1, 3)]), lost=False)]
    assert account("data", parts, None, lumi(tmp_path)).recorded_ub == pytest.approx(3e6)
    parts[1] = Part("a", 1, None, lost=True)
    found = account("data", parts, None, lumi(tmp_path))
    assert (found.recorded_ub, found.uncounted) == (pytest.approx(1e6), {"1": [[2, 3]]})


def test_sections_of_two_files_and_of_two_datasets(tmp_path: Path) -> None:
    one, two = of([(1, 1), (1, 2)]), of([(1, 2), (1, 3)])
    found = account("data", [Part("b", 0, two, lost=False), Part("a", 0, one, lost=False)], None, lumi(tmp_path))
    assert (found.repeated, found.repeated_files) == ({"1": [[2, 2]]}, ("a", "b"))
    assert found.recorded_ub == pytest.approx(3e6)  # luminosity is not doubled, whatever the events are
    once = account("data", [Part("a", 0, one, lost=False), Part("a", 2, two, lost=False)], None, None)
    assert (once.repeated, once.recorded_ub) == ({}, None)  # two chunks of one file share a section
    both = [
        account(name, [Part(name, 0, part, lost=False)], None, lumi(tmp_path))
        for name, part in (("x", one), ("y", two))
    ]
    assert luminosity_of_all(both, lumi(tmp_path)) == pytest.approx(3e6)


def test_real_collisions(shared_data: Path) -> None:
    record = DatasetRecord(name="data", kind="data", files=("x",))
    found = sections_of(open_events(str(shared_data / "cms" / "Run2012B_SingleMu_1000.root"), record))
    assert found is not None
    assert list(found.to_plain()) == ["194711", "195916"]
    assert found.events.sum() == 1000
    assert sections_of(open_events(str(shared_data / "cms" / "dimuon_100k_flat.root"), record)) is None


def test_a_file_says_which_sections_had_no_event(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "data.root") as file:
        for name, numbers in (("Events", [1, 1, 4]), ("LuminosityBlocks", [1, 2, 3, 4])):
            section = np.asarray(numbers, np.uint32)
            file.mktree(name, {"run": "uint32", "luminosityBlock": "uint32", "event": "uint64"})
            file[name].extend({"run": 0 * section + 7, "luminosityBlock": section, "event": section.astype(np.uint64)})
    record = DatasetRecord(name="data", kind="data", files=(str(tmp_path / "data.root"),))
    chunks = plan_chunks([DatasetFiles(record, record.uris)], chunk_events=2, whole_files=False)

    class Nothing(ProcessorABC):
        def process(self, events: ak.Array) -> dict[str, int]:
            return {"read": len(events)}

        def postprocess(self, accumulator: dict[str, int]) -> dict[str, int]:
            return accumulator

    entries = [attempt_chunk(Task(chunk, record, 0, None), Nothing()).entry for chunk in chunks]
    assert [entry.sections for entry in entries] in (
        [{"7": [[1, 1, 0, 0, 0]]}, {"7": [[1, 1], [4, 1]]}],
        [{"7": [[1, 2, 0, 0, 0]]}, {"7": [[4, 1]]}],
    )
    simulated = record.model_copy(update={"kind": "simulation"})
    assert attempt_chunk(Task(chunks[0], simulated, 0, None), Nothing()).entry.sections is None
