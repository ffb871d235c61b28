"""Columns read from baskets are those that uproot reads, for every column of every file and any range."""

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.events import baskets
from darkop_dist.events.files import forget, open_file
from darkop_dist.events.source import ChunkSource

FILES = (
    "nanoAOD_2015_CMS_Open_Data_ttbar.root",
    "Run2012B_SingleMu_1000.root",
    "nano_dimuon.root",
    "nano_dy.root",
    "pfnano.root",
    "dimuon_100k_flat.root",
)


def compare(path: str, ranges: list[tuple[int, int]]) -> tuple[int, int]:
    """Numbers of columns that were read here, and of those left to uproot."""
    file, read, left = open_file(path), 0, 0
    tree = file.directory["Events"]
    for start, stop in ranges:
        source = ChunkSource(file, "Events", start, stop)
        source.load(tree.keys())
        for name in tree.keys():  # noqa: SIM118  # a tree is no dictionary
            branch = source.branch(name)
            if branch is None:
                left += 1
                continue
            read += 1
            expected = tree[name].array(entry_start=start, entry_stop=stop)
            if branch.counter is not None:
                counts = np.diff(source.offsets(branch.counter))
                assert counts.tolist() == ak.num(expected).to_list(), name
                expected = ak.flatten(expected)
            found = source.column(name)
            assert found.dtype == ak.to_numpy(expected).dtype, name
            assert found.tobytes() == ak.to_numpy(expected).tobytes(), name
    return read, left


@pytest.mark.parametrize("name", FILES)
def test_every_column_of_real_files(shared_data: Path, name: str) -> None:
    path = str(shared_data / "cms" / name)
    entries = open_file(path).directory["Events"].num_entries
    read, left = compare(path, [(0, entries), (entries // 3, entries // 3 + 4)])
    assert read > 10
    assert left <= 0.02 * read


@pytest.mark.parametrize("compression", ["lz4", "zstd", "zlib"])
def test_every_column_and_any_range_of_generated_files(
    tmp_path: Path, write_nanoaod: Callable[..., Path], compression: str
) -> None:
    path = write_nanoaod(tmp_path / "a.root", 5000, compression=compression, basket_events=900)
    ranges = [(0, 5000), (0, 0), (0, 900), (899, 901), (900, 1800), (1234, 4321), (4999, 5000)]
    read, left = compare(str(path), ranges)
    assert (read, left) == (49 * len(ranges), 0)


def test_positions_of_lists_are_decompressed_only_where_they_are_needed(
    tmp_path: Path, write_nanoaod: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_nanoaod(tmp_path / "a.root", 2000, compression="zstd", basket_events=1000)
    sizes: list[int] = []
    whole = baskets.INTO[b"ZS"]
    monkeypatch.setitem(baskets.INTO, b"ZS", lambda block, room: sizes.append(len(room)) or whole(block, room))
    names = ["nJet", "Jet_pt", "Muon_charge", "MET_pt"]

    def read(start: int, stop: int) -> dict[str, bytes]:
        sizes.clear()
        source = ChunkSource(open_file(str(path)), "Events", start, stop)
        source.load(names)
        return {name: source.column(name).tobytes() for name in names}

    found = read(0, 2000)
    assert sizes == 3 * 2 * [4000]  # the counters nJet and nMuon, and MET_pt
    monkeypatch.setattr(baskets, "FULL", "what another version of the decompressor may say")
    assert read(0, 2000) == found
    assert len(sizes) == 5 * 2
    assert read(0, 1999)["Jet_pt"] == found["Jet_pt"][: len(read(0, 1999)["Jet_pt"])]


def test_lzma_no_compression_and_several_blocks(tmp_path: Path) -> None:
    # A compressed block of ROOT holds at most 16 MB: 2.5 million doubles need two.
    values = np.repeat(np.arange(25_000.0), 100)
    for name, compression, count in (
        ("a", uproot.LZMA(1), 5000),
        ("b", None, 5000),
        ("c", uproot.ZSTD(1), len(values)),
    ):
        with uproot.recreate(tmp_path / f"{name}.root", compression=compression) as file:
            columns = {"x": values[:count], "y": values[:count].astype(np.int16), "z": values[:count] > 5}
            file.mktree("Events", {name: column.dtype for name, column in columns.items()}).extend(columns)
        assert compare(str(tmp_path / f"{name}.root"), [(0, count), (17, count - 3)]) == (6, 0)
    forget()
