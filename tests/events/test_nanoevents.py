"""NanoEvents of chunks: the form is shared between files, the metadata and columns are each chunk's own."""

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from coffea.nanoevents import NanoEventsFactory

from darkop_dist.config import DatasetRecord
from darkop_dist.events.event_columns import EventColumns
from darkop_dist.events.files import open_file
from darkop_dist.events.nanoevents import layout_of, source_of
from darkop_dist.events.read import OpenDataSchema, open_events

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, write_nanoaod: Callable[..., Path]) -> tuple[str, str, str]:
    folder = tmp_path_factory.mktemp("files")
    same = [write_nanoaod(folder / f"{seed}.root", 1000, seed=seed, basket_events=300) for seed in (1, 2)]
    other = write_nanoaod(folder / "other.root", 1000, with_generator_jets=True)
    return str(same[0]), str(same[1]), str(other)


def test_files_with_the_same_columns_share_a_form(files: tuple[str, str, str]) -> None:
    first, second, other = (layout_of(open_file(path), "Events", OpenDataSchema) for path in files)
    assert first is second
    assert other is not first
    assert "genJetIdx" in other.fields["Jet"]
    assert "genJetIdx" not in first.fields["Jet"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # coffea finds much to say about real files
def test_events_are_those_of_coffea(files: tuple[str, str, str], shared_data: Path) -> None:
    for path in (files[0], files[2], str(shared_data / "cms" / "nano_dy.root")):
        stop = min(1000, len(open_events(path, RECORD)))
        ours = open_events(path, RECORD, 7, stop)
        theirs = NanoEventsFactory.from_root({path: "Events"}, schemaclass=OpenDataSchema, entry_start=7).events()
        assert ours.fields == theirs.fields
        for name in ("Jet", "Muon", "MET", "PV"):
            assert ours[name].fields == theirs[name].fields
            assert str(ours[name].pt.type if name != "PV" else ours[name].npvs.type) == str(
                theirs[name].pt.type if name != "PV" else theirs[name].npvs.type
            )
        assert ak.all(ours.Jet.pt == theirs.Jet.pt)
        assert ak.all((ours.Muon + ours.Muon).mass == (theirs.Muon + theirs.Muon).mass)
        assert ours.metadata["version"] == theirs.metadata["version"]
        assert (ours.metadata["entrystart"], ours.metadata["entrystop"]) == (7, stop)


def test_cross_references_work(shared_data: Path) -> None:
    events = open_events(str(shared_data / "cms" / "nano_dy.root"), RECORD, 5, 30)
    matched = ak.drop_none(events.Jet.matched_gen)
    assert ak.count(matched.pt) > 5


def test_only_the_events_of_a_chunk_as_it_was_opened_have_a_source(files: tuple[str, str, str]) -> None:
    events = open_events(files[0], RECORD, 100, 900)
    assert source_of(events) is not None
    chosen = events[np.arange(0, 800, 3)]
    changed = ak.with_field(events, 2 * events.genWeight, "genWeight")
    assert source_of(chosen) is None
    assert source_of(changed) is None
    for name in ("Jet.pt", "Muon.looseId"):
        flat = EventColumns(chosen).per_object(name)
        assert flat.tobytes() == ak.to_numpy(ak.flatten(events[name.split(".")[0]][name.split(".")[1]][::3])).tobytes()
    assert EventColumns(chosen).offsets("Jet").tolist() == [0, *np.cumsum(ak.num(events.Jet)[::3])]
    twice = EventColumns(changed).per_event("genWeight")
    assert (twice == 2 * EventColumns(events).per_event("genWeight")).all()
    events["PV_npvs"] = np.arange(800)  # in place
    assert source_of(events) is None
    assert EventColumns(events).per_event("PV_npvs").tolist() == list(range(800))
