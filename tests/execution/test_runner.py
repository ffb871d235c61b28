"""Our executor inside coffea's own Runner gives what coffea's gives, and loses nothing in silence."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from coffea import processor
from coffea.nanoevents import NanoAODSchema
from coffea.processor.test_items import NanoEventsProcessor
from distributed import Client, LocalCluster

from darkop_dist.errors import ChunkError, LedgerError
from darkop_dist.execution.runner import DarkopExecutor

CHUNK = 250
# coffea's schema warns of every collection of NanoAOD that a file does not have
pytestmark = pytest.mark.filterwarnings("ignore:Missing cross-reference:RuntimeWarning")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


def runner(executor: Any, **settings: Any) -> processor.Runner:
    return processor.Runner(executor, schema=NanoAODSchema, chunksize=CHUNK, metadata_cache={}, **settings)


def fileset(files: tuple[str, ...]) -> dict:
    return {"early": {"files": list(files[:3]), "metadata": {"year": 2016}}, "late": list(files[3:])}


def run(executor: Any, files: tuple[str, ...], made: Any, **settings: Any) -> Any:
    return runner(executor, **settings)(fileset(files), made, treename="Events")


@pytest.mark.parametrize(
    ("name", "where"),
    [
        *((name, where) for name in ("Dimuon", "Bookkeeping", "Columns", "coffea") for where in ("here", "dask")),
        ("Dimuon", "processes"),
    ],
)
def test_the_same_numbers_as_coffeas_own_executor(
    others: ModuleType,
    muon_files: tuple[str, ...],
    client: Client,
    equal: Callable[[Any, Any], bool],
    name: str,
    where: str,
) -> None:
    made = NanoEventsProcessor(mode="virtual") if name == "coffea" else getattr(others, name)()
    reference = run(processor.IterativeExecutor(status=False, retries=0), muon_files, made)
    executor = {
        "here": DarkopExecutor(status=False),
        "processes": DarkopExecutor(workers=2, status=False),
        "dask": DarkopExecutor(client=client, status=False),
    }[where]
    assert equal(run(executor, muon_files, made), reference)
    assert [(c.dataset, c.closed, c.processed) for c in executor.ledger.closure()] == [
        ("early", True, 3000),
        ("late", True, 3000),
    ]


def test_one_error_per_file_loses_nothing(
    others: ModuleType, muon_files: tuple[str, ...], client: Client, tmp_path: Path
) -> None:
    """Of these 6000 events coffea's DaskExecutor with retries=3 gives 4500 back, without an exception."""
    executor = DarkopExecutor(client=client, status=False)
    output = run(executor, muon_files, others.Troubled(tmp_path, "transient"), skipbadfiles=True)
    calm = run(processor.IterativeExecutor(status=False, retries=0), muon_files, others.Troubled(tmp_path, "none"))
    assert output == calm
    again = [entry for entry in executor.ledger.entries if entry.status == "retried"]
    assert len(again) == 6
    assert {(entry.attempts, entry.reason) for entry in again} == {(2, "Input/output error")}


def test_workers_that_die_lose_nothing(
    others: ModuleType, muon_files: tuple[str, ...], client: Client, tmp_path: Path
) -> None:
    made = others.Troubled(tmp_path, "die")
    executor = DarkopExecutor(client=client, status=False)
    output = runner(executor)({"mc": list(muon_files[:1])}, made, treename="Events")
    assert output["events"] == 1000


