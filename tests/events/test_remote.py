"""Reading over HTTP ends, whatever the server does, and the error says what it did."""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from darkop_dist.config.access import Access
from darkop_dist.events.remote import fetch, open_root, root_options

SHORT = Access(timeout_s=0.5)
USUAL = Access()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remote")
    rng = np.random.default_rng(1)
    with uproot.recreate(folder / "a.root") as file:
        columns = {"mass": rng.uniform(size=20_000), "weight": rng.normal(size=20_000)}
        file.mktree("Events", {name: column.dtype for name, column in columns.items()})
        file["Events"].extend(columns)
    (folder / "a.csv").write_text("x,y\n1,2\n3,4\n")
    return folder


@pytest.fixture
def server(folder: Path, flaky_server: Callable[[Path], Any]) -> Any:
    return flaky_server(folder)


def read(server: Any, access: Access = SHORT) -> Any:
    with open_root(server.url("a.root"), access) as file:
        return file["Events"].arrays(["mass", "weight"], library="np")


def test_what_arrives_is_what_the_file_holds(server: Any, folder: Path) -> None:
    with open_root(str(folder / "a.root")) as file:
        local = file["Events"].arrays(["mass", "weight"], library="np")
    remote = read(server, USUAL)
    assert all(np.array_equal(local[name], remote[name]) for name in local)
    assert root_options(str(folder / "a.root")) == {}
    assert fetch(server.url("a.csv")).read() == (folder / "a.csv").read_bytes()


@pytest.mark.parametrize(
    ("kind", "settings", "number"),
    [
        ("hang", {}, errno.ETIMEDOUT),
        ("hang", {"after": 2}, errno.ETIMEDOUT),
        ("hang", {"kept": 100, "from_byte": 20_000}, errno.ETIMEDOUT),
        ("slow", {"bytes_per_s": 2000, "from_byte": 20_000}, errno.ETIMEDOUT),
        ("cut", {"kept": 100}, errno.EIO),
        ("cut", {"kept": 100, "from_byte": 20_000}, errno.EIO),
        ("reset", {"kept": 100, "from_byte": 20_000}, errno.EIO),
        ("status", {"status": 500}, errno.EIO),
        ("status", {"status": 503, "from_byte": 20_000}, errno.EIO),
        ("status", {"status": 403}, errno.EACCES),
        ("status", {"status": 404}, errno.ENOENT),
        ("status", {"status": 404, "from_byte": 20_000}, errno.ENOENT),
    ],
)
def test_every_failure_ends_with_a_number_and_the_address(server: Any, kind: str, settings: dict, number: int) -> None:
    server.fail("a.root", kind, **settings)
    begin = time.monotonic()
    with pytest.raises(OSError, match=r"a\.root") as caught:
        read(server)
    assert caught.value.errno == number
    assert time.monotonic() - begin < 60  # far above what is waited for, far below the client's own five minutes
    server.mend()
    assert len(read(server, USUAL)["mass"]) == 20_000


@pytest.mark.parametrize(
    ("kind", "settings", "number"),
    [("hang", {}, errno.ETIMEDOUT), ("status", {"status": 503}, errno.EIO), ("status", {"status": 404}, errno.ENOENT)],
)
def test_a_size_is_asked_for_once_and_in_time(
    server: Any, folder: Path, kind: str, settings: dict, number: int
) -> None:
    with open_root(server.url("a.root"), SHORT) as file:
        source = file.file.source
        server.fail("a.root", kind, **settings)
        with pytest.raises(OSError, match=r"a\.root") as caught:
            source.num_bytes  # noqa: B018  # it is a property that asks
        assert caught.value.errno == number
        server.mend()
        sizes = [source.num_bytes for _ in range(3)]
        assert sizes == [(folder / "a.root").stat().st_size] * 3
        assert [request.method for request in server.requests] == ["HEAD"]


@pytest.mark.parametrize(("kind", "number"), [("hang", errno.ETIMEDOUT), ("cut", errno.EIO)])
def test_whole_files_end_too(server: Any, kind: str, number: int) -> None:
    server.fail("a.csv", kind)
    with pytest.raises(OSError, match=r"a\.csv") as caught:
        fetch(server.url("a.csv"), SHORT)
    assert caught.value.errno == number


def test_a_server_that_is_not_there(server: Any) -> None:
    with pytest.raises(OSError, match="127") as caught:
        open_root("http://127.0.0.1:9/a.root")
    assert caught.value.errno == errno.ECONNREFUSED
