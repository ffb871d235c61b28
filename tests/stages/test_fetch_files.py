"""Many files to the cache or a folder: two that bring the same files, and names that could harm."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from darkop_dist.catalogue.cache import FileCache
from darkop_dist.catalogue.fetch import Fetched
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import InputFileError
from darkop_dist.stages.fetch_files import FetchedFiles, Fetching, fetch_to_cache, fetch_to_folder


@pytest.fixture
def server(tmp_path: Path, flaky_server: Callable[[Path], Any]) -> Any:
    for name in ("a.root", "deep/a.root"):
        path = tmp_path / "served" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 100)
    return flaky_server(tmp_path / "served")


def test_two_that_bring_a_file_without_checksum_at_the_same_time_share_it(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = FileCache.keep

    def keep_slowly(self: FileCache, *given: Any) -> Fetched:
        sleep(0.5)
        return keep(self, *given)

    monkeypatch.setattr(FileCache, "keep", keep_slowly)
    files = [DatasetFile(uri=server.url("a.root"))]

    def bring(_: int) -> FetchedFiles:
        return fetch_to_cache(files, FileCache(tmp_path / "cache"), Fetching())

    with ThreadPoolExecutor(3) as pool:
        found = [had.files[files[0].uri] for had in pool.map(bring, range(3))]
    assert {one.path.read_bytes() for one in found} == {b"a.root" * 100}
    assert [request.method for request in server.requests].count("GET") == 1
    assert sorted(one.moved for one in found) == [0, 0, 600]


def test_no_address_leads_out_of_the_folder(server: Any, tmp_path: Path) -> None:
    out = [DatasetFile(uri=f"{server.url('x')}/{above}/a.root") for above in ("../../y", "../../z")]
    with pytest.raises(InputFileError, match=r"leads out of the folder with its '\.\.'"):
        fetch_to_folder([*out, DatasetFile(uri=server.url("../../a.root"))], tmp_path / "a" / "b", Fetching())
    assert list(tmp_path.rglob("a.root*")) == [tmp_path / "served/a.root", tmp_path / "served/deep/a.root"]


def test_two_files_of_one_name_are_not_taken_for_one(server: Any, tmp_path: Path) -> None:
    files = [DatasetFile(uri=f"{server.url('a.root')}?part={number}") for number in (1, 2)]
    with pytest.raises(InputFileError, match=r"has the name of .*a\.root\?part=1 in the folder"):
        fetch_to_folder(files, tmp_path / "here", Fetching())
    both = [DatasetFile(uri=server.url(name)) for name in ("a.root", "deep/a.root")]
    found = fetch_to_folder(both, tmp_path / "here", Fetching())
    assert [found.files[file.uri].path.read_bytes()[:6] for file in both] == [b"a.root", b"deep/a"]
