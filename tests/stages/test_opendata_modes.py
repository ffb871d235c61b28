"""``load_opendata`` over HTTP: several files stay lazy, dask-awkward gives the same numbers, scorers work on it."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

import darkop_dist as do
from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.events.files import forget
from darkop_dist.scoring.contract import InputSpec, ScoreAxis

NAME = "Run2012B_SingleMu_1000.root"


class SumScorer:
    """Score = MET + leading column; counts its calls."""

    fingerprint = "0" * 64
    inputs = (InputSpec("x", (2,), "float32", "MET", "columns", {"columns": ["MET.pt", "MET.phi"]}),)
    score_axis = ScoreAxis((0.0, 50.0, 500.0), "score", "by hand")

    def __init__(self) -> None:
        self.calls = 0

    def score(self, batch: Mapping[str, Any]) -> Any:
        self.calls += 1
        return batch["x"].sum(axis=1)


@pytest.fixture
def served(tmp_path: Path, shared_data: Path, flaky_server: Callable[[Path], Any]) -> Any:
    """The same real events as two files, and a record of both."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name in ("a.root", "b.root"):
        shutil.copy(shared_data / "cms" / NAME, folder / name)
    server = flaky_server(folder)
    record = {"name": "two", "kind": "data", "files": [server.url("a.root"), server.url("b.root")]}
    (tmp_path / "own.json").write_text(json.dumps({"records": [record]}))
    yield server
    forget()


def load(server: Any, **settings: Any) -> Any:
    return do.load_opendata("two", catalogue=[server.folder.parent / "own.json"], **settings)


def sent(server: Any) -> int:
    """Bytes of files that the server has sent."""
    return sum(request.stop - request.start for request in server.requests if request.method == "GET")


def size_of(path: Path, *branches: str) -> int:
    with uproot.open(path) as file:
        return int(sum(file["Events"][name].compressed_bytes for name in branches))


def test_several_files_are_one_lazy_array(served: Any) -> None:
    events = load(served)
    assert len(events) == 2000
    opened = sent(served)
    pt = ak.to_list(events.Jet.pt)
    moved = sent(served) - opened
    with uproot.open(served.folder / "a.root") as file:
        expected = file["Events"].arrays(["Jet_pt", "MET_pt", "run"])
    assert pt == 2 * ak.to_list(expected.Jet_pt)
    assert moved <= 1.3 * 2 * size_of(served.folder / "a.root", "Jet_pt", "nJet")
    before = sent(served)
    assert ak.to_list(events.Jet.pt) == pt
    assert sent(served) == before, "what was read is kept"
    chosen = events[events.MET.pt > 20]
    assert ak.to_list(chosen.MET.pt) == 2 * ak.to_list(expected.MET_pt[expected.MET_pt > 20])
    assert list(events.metadata["filenames"]) == [served.url("a.root"), served.url("b.root")]


def test_a_maximum_that_ends_in_the_second_file(served: Any) -> None:
    events = load(served, max_events=1200)
    with uproot.open(served.folder / "a.root") as file:
        event = file["Events"]["event"].array(library="np")
    assert np.array_equal(np.asarray(events.event), np.concatenate([event, event[:200]]))
    collection = load(served, max_events=1200, mode="dask")
    assert np.array_equal(np.asarray(collection.event.compute()), np.asarray(events.event))


def test_a_branch_that_only_the_first_file_has_is_named(served: Any) -> None:
    with uproot.recreate(served.folder / "b.root") as file:
        file["Events"] = {"run": np.ones(5, "u4"), "MET_pt": np.ones(5, "f4")}
    events = load(served)
    assert len(events.MET.pt) == 1005
    with pytest.raises(InputFileError, match=r"b\.root: has no branch MET_phi, which the first file"):
        np.asarray(events.MET.phi)


def test_dask_reads_what_is_needed_when_it_is_computed(served: Any) -> None:
    dask_awkward = pytest.importorskip("dask_awkward")
    virtual = load(served)
    events = load(served, mode="dask")
    opened = sent(served)
    leading = ak.firsts(events.Jet.pt)
    assert sent(served) == opened, "nothing is read before it is computed"
    assert ak.to_list(leading.compute()) == ak.to_list(ak.firsts(virtual.Jet.pt))
    (needed,) = dask_awkward.necessary_columns(leading).values()
    assert set(needed) == {"nJet", "Jet_pt"}


