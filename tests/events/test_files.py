"""Files held open: one handle for all chunks, until the file changes, fails or is pushed out by others."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import InputFileError
from darkop_dist.events.event_columns import EventColumns
from darkop_dist.events.files import MOST_OPEN, forget, open_file
from darkop_dist.events.read import open_events

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))


@pytest.fixture(autouse=True)
def nothing_is_open() -> Iterator[None]:
    forget()
    yield
    forget()


def write(path: Path, values: np.ndarray) -> str:
    with uproot.recreate(path) as file:
        file.mktree("Events", {"x": values.dtype}).extend({"x": values})
    return str(path)


def test_a_file_is_opened_once_for_all_its_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls, original = write(tmp_path / "a.root", np.arange(10.0)), [], uproot.open
    monkeypatch.setattr(uproot, "open", lambda *a, **k: calls.append(1) or original(*a, **k))
    found = [open_events(path, RECORD, start, start + 2).x.to_list() for start in range(0, 10, 2)]
    assert [value for chunk in found for value in chunk] == list(range(10))
    assert len(calls) == 1
    forget(path)
    open_events(path, RECORD, 0, 2)
    assert len(calls) == 2


def test_a_file_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.root", np.arange(5.0))
    before = open_events(path, RECORD)
    write(tmp_path / "b.root", np.arange(7.0))
    (tmp_path / "b.root").replace(path)
    assert len(open_events(path, RECORD)) == 7
    assert before.x.to_list() == [0, 1, 2, 3, 4]  # events opened before keep the file they belong to


def test_few_files_are_held_and_descriptors_are_given_back(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.root", np.arange(3.0)) for number in range(MOST_OPEN + 3)]
    first = open_file(paths[0])
    for path in paths[1:]:
        open_file(path)
    assert open_file(paths[-1]) is open_file(paths[-1])
    assert open_file(paths[0]) is not first
    descriptor = first.descriptor
    del first
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_damage_is_said_with_the_entries(tmp_path: Path, write_nanoaod: Callable[..., Path]) -> None:
    path = write_nanoaod(tmp_path / "a.root", 2000, basket_events=500, compression="zlib")
    branch = uproot.open(path)["Events"]["Jet_eta"]
    content = bytearray(path.read_bytes())
    seek = int(branch.member("fBasketSeek")[2])
    content[seek + 200 : seek + 260] = bytes(60)
    path.write_bytes(content)
    assert len(EventColumns(open_events(str(path), RECORD, 0, 1000)).per_object("Jet.eta")) > 1000
    for read in (lambda e: EventColumns(e).per_object("Jet.eta"), lambda e: ak.sum(e.Jet.eta)):
        events = open_events(str(path), RECORD, 1000, 2000)
        with pytest.raises(
            InputFileError, match=r"a\.root: is truncated or corrupt in entries 1000 to 2000 \(basket 2"
        ):
            read(events)


def test_a_file_that_ends_early_is_damaged_and_not_tried_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = Path(write(tmp_path / "a.root", rng.normal(size=200_000)))
    events = open_events(str(path), RECORD)
    os.truncate(path, 10_000)
    with pytest.raises(InputFileError, match="truncated or corrupt in entries 0 to 200000"):
        EventColumns(events).per_event("x")


def test_an_address_is_read_the_same_way_and_a_cut_answer_is_worth_another_try(
    tmp_path: Path, write_nanoaod: Callable[..., Path], flaky_server: Callable[[Path], Any]
) -> None:
    path, server = write_nanoaod(tmp_path / "a.root", 3000, basket_events=700), flaky_server(tmp_path)
    local, remote = (EventColumns(open_events(p, RECORD, 500, 2500)) for p in (str(path), server.url("a.root")))
    remote.load(["Jet.pt", "MET.pt"])
    for name in ("Jet.pt", "Muon.eta"):
        assert remote.per_object(name).tobytes() == local.per_object(name).tobytes()
    server.fail("a.root", "cut", kept=100)
    with pytest.raises(OSError, match="ClientPayloadError"):
        remote.per_object("Jet.eta")
