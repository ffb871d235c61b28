"""The text of a datacard: Combine's own examples, and a message for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkop_dist.errors import InputFileError
from darkop_dist.limits.interchange import read_datacard
from darkop_dist.limits.interchange.card import BinStatistics, RateParameter, read_card

COUNTING = """\
# the example of Combine's documentation, "Preparing the datacard"
imax 1  number of channels
jmax 3  number of backgrounds
kmax 5  number of nuisance parameters (sources of systematic uncertainties)
------------
bin bin1
observation 0
bin          bin1     bin1     bin1     bin1
process         ggH  qqWW  ggWW  others
process          0     1     2     3
rate           1.47  0.63  0.06  0.22
lumi    lnN    1.11    -   1.11    -    lumi affects both signal and gg->WW (mc-driven). lnN = lognormal
xs_ggH  lnN    1.16    -     -     -    gg->H cross section + signal efficiency + other minor ones.
WW_norm gmN 4    -   0.16    -     -    WW estimate of 0.64 comes from sidebands
xs_ggWW lnN      -     -   1.50    -    50% uncertainty on gg->WW cross section
bg_others lnN    -     -     -   1.30   30% uncertainty on the rest of the backgrounds
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "card.txt"
    path.write_text(text)
    return path


def test_the_documented_counting_card(tmp_path: Path) -> None:
    card = read_card(write(tmp_path, COUNTING))
    assert [(c.process, c.is_signal, c.rate) for c in card.columns] == [
        ("ggH", True, 1.47), ("qqWW", False, 0.63), ("ggWW", False, 0.06), ("others", False, 0.22),
    ]  # fmt: skip
    assert card.observed == {"bin1": 0.0}
    assert {n.name: (n.kind, n.count, n.effects) for n in card.nuisances} == {
        "lumi": ("lnN", None, ("1.11", "-", "1.11", "-")),
        "xs_ggH": ("lnN", None, ("1.16", "-", "-", "-")),
        "WW_norm": ("gmN", 4, ("-", "0.16", "-", "-")),
        "xs_ggWW": ("lnN", None, ("-", "-", "1.50", "-")),
        "bg_others": ("lnN", None, ("-", "-", "-", "1.30")),
    }


def test_the_documented_counting_card_as_a_workspace(tmp_path: Path) -> None:
    workspace = read_datacard(write(tmp_path, COUNTING))
    samples = {s["name"]: s for s in workspace.spec["channels"][0]["samples"]}
    gamma, lumi = samples["qqWW"]["modifiers"][0], samples["ggH"]["modifiers"][1]
    assert gamma == {"name": "WW_norm", "type": "shapesys", "data": [0.315]}  # 0.63 / sqrt(4)
    assert lumi == {"name": "lumi", "type": "normsys", "data": {"lo": 1 / 1.11, "hi": 1.11}}
    assert (workspace.signal, workspace.poi, workspace.observed) == ("ggH", "r", "data")
    with pytest.raises(InputFileError, match=r"line 14: the gmN WW_norm stands for 0\.64 events, the rate is 0\.7"):
        read_datacard(write(tmp_path, COUNTING.replace("0.63", "0.70")))


def test_free_factors_and_bin_statistics(tmp_path: Path) -> None:
    tail = "k rateParam bin1 *WW 1.5 [0.2,4]\nsyst group = lumi xs_ggH\n* autoMCStats 10 1\n"
    card = read_card(write(tmp_path, COUNTING + tail))
    assert card.rate_parameters == (RateParameter("k", 1, 1.5, (0.2, 4.0)), RateParameter("k", 2, 1.5, (0.2, 4.0)))
    assert card.statistics == {"bin1": BinStatistics(10.0, include_signal=True, histogram_mode=1)}


def test_the_rule_of_a_channel_goes_before_that_of_all(tmp_path: Path) -> None:
    rules = (
        "shapes * * all.root a\nshapes ggH * all.root b\nshapes * bin1 one.root c\nshapes data_obs bin1 one.root d\n"
    )
    card = read_card(write(tmp_path, rules + COUNTING))
    assert [card.rule(*key).nominal for key in (("ggH", "bin1"), ("data_obs", "bin1"), ("ggH", "x"), ("q", "x"))] == [
        "c", "d", "b", "a",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate  ", "rote  ", "is no datacard: it has no line 'rate'"),
        ("process          0 ", "process          1 ", "line 10: no process is a signal"),
        ("process         ggH", "process         qqWW", "line 9: a process stands twice in a channel"),
        ("  0.22\n", "\n", "line 11: has 3 entries where the line 'bin' has 4"),
        ("1.47", "many", "line 11: 'many' is no number"),
        ("observation 0", "", "needs one line 'observation'"),
        ("bin bin1", "bin other", "line 7: there is no observation in bin1"),
        (
            "lumi    lnN",
            "lumi    lnU",
            r"line 12: lumi is of the kind 'lnU', which HistFactory cannot .* did you mean lnn",
        ),
        ("lumi    lnN    1.11    -   1.11    -", "lumi lnN 1.1 -\n#", "line 12: has 2 entries"),
        ("lnN    1.11 ", "lnN    -1.1 ", "line 12: the effect -1.1 of lumi is impossible"),
        ("lnN    1.11 ", "lnN    0/1.1 ", "line 12: the effect 0/1.1 of lumi is impossible"),
        ("gmN 4 ", "gmN 0 ", "line 14: gmN with 0 events cannot be expressed"),
        ("xs_ggWW", "lumi", "line 15: lumi has a line already"),
        ("xs_ggWW lnN", "k rateParam bin1 ggWW (@0*2) lumi\n#", "line 15: the rateParam k depends on others"),
        ("xs_ggWW lnN", "k rateParam bin1 ggWW 1 [2,1]\n#", r"line 15: \[2,1\] is no range"),
        ("xs_ggWW lnN", "k rateParam bin1 ggVV 1\n#", "line 15: ggVV in bin1 is no process"),
        ("xs_ggWW lnN", "bin2 autoMCStats 10\n#", "line 15: autoMCStats without its channel"),
        ("imax 1", "shapes * * file.root w:pdf\nimax 1", "line 2: w:pdf is in a RooFit workspace"),
        ("imax 1", "shapes * *\nimax 1", "line 2: is no rule for templates"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert COUNTING.count(old) == 1
    with pytest.raises(InputFileError, match=f"(?i){message}"):
        read_card(write(tmp_path, COUNTING.replace(old, new)))


def test_a_process_is_signal_in_all_channels_or_in_none(tmp_path: Path) -> None:
    text = "bin a b\nobservation 1 1\nbin a b b\nprocess s s t\nprocess 0 1 0\nrate 1 1 1\n"
    with pytest.raises(InputFileError, match="s is a signal in one channel and none in another"):
        read_card(write(tmp_path, text))


def test_files_that_are_no_cards(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"card\.txt: cannot be read"):
        read_card(tmp_path / "card.txt")
    (tmp_path / "card.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputFileError, match=r"cannot be read \(it is no text\)"):
        read_card(tmp_path / "card.txt")
