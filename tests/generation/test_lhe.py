"""Les Houches files, plain and compressed: weights with their names, matching, and files that are no good."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pythia8mc
import uproot

from darkop_dist.cli import main
from darkop_dist.config import Execution
from darkop_dist.errors import InputFileError, InputValueError, RunError
from darkop_dist.generation import lhe, plan
from darkop_dist.generation.lhe import LheWeight, read_lhe, write_events
from darkop_dist.generation.packing import part_key
from darkop_dist.generation.rates import measure_rates
from darkop_dist.generation.sample import shower
from darkop_dist.stages.generation import kept_parts

EVENTS = 120
NO_MPI = ("PartonLevel:MPI = off",)
HEADER = """<LesHouchesEvents version="3.0">
<header>
<MG5ProcCard><![CDATA[ generate p p > z j # <event> in a card is no event ]]></MG5ProcCard>
<initrwgt>
<weightgroup name="scale variation" combine="envelope">
<weight id="1001"> muR=2.0
 muF=1.0 </weight>
<weight id="1002"> muR=0.5 muF=1.0 </weight>
</weightgroup>
<weight id='PDF 7'> member 7 </weight>
</initrwgt>
</header>
<init>
2212 2212 6500. 6500. 0 0 247000 247000 3 1
{pb:.6e} {error:.6e} 1.5 9999
</init>
"""
FACTORS = {"1001": 1.2, "1002": 0.8, "PDF 7": 1.01}


@pytest.fixture(scope="module")
def text() -> str:
    """Z + jet by Pythia's own matrix elements, written as another generator would; weights in another order than named."""
    pythia = pythia8mc.Pythia("", False)
    for line in (
        "Print:quiet = on", "Beams:eCM = 13000.", "PartonLevel:all = off", "WeakBosonAndParton:qqbar2gmZg = on",
        "WeakBosonAndParton:qg2gmZq = on", "PhaseSpace:pTHatMin = 100.", "Random:setSeed = on", "Random:seed = 3",
    ):  # fmt: skip
        assert pythia.readString(line)
    assert pythia.init()
    events = []
    for number in range(EVENTS):
        assert pythia.next()
        events.append(event_text(pythia.process, number))
    info = pythia.infoPython()
    head = HEADER.format(pb=info.sigmaGen() * 1e9, error=info.sigmaErr() * 1e9)
    return head + "".join(events) + "</LesHouchesEvents>\n"


def event_text(record: Any, number: int) -> str:
    lines = []
    for index in range(3, record.size()):
        particle = record[index]
        state = -1 if particle.status() == -21 else 2 if particle.status() < 0 else 1
        mothers = [max(mother - 2, 0) for mother in (particle.mother1(), particle.mother2())]
        momentum = [particle.px(), particle.py(), particle.pz(), particle.e(), particle.m()]
        numbers = " ".join(f"{value:.10e}" for value in momentum)
        colours = f"{particle.col()} {particle.acol()}"
        lines.append(f"{particle.id()} {state} {mothers[0]} {mothers[1]} {colours} {numbers} 0. 9.")
    names = list(FACTORS) if number % 2 else reversed(FACTORS)
    weights = "\n".join(f"<wgt id='{name}'>{1.5 * FACTORS[name] + 0.001 * number:.8e}</wgt>" for name in names)
    head = f" {len(lines)} 9999 1.5 {record.scale():.6e} 7.8e-3 0.118"
    return "\n".join(("<event>", head, *lines, "<rwgt>", weights, "</rwgt>", "</event>", ""))


@pytest.fixture(params=["plain", "gzip"])
def file(request: pytest.FixtureRequest, text: str, tmp_path: Path) -> Path:
    if request.param == "plain":
        path = tmp_path / "z.lhe"
        path.write_text(text)
        return path
    path = tmp_path / "z.lhe.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.fixture
def plain(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "z.lhe"
    path.write_text(text)
    return path


def test_the_header_names_the_weights(file: Path) -> None:
    found = read_lhe(file)
    assert found.events == EVENTS
    assert found.weights == (
        LheWeight("1001", "muR=2.0 muF=1.0", "scale variation"),
        LheWeight("1002", "muR=0.5 muF=1.0", "scale variation"),
        LheWeight("PDF 7", "member 7", ""),
    )


def test_events_are_showered_and_weights_become_columns(file: Path, tmp_path: Path) -> None:
    made = shower(file, tmp_path / "z.root", seed=5, lines=NO_MPI)
    assert made.events == EVENTS
    header = file.read_bytes() if file.suffix == ".lhe" else gzip.decompress(file.read_bytes())
    asked = float(header.split(b"<init>")[1].split()[10])
    assert made.xsec_pb == pytest.approx(asked, rel=1e-6)
    with uproot.open(made.file) as opened:
        events = opened["Events"]
        for name, column in (("1001", "1001"), ("1002", "1002"), ("PDF 7", "PDF_7")):
            expected = FACTORS[name] + 0.001 * np.arange(EVENTS) / 1.5
            assert events[f"LHEWeight_{column}"].array(library="np") == pytest.approx(expected, rel=1e-6)
        assert json.loads(str(opened["LHEWeights"]))["LHEWeight_1001"] == "scale variation: muR=2.0 muF=1.0"
        assert np.all(events["genWeight"].array(library="np") == 1.0)
        assert np.median(events["nJet"].array(library="np")) >= 1


def test_coffea_opens_the_file(plain: Path, tmp_path: Path, open_with_coffea: Callable[[Path], Any]) -> None:
    events = open_with_coffea(shower(plain, tmp_path / "z.root", seed=5, events=20, lines=NO_MPI).file)
    assert len(events) == 20
    assert float(events.LHEWeight["1001"][3]) == pytest.approx(1.2 + 0.003 / 1.5, rel=1e-6)


def test_parts_follow_each_other_and_workers_do_not_matter(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "EVENTS_PER_PART", 50)
    one = shower(plain, tmp_path / "one.root", seed=5, lines=NO_MPI)
    with kept_parts(tmp_path / "two.root", Execution(workers=2)) as make_parts:
        two = shower(plain, tmp_path / "two.root", seed=5, lines=NO_MPI, make_parts=make_parts)
    with uproot.open(one.file) as first, uproot.open(two.file) as second:
        for column in ("LHEWeight_1001", "MET_pt", "event"):
            numbers = first["Events"][column].array(library="np")
            assert numbers.tobytes() == second["Events"][column].array(library="np").tobytes()
        expected = FACTORS["1001"] + 0.001 * np.arange(EVENTS) / 1.5
        assert first["Events"]["LHEWeight_1001"].array(library="np") == pytest.approx(expected, rel=1e-6)


def test_vetoed_events_are_left_out_of_the_cross_section(
    plain: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """MLM matching of a sample with one parton as if it were the highest of none: most events are vetoed."""
    matching = ("JetMatching:merge = on", "JetMatching:scheme = 1", "JetMatching:setMad = off", "JetMatching:qCut = 30.",
                "JetMatching:nJetMax = 1", "JetMatching:nJet = 1", "JetMatching:coneRadius = 1.", "JetMatching:etaJetMax = 5.",
                "JetMatching:slowJetPower = 1", "JetMatching:jetAlgorithm = 2", "JetMatching:doShowerKt = off", "JetMatching:exclusive = 1")  # fmt: skip
    whole = shower(plain, tmp_path / "whole.root", seed=5, lines=NO_MPI)
    kept = shower(plain, tmp_path / "kept.root", seed=5, lines=(*NO_MPI, *matching))
    assert 0 < kept.events < EVENTS
    assert kept.xsec_pb == pytest.approx(whole.xsec_pb * kept.events / EVENTS, rel=1e-6)
    assert capfd.readouterr().out == ""
    fraction = kept.events / EVENTS
    binomial = whole.xsec_pb * np.sqrt(fraction * (1 - fraction) / EVENTS)
    assert kept.xsec_error_pb == pytest.approx(np.hypot(fraction * whole.xsec_error_pb, binomial), rel=1e-6)


@pytest.mark.parametrize(
    ("strategy", "sizes"), [(3, (1.5,)), (-3, (1.5, 1.5, -1.5)), (4, (500.0, 700.0)), (-4, (600.0, -600.0, 600.0))]
)
def test_every_kind_of_weight(
    strategy: int, sizes: tuple[float, ...], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal, signed, in pb, and in pb with signs; in parts of which the weights of some add up to zero."""
    monkeypatch.setattr(plan, "EVENTS_PER_PART", 2)
    sizes_of = itertools.cycle(sizes)

    def sized(event: re.Match[str]) -> str:
        size = next(sizes_of)
        changed = event[0].replace(" 9999 1.5 ", f" 9999 {size} ")
        return re.sub(r"(<wgt[^>]*>)([^<]+)", lambda w: f"{w[1]}{float(w[2]) / 1.5 * size:.8e}", changed)

    whole = re.sub("<event>.*?</event>", sized, text, flags=re.DOTALL)
    path = tmp_path / "z.lhe"
    path.write_text(whole.replace("247000 247000 3 1", f"247000 247000 {strategy} 1"))
    lhe = read_lhe(path)
    made = shower(path, tmp_path / "z.root", seed=5, events=12, lines=NO_MPI)
    assert made.xsec_pb == pytest.approx(lhe.xsec_pb, rel=1e-6)
    assert made.xsec_error_pb >= 0.999 * lhe.xsec_error_pb
    with uproot.open(made.file) as file:
        weights = file["Events"]["genWeight"].array(library="np")
        assert weights / abs(weights[0]) == pytest.approx(np.resize(sizes, 12) / abs(sizes[0]))
        expected = FACTORS["1001"] + 0.001 * np.arange(12) / 1.5
        assert file["Events"]["LHEWeight_1001"].array(library="np") == pytest.approx(expected, rel=1e-5)


def test_a_weight_that_only_the_events_name_is_kept(text: str, tmp_path: Path) -> None:
    path = tmp_path / "z.lhe"
    path.write_text(re.sub("<initrwgt>.*?</initrwgt>", "", text, flags=re.DOTALL))
    assert {weight.name for weight in read_lhe(path).weights} == set(FACTORS)


def test_a_shower_that_vetoes_every_event(plain: Path, tmp_path: Path) -> None:
    """Clustered jets above a threshold that none reaches: no event has the one that its parton should give."""
    matching = (
        "JetMatching:merge = on",
        "JetMatching:setMad = off",
        "JetMatching:qCut = 3000.",
        "JetMatching:nJet = 1",
    )
    with pytest.raises(RunError, match=r"z\.lhe: the shower vetoes every one of 120 events\. Check .*JetMatching"):
        shower(plain, tmp_path / "z.root", seed=5, lines=(*NO_MPI, *matching))
    assert not list(tmp_path.glob("*.root"))


def test_a_file_that_is_cut_in_the_middle(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputFileError, match=r"z\.lhe.*(is cut in the middle: \d+ events begin|read to its end)"):
        shower(file, tmp_path / "z.root", seed=1)
    assert not list(tmp_path.glob("*.root"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("247000 247000 3 1", "247000 247000 1 1"), r"have to be unweighted \(IDWTUP 1\)"),
        (lambda text: text.replace(" 9999 1.5 ", " 9999 much ", 1), "event 1 cannot be understood"),
        (
            lambda text: text.replace("id='PDF 7'", "id='PDF_7'", 1).replace(
                "</initrwgt>", "<weight id='PDF 7'> x </weight></initrwgt>"
            ),
            "'PDF_7' and 'PDF 7' would be one column",
        ),
        (lambda text: text.split("<event>\n")[0] + "</LesHouchesEvents>\n", "holds no events"),
        (lambda text: text.replace("<wgt id='1002'>", "<wgt id='1003'>", 1), "event 1 lacks the weight 1002"),
    ],
)
def test_a_file_that_is_not_whole(change: Callable[[str], str], message: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "z.lhe"
    path.write_text(change(text))
    with pytest.raises(InputFileError, match=message):
        shower(path, tmp_path / "z.root", seed=1, lines=NO_MPI)


def test_bad_numbers_and_settings_are_named(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(InputValueError, match=r"z\.lhe: events: 500 is more than the 120 in the file"):
        shower(plain, tmp_path / "z.root", seed=1, events=500)
    with pytest.raises(RunError, match=r"does not know the setting 'JetMatching:murge = on'"):
        shower(plain, tmp_path / "z.root", seed=1, lines=("JetMatching:murge = on",))
    with pytest.raises(InputFileError, match="no such file"):
        shower(tmp_path / "absent.lhe", tmp_path / "z.root", seed=1)


def test_the_command(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "shower.cmnd"
    settings.write_text("! a comment\nPartonLevel:MPI = off\n\n# another\n")
    target = tmp_path / "out.root"
    arguments = ["generate", str(plain), "--output", str(target), "--shower", str(settings), "--events", "20"]
    scans: list[object] = []
    scanned = lhe._scanned
    monkeypatch.setattr(lhe, "_scanned", lambda *words: (scans.append(words), scanned(*words))[1])
    monkeypatch.setattr(sys, "argv", ["darkop", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert len(scans) == 1  # of millions of events that takes a while
    assert "20 events" in " ".join(capsys.readouterr().out.split())
    assert uproot.open(target)["Events"].num_entries == 20


def test_a_part_brings_its_text_and_the_file_is_read_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker need not see the file; a compressed one is never read from its beginning again."""
    monkeypatch.setattr(plan, "EVENTS_PER_PART", 50)
    plans = plan.plan_shower(read_lhe(file), None, seed=5, lines=NO_MPI)
    rewound: list[object] = []
    monkeypatch.setattr(gzip.GzipFile, "rewind", rewound.append)
    with plan.complete_plans(plans) as complete:
        whole = [complete(part) for part in plans]
    assert not rewound
    assert [part.lhe.text.count(b"<event>") - 1 for part in whole if part.lhe] == [50, 50, 20]  # one is in the header
    monkeypatch.undo()
    here = write_events(plans[1].lhe, tmp_path / "here.lhe")
    file.unlink()
    there = write_events(whole[1].lhe, tmp_path / "there.lhe")
    assert (tmp_path / "here.lhe").read_bytes() == (tmp_path / "there.lhe").read_bytes()
    assert here.variations.tobytes() == there.variations.tobytes()


def test_a_part_of_the_same_events_has_the_same_key_wherever_the_file_is(text: str, tmp_path: Path) -> None:
    keys = []
    for folder, content in (("a", text), ("b", text), ("c", text.replace("0.118", "0.119", 1))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "z.lhe").write_text(content)
        plans = plan.plan_shower(read_lhe(tmp_path / folder / "z.lhe"), None, seed=5)
        with plan.complete_plans(plans) as complete:
            keys.append(part_key(complete(plans[0])))
    assert keys[0] == keys[1] != keys[2]


def test_a_file_that_changes_meanwhile_is_refused(plain: Path) -> None:
    plans = plan.plan_shower(read_lhe(plain), None, seed=5)
    plain.write_text(plain.read_text()[:-400])
    with (
        pytest.raises(InputFileError, match="has changed since it was looked at"),
        plan.complete_plans(plans) as complete,
    ):
        complete(plans[0])


def test_an_event_without_an_end_is_refused(plain: Path) -> None:
    text = plain.read_text()
    last = text.rindex("</event>")
    plain.write_text(text[:last] + text[last + len("</event>") :])
    with pytest.raises(InputFileError, match=f"event {EVENTS} has no </event>"):
        read_lhe(plain)


def test_a_file_is_planned_on_paper(plain: Path) -> None:
    rates = measure_rates(plan.plan_shower(read_lhe(plain), None, seed=5, lines=NO_MPI), 40)
    assert rates.events == 40
    assert rates.whole_s > 0
    assert rates.bare_s > 0
