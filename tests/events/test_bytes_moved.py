"""Reading 12 of 947 branches moves hardly more than the bytes of those branches; counted between client and server."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.config import DatasetRecord
from darkop_dist.events.files import OpenFile, forget, open_file
from darkop_dist.events.nanoevents import source_of
from darkop_dist.events.read import open_events

REAL = "nanoAOD_2015_CMS_Open_Data_ttbar.root"
LARGE = "large.root"
BRANCHES = 947
RECORD = DatasetRecord(name="tt", kind="simulation", files=("x",))
LISTS = ("Jet_pt", "Jet_eta", "Jet_phi", "Jet_mass", "Muon_pt", "Muon_eta", "Muon_phi")
PLAIN = ("nJet", "nMuon", "MET_pt", "MET_phi", "genWeight")
WANTED = (*LISTS, *PLAIN)
MOST = 1.3


@dataclass(frozen=True)
class Moved:
    """Bytes that a server sent: for opening, for the columns, and what their baskets hold."""

    opening: int
    columns: int
    baskets: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """The real file, and 20 000 events with its number of branches, the 12 among the others as they are there."""
    folder = tmp_path_factory.mktemp("moved")
    (folder / REAL).write_bytes((shared_data / "cms" / REAL).read_bytes())
    with uproot.open(folder / REAL) as file:
        names = [branch.name for branch in file["Events"].branches]
    assert len(names) == BRANCHES
    rng = np.random.default_rng(5)
    types = {name: np.dtype("f4" if name in WANTED else "u1") for name in names}
    with uproot.recreate(folder / LARGE, compression=uproot.ZLIB(1)) as file:
        file.mktree("Events", types)
        for _ in range(4):
            file["Events"].extend(
                {
                    name: rng.normal(size=5000).astype("f4") if kind == "f4" else rng.integers(0, 255, 5000, "u1")
                    for name, kind in types.items()
                }
            )
    return folder


@pytest.fixture(params=["http", "xrootd"])
def served(request: Any, folder: Path, relay_to: Callable[[int], Any]) -> Any:
    """A relay, and the address of a file behind it."""
    if request.param == "http":
        relay = relay_to(int(request.getfixturevalue("flaky_server")(folder).address.rpartition(":")[2]))
        yield relay, f"http://127.0.0.1:{relay.port}/"
    else:
        pytest.importorskip("XRootD", reason="the xrootd client is not installed")
        relay = relay_to(request.getfixturevalue("xrootd_server")(folder).port)
        yield relay, f"root://127.0.0.1:{relay.port}//"
    forget()


def opened(served: Any, name: str) -> tuple[OpenFile, int]:
    relay, prefix = served
    forget()
    relay.reset()
    file = open_file(prefix + name)
    file.directory["Events"]
    return file, relay.answered


def baskets(file: OpenFile) -> int:
    return int(sum(file.directory["Events"][name].compressed_bytes for name in WANTED))


def test_columns_of_the_real_file(served: Any, folder: Path) -> None:
    """It holds 200 events: its baskets, all of them in the headers, cost nothing more than the opening."""
    file, opening = opened(served, REAL)
    relay, prefix = served
    events = open_events(prefix + REAL, RECORD)
    relay.reset()
    for name in WANTED:
        collection, _, field = name.partition("_")
        if field:
            assert len(ak.flatten(events[collection][field], axis=None)) > 0
    assert (relay.answered, baskets(file)) == (0, 0)
    assert opening <= 1.1 * headers(file) < (folder / REAL).stat().st_size


def headers(file: OpenFile) -> int:
    """Compressed bytes of the trees' descriptions, which everybody who opens the file must read."""
    return int(file.directory.key("Events").data_compressed_bytes)


def test_columns_of_a_large_file_with_its_opening(served: Any) -> None:
    file, opening = opened(served, LARGE)
    relay, prefix = served
    source = source_of(open_events(prefix + LARGE, DatasetRecord(name="x", kind="data", format="flat", files=("x",))))
    assert source is not None
    relay.reset()
    source[0].load(WANTED)
    moved = Moved(opening, relay.answered, baskets(file))
    assert moved.columns <= MOST * moved.baskets, moved
    assert moved.opening <= 1.1 * headers(file), moved
    assert all(len(source[0].column(name)) == 20_000 for name in WANTED)
