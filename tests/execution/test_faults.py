"""Errors are told apart by what raised them, on real files, a real server and real processors."""

import errno
import gzip
import json
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import BaseSchema
from coffea.processor import IterativeExecutor, Runner

from darkop_dist.config import DatasetRecord
from darkop_dist.config.access import Access
from darkop_dist.errors import InputFileError
from darkop_dist.events.read import open_events
from darkop_dist.events.remote import open_root
from darkop_dist.execution.faults import Fault, classify, reason

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))
COMPRESSIONS = {"zlib": uproot.ZLIB(4), "lz4": uproot.LZ4(4), "zstd": uproot.ZSTD(4), "lzma": uproot.LZMA(4)}
BASKET = {"from_byte": 0, "to_byte": 2000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    rng = np.random.default_rng(1)
    columns = {"mass": rng.integers(0, 50, size=50_000).astype("f4"), "genWeight": rng.normal(1.0, 0.3, 50_000)}
    for name, compression in COMPRESSIONS.items():
        with uproot.recreate(folder / f"{name}.root", compression=compression) as file:
            file.mktree("Events", {key: column.dtype for key, column in columns.items()})
            file["Events"].extend(columns)
    return folder


@pytest.fixture
def server(folder: Path, flaky_server: Callable[[Path], Any]) -> Any:
    return flaky_server(folder)


def masses(events: ak.Array) -> float:
    return float(np.sum(np.asarray(events.mass)))


def seek(path: Path) -> int:
    with uproot.open(path) as file:
        return int(file["Events"]["mass"].member("fBasketSeek")[0])


def fault_of(path: str, process: Callable[[ak.Array], Any] = masses, **settings: Any) -> Fault:
    """Read as a chunk does, and judge what comes of it."""
    try:
        file = open_root(path, Access(timeout_s=0.5))
        process(open_events(path, RECORD, 0, 20_000, file=file))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is judged
        return classify(error, path, **settings)
    raise AssertionError("nothing failed")


@pytest.mark.parametrize(
    ("kind", "settings", "expected", "said"),
    [
        ("hang", {}, "transient", "does not answer in time"),
        ("hang", {"from_byte": 20_000}, "transient", "does not answer in time"),
        ("cut", {"kept": 100}, "transient", "ClientPayloadError"),
        ("reset", {"kept": 100, "from_byte": 20_000}, "transient", "ClientPayloadError"),
        ("short", {"kept": 100, "from_byte": 20_000}, "transient", "100 bytes came where"),
        ("corrupt", {"to_byte": 4}, "transient", "not a ROOT file"),
        ("status", {"status": 500}, "transient", "status 500"),
        ("status", {"status": 429, "retry_after_s": 9}, "transient", "status 429"),
        ("status", {"status": 404}, "missing", "no such file on the server"),
        ("status", {"status": 403, "from_byte": 20_000}, "missing", "status 403"),
    ],
)
def test_what_a_server_does(server: Any, kind: str, settings: dict, expected: str, said: str) -> None:
    server.fail("zlib.root", kind, **settings)
    fault = fault_of(server.url("zlib.root"))
    assert fault.kind == expected
    assert said in fault.reason
    assert fault.suspect == (kind in ("short", "corrupt"))
    assert fault.retry_after_s == settings.get("retry_after_s")


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("part", [(0, 60), (100, 2000)], ids=["header", "content"])
def test_wrong_bytes_are_the_ways_fault_once_and_then_the_files(
    server: Any, folder: Path, tmp_path: Path, compression: str, part: tuple[int, int]
) -> None:
    name = f"{compression}.root"
    begin = seek(folder / name)
    server.fail(name, "corrupt", from_byte=begin + part[0], to_byte=begin + part[1])
    first = fault_of(server.url(name))
    assert (first.kind, first.suspect, first.retriable) == ("transient", True, True)
    again = fault_of(server.url(name), suspected=True)
    assert (again.kind, again.suspect, again.retriable) == ("damaged", True, False)
    if part[0] == 0:
        assert "basket 0 of mass" in again.reason

    content = bytearray((folder / name).read_bytes())
    content[begin + part[0] : begin + part[1]] = bytes(
        0xFF ^ value for value in content[begin + part[0] : begin + part[1]]
    )
    (tmp_path / name).write_bytes(content)
    assert fault_of(str(tmp_path / name)).kind == "damaged"


def test_local_files(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "zlib.root").read_bytes()
    (tmp_path / "short.root").write_bytes(whole[: seek(folder / "zlib.root") + 1000])
    (tmp_path / "empty.root").write_bytes(b"")
    assert fault_of(str(tmp_path / "short.root")).kind == "damaged"
    assert fault_of(str(tmp_path / "empty.root")).kind == "damaged"
    assert fault_of(str(tmp_path / "none.root")).kind == "missing"
    assert fault_of(str(tmp_path)).kind == "missing"


def test_what_opening_translated_is_judged_by_its_cause(server: Any, folder: Path) -> None:
    name = server.url("zlib.root")
    with open_root(name) as file, pytest.raises(InputFileError) as caught:
        open_events(name, RECORD.model_copy(update={"tree": "Nowhere"}), file=file)
    assert classify(caught.value, name).kind == "missing"


def bug(events: ak.Array) -> None:
    masses(events)
    raise ValueError("the mass is negative")


def wrong_type(events: ak.Array) -> Any:
    return events.metadata["is_data"]["mass"]


def wrong_name(events: ak.Array) -> Any:
    return events.charge


def own_file(events: ak.Array) -> Any:
    return json.loads(Path("corrections-of-2016.json").read_text())


def own_archive(events: ak.Array) -> Any:
    return gzip.decompress(gzip.compress(b"corrections")[:-4])


def own_root_file(events: ak.Array) -> Any:
    return uproot.open("pileup-of-2016.root")


def rescued(events: ak.Array) -> Any:
    try:
        Path("/proc/self/mem").read_bytes()  # EIO
    except OSError:
        return undefined_name  # noqa: F821  # the bug under test


@pytest.mark.parametrize(
    "process",
    [bug, wrong_type, wrong_name, own_file, own_archive, own_root_file, rescued],
    ids=lambda made: made.__name__,
)
def test_the_processors_own_errors_are_bugs(folder: Path, process: Callable[[ak.Array], Any]) -> None:
    assert fault_of(str(folder / "zlib.root"), process).kind == "bug"


def test_full_memory_and_full_storage(folder: Path, tmp_path: Path) -> None:
    def large(events: ak.Array) -> Any:
        return np.empty(1 << 60, dtype=np.uint8)

    def storage(events: ak.Array) -> Any:
        with Path("/dev/full").open("w") as file:
            file.write("result" * 10_000)

    assert fault_of(str(folder / "zlib.root"), large).kind == "memory"
    fault = fault_of(str(folder / "zlib.root"), storage)
    assert (fault.kind, fault.reason) == ("storage", "No space left on device")


def test_too_many_open_files_may_pass(folder: Path) -> None:
    def crowded(events: ak.Array) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        os.close(first_free := os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, hard))
        try:
            return socket.socket()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert fault_of(str(folder / "zlib.root"), crowded).kind == "transient"


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENETDOWN, errno.ECONNRESET]
)
def test_numbers_of_bad_days(number: int) -> None:
    assert classify(OSError(number, os.strerror(number)), "/data/a.root").kind == "transient"
    assert classify(OSError("the storage does not answer"), "/data/a.root").kind == "transient"


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("cut", {"kept": 100, "from_byte": 30_000}, "transient"),
        ("status", {"status": 503, "from_byte": 30_000}, "transient"),
        ("status", {"status": 404, "from_byte": 30_000}, "missing"),
        ("corrupt", {"from_byte": 30_000}, "transient"),
    ],
)
def test_coffeas_own_opening_is_understood(server: Any, kind: str, settings: dict, expected: str) -> None:
    """The Runner opens without our options: uproot then receives fsspec's errors as if they were data."""
    server.fail("zlib.root", kind, **settings)
    runner = Runner(IterativeExecutor(status=False, retries=0), schema=BaseSchema, chunksize=100_000, metadata_cache={})
    with pytest.raises(Exception, match="Failed processing file") as caught:
        runner({"mc": [server.url("zlib.root")]}, lambda events: {"mass": masses(events)}, treename="Events")
    assert classify(caught.value, server.url("zlib.root")).kind == expected


def test_a_reason_is_one_line_without_the_secrets_of_an_address() -> None:
    error = OSError("cannot read https://eos.cern.ch/a.root?authz=zteos64:secret&x=1\nat all")
    assert reason(error) == "OSError: cannot read https://eos.cern.ch/a.root"
    assert reason(KeyError()) == "KeyError"
