"""Signal among background and collision data: every event is an event of an input, and the truth column says of which."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.catalogue.records_file import read_records
from darkop_dist.cli import main
from darkop_dist.errors import InputFileError, InputValueError, OutputError
from darkop_dist.generation import GeneratedSample, generate, layout
from darkop_dist.generation.injection import TRUTH, InjectionPlan, Rules, Strength, plan_injection
from darkop_dist.generation.mixing import InjectedFileset, write_injection
from darkop_dist.generation.record import adler32
from darkop_dist.generation.unweighting import distinct_places
from darkop_dist.stages.pipeline import Request, run_search

SIGNAL, BACKGROUND = "monojet-dm", "qcd-dijets"
ALL_MISSING = Rules(drop_missing=True)
COUNTER = """
import awkward as ak
import hist
from coffea import processor

class Count(processor.ProcessorABC):
    def process(self, events):
        signal = ak.to_numpy(ak.materialize(events.isInjectedSignal))
        hard = ak.to_numpy(ak.fill_none(ak.max(events.Jet.pt, axis=1), 0.0)) > 100.0
        found = hist.Hist.new.Reg(2, -0.5, 1.5, name="signal").Int64().fill(signal=signal[hard])
        return {"all": len(signal), "signal": int(signal.sum()), "hard signal": int((signal & hard).sum()), "h": found}

    def postprocess(self, accumulator):
        return accumulator