@pytest.mark.parametrize("on_dask", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_item_that_hangs_is_ended_and_tried_again(
    others: ModuleType, muon_files: tuple[str, ...], client: Client, tmp_path: Path, on_dask: Any
) -> None:
    timeout_s = 10.0 if on_dask else 3.0  # a worker that begins anew needs some seconds for its first item
    executor = DarkopExecutor(client=client if on_dask else None, timeout_s=timeout_s, status=False)
    output = runner(executor)({"mc": [muon_files[0]]}, others.Troubled(tmp_path, "hang"), treename="Events")
    assert output["events"] == 1000
    (again,) = [entry for entry in executor.ledger.entries if entry.status == "retried"]
    assert again.attempts == 2
    assert f"hung: not done after {timeout_s:g} s" in again.reason


@pytest.mark.parametrize("on_dask", [False, True])
def test_what_is_lost_is_said(
    others: ModuleType, muon_files: tuple[str, ...], client: Client, tmp_path: Path, on_dask: Any
) -> None:
    made = others.Troubled(tmp_path, "always")
    executor = DarkopExecutor(client=client if on_dask else None, retries=1, status=False)
    with pytest.raises(LedgerError, match=r"4 of 24 items were lost") as caught:
        run(executor, muon_files, made)
    assert caught.value.partial_output["events"] == 5000
    lost = [entry for entry in executor.ledger.entries if entry.status == "failed"]
    assert {(Path(entry.file).name, entry.attempts, entry.reason) for entry in lost} == {
        ("1.root", 2, "Input/output error (2 times)")
    }

    with pytest.warns(UserWarning, match=r"4 of 24 items were lost(.|\n)*1\.root \[0:250\]: Input/output error"):
        output = run(executor, muon_files, made, skipbadfiles=True)
    assert output["events"] == 5000
    early, late = executor.ledger.closure()
    assert (early.expected, early.processed, early.lost, early.closed, late.closed) == (3000, 2000, 1000, False, True)

    with pytest.warns(UserWarning, match="lost"):
        result = run(executor, muon_files, made, skipbadfiles=True, use_result_type=True)
    assert result.is_err()
    assert result.value["events"] == 5000


def test_a_whole_reduction_group_may_be_bad(
    others: ModuleType, muon_files: tuple[str, ...], client: Client, tmp_path: Path
) -> None:
    """In coffea a group of which nothing is left ends the run with "Empty list provided to reduction"."""
    executor = DarkopExecutor(client=client, retries=0, status=False)
    made = others.Troubled(tmp_path, "always")
    small = processor.Runner(executor, schema=NanoAODSchema, chunksize=40, metadata_cache={}, skipbadfiles=True)
    with pytest.warns(UserWarning, match=r"25 of 50 items were lost(.|\n)*and 15 more"):
        output = small({"mc": [muon_files[1], muon_files[2]]}, made, treename="Events")
    assert output["events"] == 1000
    with pytest.raises(LedgerError, match="25 of 25 items were lost"):
        small({"mc": [muon_files[1]]}, made, treename="Events")


@pytest.mark.parametrize("on_dask", [False, True])
def test_a_bug_stops_the_run_and_names_the_item(
    others: ModuleType, muon_files: tuple[str, ...], client: Client, tmp_path: Path, on_dask: Any
) -> None:
    executor = DarkopExecutor(client=client if on_dask else None, status=False)
    with pytest.raises(ChunkError, match=r"(early|late): .*\d\.root \[\d+:\d+\](.|\n)*the muon has no charge"):
        run(executor, muon_files, others.Troubled(tmp_path, "bug"))


def test_files_that_cannot_be_opened(others: ModuleType, muon_files: tuple[str, ...], client: Client) -> None:
    broken = (muon_files[0], str(Path(muon_files[0]).with_name("absent.root")), muon_files[2])
    executor = DarkopExecutor(client=client, status=False)
    started = runner(executor)
    with pytest.raises(LedgerError, match=r"1 of 3 items were lost:\n.*absent\.root"):
        started({"mc": list(broken)}, others.Dimuon(), treename="Events")
    with pytest.warns(UserWarning, match=r"absent\.root"):
        output = runner(executor, skipbadfiles=True)({"mc": list(broken)}, others.Dimuon(), treename="Events")
    assert output["cutflow"]["all events"] == 2000
    (closure,) = executor.ledger.closure()
    assert (closure.files_lost, closure.processed, closure.closed) == (1, 2000, False)


def test_files_of_a_bad_day(
    others: ModuleType,
    muon_files: tuple[str, ...],
    flaky_server: Callable[[Path], Any],
    client: Client,
    equal: Callable[[Any, Any], bool],
) -> None:
    """The Runner's own time-out holds, which over fsspec it otherwise does not."""
    server = flaky_server(Path(muon_files[0]).parent)
    server.fail("0.root", "hang", first=1)
    server.fail("1.root", "cut", kept=100, first=1, after=3)
    server.fail("2.root", "status", status=503, retry_after_s=0, first=2, after=1)
    server.fail("3.root", "corrupt", from_byte=3000, first=1, after=3)
    addresses = [server.url(f"{number}.root") for number in range(6)]
    executor = DarkopExecutor(client=client, status=False)
    output = runner(executor, xrootdtimeout=1)({"mc": addresses}, others.Bookkeeping(), treename="Events")
    local = runner(processor.IterativeExecutor(status=False, retries=0))(
        {"mc": list(muon_files)}, others.Bookkeeping(), treename="Events"
    )
    assert equal(output, local)
    assert all(closure.closed for closure in executor.ledger.closure())
    kinds = [request.fault for request in server.requests if request.fault]
    assert sorted(kinds) == ["corrupt", "cut", "hang", "status", "status"]


def test_any_function_over_any_items() -> None:
    executor = DarkopExecutor(status=False)
    assert executor(range(5), lambda item: {item % 2: item}, None) == ({0: 6, 1: 4}, 0)
    assert executor([], len, {"a": 1}) == ({"a": 1}, 0)
    merged, error = executor(range(3), lambda item: {"n": 1} if item else None, None)
    assert merged == {"n": 2}
    assert "1 of 3 items were lost" in str(error)