def test_histograms_of_dask_events(served: Any) -> None:
    hda = pytest.importorskip("hist.dask")
    pytest.importorskip("dask_histogram")
    events, virtual = load(served, mode="dask"), load(served)
    filled = hda.Hist.new.Reg(20, 0, 200, name="pt").Double().fill(ak.flatten(events.Jet.pt)).compute()
    expected, _ = np.histogram(np.asarray(ak.flatten(virtual.Jet.pt)), np.linspace(0, 200, 21))
    assert np.array_equal(filled.values(), expected)


def test_scores_of_dask_events_are_those_of_the_array(served: Any) -> None:
    dask_awkward = pytest.importorskip("dask_awkward")
    virtual, events = load(served), load(served, mode="dask")
    scorer = SumScorer()
    detector = do.ConformalDetector(scorer, virtual, alpha=0.01)
    expected, calls = detector.scores(virtual), scorer.calls
    scores, p_values = detector.scores(events), detector.p_values(events[events.MET.pt > 30])
    assert scorer.calls == calls, "no call before it is computed"
    assert np.array_equal(np.asarray(scores.compute()), expected)
    assert np.asarray(scores.compute()).dtype == np.float32
    assert np.array_equal(np.asarray(p_values.compute()), detector.p_values(virtual[virtual.MET.pt > 30]))
    (needed,) = dask_awkward.necessary_columns(scores).values()
    assert set(needed) == {"MET_pt", "MET_phi"}
    assert detector.find_anomalies(events) == detector.find_anomalies(virtual)
    again = do.ConformalDetector(scorer, events, alpha=0.01)
    assert again.calibration == detector.calibration
    with pytest.raises(InputFileError, match=r"lacks MET\.pt"):
        detector.scores(events[["Jet", "Muon"]])


def test_mirrors_of_the_users_own_file(served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "access.yml").write_text(
        f"mirrors: [{{prefix: '{served.address}/', instead: ['{served.address}/absent/', '{served.folder}/']}}]\n"
    )
    monkeypatch.setenv("DARKOP_ACCESS", str(tmp_path / "access.yml"))
    events = load(served)
    assert len(np.asarray(events.MET.pt)) == 2000
    assert all(request.path.startswith("absent/") for request in served.requests)
    assert events.metadata["filename"] == str(served.folder / "a.root")


def test_what_cannot_be_loaded(tmp_path: Path, served: Any) -> None:
    with pytest.raises(InputValueError, match=r"mode: is 'lazy'\. Use 'virtual' or 'dask'"):
        load(served, mode="lazy")
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(InputFileError, match=r"holds tables, not trees\. Load it with mode='virtual'"):
        do.load_opendata(tmp_path / "a.csv", mode="dask")


def test_physlite_comes_in_virtual_mode_alone(tmp_path: Path, shared_data: Path) -> None:
    file = shared_data / "atlas" / "PHYSLITE_example.root"
    with pytest.raises(InputFileError, match=r"PHYSLITE_example\.root: has no 'Events'"):
        do.load_opendata(file, mode="dask")
    record = {
        "name": "atlas",
        "kind": "simulation",
        "format": "physlite",
        "tree": "CollectionTree",
        "files": [str(file)],
    }
    (tmp_path / "own.json").write_text(json.dumps({"records": [record]}))
    assert len(do.load_opendata("atlas", catalogue=[tmp_path / "own.json"]).Jet.pt) == 100
    with pytest.raises(InputFileError, match="atlas: is of the format physlite, which comes in virtual mode alone"):
        do.load_opendata("atlas", catalogue=[tmp_path / "own.json"], mode="dask")


def test_cached_files_in_both_modes(served: Any) -> None:
    virtual, events = load(served, cached=True), load(served, mode="dask", cached=True)
    moved = sent(served)
    assert virtual.Jet.pt.tolist() == events.Jet.pt.compute().tolist()
    assert sent(served) == moved
    assert len(virtual) == 2000
    assert all("@leases" in held.attrs for held in (virtual.Jet.pt, events.Jet.pt, events.Jet[events.Jet.pt > 50]))