"""


def branches_of(file: Path, tree: str = "Events") -> dict[str, ak.Array]:
    with uproot.open(file) as opened:
        return opened[tree].arrays(how=dict)


def inject(
    signal: Path,
    backgrounds: list[Path],
    output: Path,
    strength: Strength,
    *,
    seed: int = 1,
    rules: Rules | None = None,
) -> tuple[InjectionPlan, InjectedFileset]:
    plan = plan_injection(signal, backgrounds, strength, seed=seed, rules=rules)
    return plan, write_injection(plan, output)


def flat_file(path: Path, events: int, weights: np.ndarray | None = None, **columns: np.ndarray) -> Path:
    """Events with a number each and, if wanted, weights."""
    found: dict[str, np.ndarray] = {"x": np.arange(events, dtype="f4"), **columns}
    if weights is not None:
        found["genWeight"] = weights.astype("f4")
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: column.dtype for name, column in found.items()}).extend(found)
    return path


@pytest.fixture(params=["one portion", "many portions"])
def portions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many portions":
        monkeypatch.setattr(layout, "FEWEST", 7)
        monkeypatch.setattr(layout, "MOST", 7)


@pytest.mark.usefixtures("portions")
def test_every_event_comes_from_an_input_and_nothing_else_tells_which(
    samples: dict[str, GeneratedSample], tmp_path: Path
) -> None:
    signal, background = samples[SIGNAL].file, samples[BACKGROUND].file
    plan, made = inject(signal, [background], tmp_path / "mixed", Strength(1.0, events=40, exact=True))
    found, before, added = map(branches_of, (made.files[0], background, signal))
    truth = ak.to_numpy(found.pop(TRUTH))
    assert list(found) == list(before)
    assert truth.dtype == bool
    assert np.flatnonzero(truth).tolist() == plan.places.tolist()
    assert len(truth) == made.events == 340
    assert truth.sum() == made.injected == 40
    for name, column in found.items():
        assert ak.array_equal(column[~truth], before[name], dtype_exact=False), name
        assert ak.type(column).content == ak.type(before[name]).content or name.startswith("n"), name
        if name not in {"run", "luminosityBlock", "event", "genWeight"}:
            assert ak.array_equal(column[truth], added[name][plan.rows], dtype_exact=False), name
    numbers = ak.to_numpy(found["event"])
    assert len(np.unique(numbers)) == 340
    assert set(ak.to_numpy(found["run"])) == {1}
    blocks = ak.to_numpy(found["luminosityBlock"]).astype(int)
    assert np.all(np.diff(blocks) >= 0)  # those of the neighbours


def test_several_files_share_the_signal(samples: dict[str, GeneratedSample], tmp_path: Path) -> None:
    files = []
    for number, events in enumerate((100, 300, 50)):
        files.append(tmp_path / f"{number}.root")
        with uproot.open(samples[BACKGROUND].file) as opened, uproot.recreate(files[-1]) as file:
            arrays = opened["Events"].arrays(["nJet", "Jet_pt", "run", "event"], entry_stop=events)
            file.mktree("Events", {"run": "u4", "event": "u8", "Jet": "var * {pt: float32}"}).extend(
                {"run": arrays.run, "event": arrays.event, "Jet": ak.zip({"pt": arrays.Jet_pt})}
            )
    plan, made = inject(samples[SIGNAL].file, files, tmp_path / "mixed", Strength(1.0, events=200, exact=True))
    truths = [ak.to_numpy(branches_of(file)[TRUTH]) for file in made.files]
    assert [int((~truth).sum()) for truth in truths] == [100, 300, 50]
    account = json.loads(made.account.read_text())
    assert [part["injected"] for part in account["background"]] == [int(truth.sum()) for truth in truths]
    assert np.flatnonzero(np.concatenate(truths)).tolist() == plan.places.tolist()
    signal = branches_of(samples[SIGNAL].file)["Jet_pt"][plan.rows]
    drawn = ak.concatenate([branches_of(file)["Jet_pt"][truth] for file, truth in zip(made.files, truths, strict=True)])
    assert ak.array_equal(drawn, signal)


def test_a_processor_finds_the_number_of_the_truth_column(
    samples: dict[str, GeneratedSample], tmp_path: Path, open_with_coffea: Callable[[Path], Any]
) -> None:
    plan, made = inject(
        samples[SIGNAL].file, [samples[BACKGROUND].file], tmp_path / "mixed", Strength(1.0, events=60, exact=True)
    )
    events = open_with_coffea(made.files[0])
    chosen = events[(ak.fill_none(ak.max(events.Jet.pt, axis=1), 0) > 200) & events.isInjectedSignal]
    pt = branches_of(samples[SIGNAL].file)["Jet_pt"][plan.rows]
    assert len(chosen) == int(ak.sum(ak.max(pt, axis=1) > 200)) > 10
    assert ak.all(chosen.genWeight == 1)


def test_a_document_runs_on_the_mixed_fileset(samples: dict[str, GeneratedSample], tmp_path: Path) -> None:
    _, made = inject(samples[SIGNAL].file, [samples[BACKGROUND].file], tmp_path / "mixed", Strength(1.0, events=60))
    (tmp_path / "count.py").write_text(COUNTER)
    document = tmp_path / "count.json"
    body = {
        "name": "Count",
        "catalogue": [str(made.record)],
        "datasets": ["mixed"],
        "processor": "count.py:Count",
        "execution": {"chunk_events": 100},
    }
    document.write_text(json.dumps(body))
    run = run_search(Request(document, tmp_path / "run"))
    output = json.loads((run.path / "output.json").read_text())
    text = json.dumps(output)
    truth = ak.to_numpy(branches_of(made.files[0])[TRUTH])
    assert f'"all": {len(truth)}' in text
    assert f'"signal": {int(truth.sum())}' in text


def test_simulation_stays_normalised(samples: dict[str, GeneratedSample], tmp_path: Path) -> None:
    """Background keeps its weight per 1/fb, and a signal event counts as one event at the luminosity."""
    background, lumi = samples[BACKGROUND], 2.0e-5
    plan, made = inject(
        samples[SIGNAL].file, [background.file], tmp_path / "mixed", Strength(5.0e3, lumi_ifb=lumi), seed=3
    )
    assert plan.expected == pytest.approx(5.0e3 * samples[SIGNAL].xsec_pb * 1e3 * lumi, rel=1e-6)
    (record,) = read_records(made.record)
    runs = branches_of(made.files[0], "Runs")
    sum_weights = float(runs["genEventSumw"][0])
    per_ifb = record.xsec_pb / sum_weights
    assert per_ifb == pytest.approx(background.xsec_pb / background.sum_weights, rel=1e-6)
    events = branches_of(made.files[0])
    weights = ak.to_numpy(events["genWeight"]).astype(float)
    assert weights.sum() == pytest.approx(sum_weights, rel=1e-6)
    truth = ak.to_numpy(events[TRUTH])
    assert weights[truth].sum() * per_ifb * 1e3 * lumi == pytest.approx(truth.sum(), rel=1e-5)
    assert int(runs["genEventCount"][0]) == len(truth) == record.events
    assert record.kind == "simulation"


def test_the_number_follows_strength_cross_section_and_luminosity(samples: dict[str, GeneratedSample]) -> None:
    signal, background = samples[SIGNAL], samples[BACKGROUND]
    plan = plan_injection(signal.file, [background.file], Strength(0.5, lumi_ifb=0.1), seed=1)
    assert plan.expected == pytest.approx(0.5 * signal.xsec_pb * 1e3 * 0.1, rel=1e-6)
    plan = plan_injection(signal.file, [background.file], Strength(0.5, lumi_ifb=0.1, xsec_pb=2.0), seed=1)
    assert plan.expected == pytest.approx(100.0)
    own = plan_injection(signal.file, [background.file], Strength(1e5), seed=1)  # the background's own luminosity
    assert own.lumi_ifb == pytest.approx(300 / (background.xsec_pb * 1e3), rel=1e-6)
    drawn = [
        len(plan_injection(signal.file, [background.file], Strength(1.0, events=50), seed=seed).rows)
        for seed in range(40)
    ]
    assert np.mean(drawn) == pytest.approx(50, abs=4 * np.sqrt(50 / 40))
    assert np.var(drawn) == pytest.approx(50, rel=4 * np.sqrt(2 / 39))
    exact = plan_injection(signal.file, [background.file], Strength(1.0, events=49.6, exact=True), seed=1)
    assert len(exact.rows) == 50
    none = plan_injection(signal.file, [background.file], Strength(0.0, events=50), seed=1)
    assert len(none.rows) == 0


def test_a_seed_gives_the_same_files_and_another_does_not(samples: dict[str, GeneratedSample], tmp_path: Path) -> None:
    files = [
        inject(samples[SIGNAL].file, [samples[BACKGROUND].file], tmp_path / name, Strength(1.0, events=30), seed=seed)[
            1
        ].files[0]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, second, other = (branches_of(file) for file in files)
    assert all(ak.array_equal(first[name], second[name]) for name in first)
    assert len(first[TRUTH]) != len(other[TRUTH]) or not ak.array_equal(first[TRUTH], other[TRUTH])


def test_the_account_says_what_was_drawn(samples: dict[str, GeneratedSample], tmp_path: Path) -> None:
    signal, background = samples[SIGNAL].file, samples[BACKGROUND].file
    rules = Rules(drop=("Tau_*", "PuppiMET_*"))
    plan, made = inject(signal, [background], tmp_path / "mixed", Strength(2.0, events=20), seed=8, rules=rules)
    account = json.loads(made.account.read_text())
    assert (account["expected"], account["injected"], account["seed"]) == (40.0, len(plan.rows), 8)
    assert account["signal"]["adler32"] == adler32(signal)
    assert account["background"][0]["adler32"] == adler32(background)
    assert "Tau_pt" in account["left_out"]
    names = set(branches_of(made.files[0]))
    assert not any(name.startswith(("Tau_", "PuppiMET_", "nTau")) for name in names)


def test_weighted_signal_is_unweighted(tmp_path: Path) -> None:
    """Half of the events weigh three times the others: three quarters of those drawn are theirs, within 4 sigma."""
    heavy = np.arange(20_000) % 2
    signal = flat_file(tmp_path / "signal.root", 20_000, 1.0 + 2.0 * heavy, heavy=heavy.astype("i4"))
    background = flat_file(tmp_path / "data.root", 1000, heavy=np.zeros(1000, "i4"))
    plan, made = inject(signal, [background], tmp_path / "mixed", Strength(1.0, events=5000, exact=True))
    found = branches_of(made.files[0])
    truth = ak.to_numpy(found[TRUTH])
    assert float(np.mean(ak.to_numpy(found["heavy"])[truth])) == pytest.approx(
        0.75, abs=4 * np.sqrt(0.75 * 0.25 / 5000)
    )
    assert len(np.unique(plan.rows)) == 5000
    assert "genWeight" not in found  # it is data


def test_places_are_spread_evenly() -> None:
    """Chi-squared of 2000 places in ten equal ranges: below 27.9 in 99.9% of cases, with this seed for certain."""
    rng = np.random.default_rng(5)
    places = distinct_places(2000, 10_000, rng)
    assert len(np.unique(places)) == 2000
    counts = np.histogram(places, bins=10, range=(0, 10_000))[0]
    assert float(np.sum((counts - 200) ** 2 / 200)) < 27.9
    assert distinct_places(0, 10, rng).tolist() == []


def test_simulation_of_equal_weights_stands_for_data(samples: dict[str, GeneratedSample], tmp_path: Path) -> None:
    signal, background = samples[SIGNAL], samples[BACKGROUND]
    rules = Rules(as_data=True)
    _, made = inject(signal.file, [background.file], tmp_path / "mixed", Strength(1.0, events=10), rules=rules)
    (record,) = read_records(made.record)
    assert (record.kind, record.xsec_pb) == ("data", None)
    assert record.lumi_ifb == pytest.approx(300 / (background.xsec_pb * 1e3), rel=1e-6)
    with pytest.raises(InputValueError, match=r"lumi: 1/fb is not the .*/fb that the background's events stand for"):
        plan_injection(signal.file, [background.file], Strength(1.0, lumi_ifb=1.0), seed=1, rules=rules)
    weighted = flat_file(tmp_path / "weighted.root", 10, np.arange(1.0, 11.0))
    rules = Rules(as_data=True, background_xsec_pb=1.0)
    with pytest.raises(InputValueError, match="has weights that are not equal cannot stand for collision data"):
        plan_injection(weighted, [weighted], Strength(1.0, events=1), seed=1, rules=rules)


def test_real_collisions_take_a_signal(
    samples: dict[str, GeneratedSample], shared_data: Path, tmp_path: Path, open_with_coffea: Callable[[Path], Any]
) -> None:
    """CMS 2012 data of 86 branches and 2018 data of 1601: what the signal lacks is left out or given a value."""
    signal = samples[SIGNAL].file
    for name, kept in (("Run2012B_SingleMu_1000.root", "Muon_charge"), ("nano_dimuon.root", "Photon_electronVeto")):
        data = shared_data / "cms" / name
        rules = Rules(drop_missing=True, fill={"HLT_*": 1.0})
        plan, made = inject(signal, [data], tmp_path / name, Strength(1.0, events=20, exact=True), rules=rules)
        found, before = branches_of(made.files[0]), branches_of(data)
        truth = ak.to_numpy(found.pop(TRUTH))
        assert truth.sum() == 20
        triggers = [branch for branch in found if branch.startswith("HLT_")]
        assert triggers
        assert all(ak.all(found[branch][truth] == 1) for branch in triggers)
        assert kept in found
        for branch, column in found.items():
            assert ak.array_equal(column[~truth], before[branch], dtype_exact=False), branch
        assert set(ak.to_numpy(found["run"])) == set(ak.to_numpy(before["run"]))
        events = open_with_coffea(made.files[0])
        assert int(ak.sum(events.isInjectedSignal)) == 20
        assert ak.array_equal(
            ak.materialize(events.Jet.pt)[truth], branches_of(signal)["Jet_pt"][plan.rows], check_parameters=False
        )
        (record,) = read_records(made.record)
        assert (record.kind, record.events) == ("data", len(before["run"]) + 20)


def refusal(error: type[Exception], *arguments: Any, **options: Any) -> str:
    """What an injection that cannot be planned says."""
    with pytest.raises(error) as found:
        plan_injection(*arguments, **{"seed": 1, **options})
    return str(found.value)


def test_bad_requests_are_named(samples: dict[str, GeneratedSample], tmp_path: Path) -> None:
    signal, background = samples[SIGNAL].file, [samples[BACKGROUND].file]
    assert re.search(
        r"strength: -1 is not a number of 0 or above",
        refusal(InputValueError, signal, background, Strength(-1.0, events=1)),
    )
    assert re.search(
        r"strength: nan is not", refusal(InputValueError, signal, background, Strength(float("nan"), events=1))
    )
    assert re.search(
        r"seed: -1 is below 0", refusal(InputValueError, signal, background, Strength(1.0, events=1), seed=-1)
    )
    assert re.search(
        "events and lumi: both are given",
        refusal(InputValueError, signal, background, Strength(1.0, events=1, lumi_ifb=1.0)),
    )
    many = r"400 signal events are wanted and it has 300\. No event is drawn twice: generate about 420 events"
    assert re.search(many, refusal(InputValueError, signal, background, Strength(1.0, events=400, exact=True)))
    missing = tmp_path / "missing.root"
    assert re.search(
        r"missing\.root: no such file", refusal(InputFileError, missing, background, Strength(1.0, events=1))
    )
    assert re.search(
        r"missing\.root: no such file", refusal(InputFileError, signal, [missing], Strength(1.0, events=1))
    )
    assert re.search(
        f"two background files are named {background[0].name}",
        refusal(OutputError, signal, background * 2, Strength(1.0)),
    )


def test_cross_sections_and_luminosities_that_are_missing_are_named(tmp_path: Path) -> None:
    plain, data = flat_file(tmp_path / "plain.root", 10), [flat_file(tmp_path / "data.root", 10)]
    assert re.search(
        r"plain\.root: its cross section is not known\. Give it in pb with --xsec",
        refusal(InputValueError, plain, data, Strength(1.0, lumi_ifb=1.0)),
    )
    assert re.search(
        r"lumi: the luminosity of the background is not known",
        refusal(InputValueError, plain, data, Strength(1.0, xsec_pb=1.0)),
    )
    simulation = [flat_file(tmp_path / "mc.root", 10, np.ones(10))]
    assert re.search(
        r"mc\.root: its cross section is not known, so a signal event cannot get the weight",
        refusal(InputValueError, plain, simulation, Strength(1.0, xsec_pb=1e-3, lumi_ifb=1.0)),
    )
    assert re.search(
        "some of the background files have genWeight and some have not",
        refusal(InputFileError, plain, [*data, *simulation], Strength(1.0, events=1)),
    )


def test_bad_files_are_named(samples: dict[str, GeneratedSample], tmp_path: Path) -> None:
    data = [flat_file(tmp_path / "data.root", 10, y=np.zeros(10), z=np.zeros(10))]
    plain = flat_file(tmp_path / "plain.root", 10)
    one = Strength(1.0, events=1.0, exact=True)
    assert re.search(
        r"plain\.root: lacks 2 branches of .*data\.root: y, z\. Leave them out .*--drop-missing",
        refusal(InputFileError, plain, data, one),
    )
    assert re.search(
        r"plain\.root: lacks 1 branches .*: z\.", refusal(InputFileError, plain, data, one, rules=Rules(drop=("y",)))
    )
    with uproot.recreate(tmp_path / "tree.root") as file:
        file.mktree("Other", {"x": "f4"}).extend({"x": np.zeros(3, "f4")})
    assert re.search(r"tree\.root: has no 'Events'", refusal(InputFileError, tmp_path / "tree.root", data, one))
    assert re.search(r"tree\.root: has no 'Events'", refusal(InputFileError, plain, [tmp_path / "tree.root"], one))
    negative = flat_file(tmp_path / "negative.root", 4, np.array([1.0, -1.0, 1.0, 1.0]))
    assert re.search(
        r"negative\.root: genWeight: 1 of 4 weights are negative", refusal(InputValueError, negative, data, one)
    )
    broken = flat_file(tmp_path / "nan.root", 4, np.array([1.0, np.nan, 1.0, 1.0]))
    assert re.search(r"nan\.root: genWeight: 1 weights are not finite", refusal(InputValueError, broken, data, one))
    empty = flat_file(tmp_path / "empty.root", 0)
    assert re.search(r"empty\.root: holds no events", refusal(InputFileError, empty, data, one))
    _, made = inject(plain, [flat_file(tmp_path / "background.root", 10)], tmp_path / "mixed", one)
    assert re.search(
        r"background\.root: has isInjectedSignal already", refusal(InputFileError, plain, list(made.files), one)
    )
    with pytest.raises(OutputError, match=r"mixed: exists already\. .* replace it with --force"):
        write_injection(plan_injection(plain, [tmp_path / "background.root"], one, seed=1), tmp_path / "mixed")
    fractions = flat_file(tmp_path / "fractions.root", 10, x=np.full(10, 0.5, "f4"))
    whole = [flat_file(tmp_path / "whole.root", 10, x=np.arange(10, dtype="i4"))]
    with pytest.raises(InputValueError, match="x: numbers of the signal do not fit into its type int32"):
        inject(fractions, whole, tmp_path / "cut", one)
    assert not (tmp_path / "cut").exists()
    assert not list(tmp_path.glob(".*partial*"))


def test_the_command_injects_and_replaces_only_when_told(
    samples: dict[str, GeneratedSample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [str(samples[name].file) for name in (SIGNAL, BACKGROUND)]
    arguments = ["darkop", "inject", *files, "--events", "30", "--exact", "--output", str(tmp_path / "mixed")]

    def status(*more: str) -> object:
        monkeypatch.setattr("sys.argv", [*arguments, *more])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code

    assert status("--strength", "2") == 0
    assert "60 signal events (60 expected" in capsys.readouterr().out
    assert status() == 2
    assert "exists already" in capsys.readouterr().err
    assert status("--force") == 0
    assert status("--force", "--fill", "HLT_*=yes") == 2
    assert "Write it as PATTERN=NUMBER, true or false" in capsys.readouterr().err


def test_a_cross_section_that_the_process_disowns_is_not_used(tmp_path: Path) -> None:
    signal = generate("semivisible-jets", 5, tmp_path / "svj.root", seed=1, settings={"mpi": "off"}).file
    background = generate("qcd-dijets", 5, tmp_path / "qcd.root", seed=1, settings={"mpi": "off"}).file
    with pytest.raises(InputValueError, match=r"cross section is not known.*--xsec"):
        plan_injection(signal, [background], Strength(mu=1, lumi_ifb=1), seed=1)
    assert plan_injection(signal, [background], Strength(mu=1, lumi_ifb=1, xsec_pb=1e-3), seed=1).expected == 1
