"""A result is kept whole or not at all, and never taken for another's."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.errors import StorageError
from darkop_dist.execution.store import ChunkStore, read_result, write_whole

KEY = "ab" + "0" * 62


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    made = ChunkStore(tmp_path / "chunks")
    made.create()
    return made


def test_what_was_written_is_read_back(store: ChunkStore) -> None:
    assert store.read("chunks", KEY) is None
    store.write("chunks", KEY, {"index": 7}, b"numbers")
    found = store.read("chunks", KEY)
    assert (found.header, bytes(found.data)) == ({"index": 7}, b"numbers")
    assert store.read("nodes", KEY) is None
    assert [path.name for path in store.place("chunks", KEY).parent.iterdir()] == [KEY]


@given(st.data())
def test_damage_anywhere_makes_it_absent(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    store = ChunkStore(tmp_path_factory.mktemp("store"))
    store.create()
    store.write("chunks", KEY, {"index": 7}, b"numbers")
    place = store.place("chunks", KEY)
    whole = place.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    place.write_bytes(whole[:cut])
    assert read_result(place) is None
    flipped = bytearray(whole)
    flipped[cut] ^= 1 << data.draw(st.integers(0, 7))
    place.write_bytes(bytes(flipped))
    assert read_result(place) is None


def test_results_of_an_earlier_run_are_taken_over(store: ChunkStore, tmp_path: Path) -> None:
    store.write("chunks", KEY, {"index": 7}, b"numbers")
    later = ChunkStore(tmp_path / "later", (store.path,))
    later.create()
    assert bytes(later.read("chunks", KEY).data) == b"numbers"
    store.place("chunks", KEY).unlink()
    assert bytes(later.read("chunks", KEY).data) == b"numbers"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        with pytest.raises(StorageError, match=r"result: cannot be written \(No space left on device\)"):
            write_whole(disk / "result", os.urandom(200_000))
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)
