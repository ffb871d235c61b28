"""What a server gives is told apart by its content: no result is taken for that of a file which has changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.config import DatasetRecord
from darkop_dist.config.access import Access
from darkop_dist.events.files import forget, open_file
from darkop_dist.execution import DatasetFiles, Execution, Task, execute, plan_chunks

TABLES = DatasetRecord(name="mc", kind="simulation", format="flat", files=("x",))
TREES = DatasetRecord(name="mc", kind="simulation", files=("x",))


class Sums:
    """Adds up a column."""

    def process(self, events: ak.Array) -> dict[str, Any]:
        return {"x": float(np.sum(np.asarray(events.x)))}


@pytest.fixture
def server(tmp_path: Path, flaky_server: Callable[[Path], Any]) -> Any:
    (tmp_path / "served").mkdir()
    return flaky_server(tmp_path / "served")


def planned(record: DatasetRecord, *copies: str) -> tuple[Task, ...]:
    datasets = [DatasetFiles(record, copies[:1], {copies[0]: copies[1:]})]
    return tuple(Task(chunk, record, 0, None) for chunk in plan_chunks(datasets, chunk_events=100, whole_files=False))


def run(tasks: tuple[Task, ...], store: Path) -> Execution:
    return execute(tasks, Sums(), store=store)


def states(found: Execution) -> list[tuple[str, str]]:
    return [(entry.status, entry.reason) for entry in found.ledger.entries]


def test_a_table_that_changed_on_its_server_is_read_again(server: Any, tmp_path: Path) -> None:
    table = server.folder / "a.csv"
    table.write_text("x\n1\n2\n")
    url = server.url("a.csv")
    assert run(planned(TABLES, url), tmp_path / "chunks").output == {"x": 3.0}
    stat = table.stat()
    table.write_text("x\n1\n7\n")
    assert table.stat().st_size == stat.st_size
    tasks = planned(TABLES, url)
    assert run(tasks, tmp_path / "chunks").output == {"x": 8.0}
    assert tasks[0].chunk.bytes == stat.st_size


def test_a_table_that_changes_after_the_plan_is_not_taken_for_the_planned_one(server: Any, tmp_path: Path) -> None:
    table = server.folder / "a.csv"
    table.write_text("x\n1\n2\n")
    tasks = planned(TABLES, server.url("a.csv"))
    table.write_text("x\n1\n7\n")
    assert states(run(tasks, tmp_path / "chunks")) == [("failed", "is not the file that was planned")]


def test_a_replica_of_a_table_must_hold_the_same(server: Any, tmp_path: Path) -> None:
    for name, content in (("a.csv", "x\n1\n2\n"), ("b.csv", "x\n1\n7\n"), ("c.csv", "x\n1\n2\n")):
        (server.folder / name).write_text(content)
    tasks = planned(TABLES, *(server.url(name) for name in ("a.csv", "b.csv", "c.csv")))
    (server.folder / "a.csv").write_text("x\n1\n5\n")
    found = run(tasks, tmp_path / "chunks")
    assert found.output == {"x": 3.0}
    assert states(found)[0][0] == "retried"
    assert found.ledger.entries[0].file == server.url("c.csv")


def test_a_file_that_changed_on_its_server_while_it_was_held_open(server: Any, tmp_path: Path) -> None:
    url = server.url("a.root")
    for value in (1.0, 2.0):
        with uproot.recreate(server.folder / "a.root") as file:
            file["Events"] = {"x": np.full(50, value), "genWeight": np.ones(50)}
        found = run(planned(TREES, url), tmp_path / "chunks")  # the handle of the first run is held in the second
        assert states(found) == [("done", "")]
        assert found.output == {"x": 50 * value}
    forget()


@pytest.mark.parametrize("name", ["a.root", "DAOD_PHYSLITE.1._000001.pool.root.1"])
def test_a_file_that_changes_while_it_is_read(name: str, server: Any, tmp_path: Path) -> None:
    def write(value: float) -> None:
        with uproot.recreate(tmp_path / "new.root") as file:
            file["Events"] = {"x": np.full(50, value), "genWeight": np.ones(50)}
        (tmp_path / "new.root").replace(server.folder / name)

    class Changing(Sums):
        def process(self, events: ak.Array) -> dict[str, Any]:
            found = super().process(events)
            write(2.0)
            return found

    write(1.0)
    found = execute(planned(TREES, server.url(name)), Changing(), store=tmp_path / "chunks")
    assert states(found) == [("failed", "changed on the server while it was read")]
    forget()


def test_sections_are_read_as_the_events_are(server: Any, tmp_path: Path) -> None:
    """With another access the file would be opened anew, at an S3 service without the document's endpoint."""
    url, access, held = server.url("a.root"), Access(timeout_s=7.0), []
    with uproot.recreate(server.folder / "a.root") as file:
        file["Events"] = {"x": np.ones(5), "run": np.full(5, 7, "u4"), "luminosityBlock": np.arange(5, dtype="u4")}
        file["LuminosityBlocks"] = {"run": np.full(6, 7, "u4"), "luminosityBlock": np.arange(6, dtype="u4")}

    class Noting(Sums):
        def process(self, events: ak.Array) -> dict[str, Any]:
            held.append(open_file(url, access))
            return super().process(events)

    record = TREES.model_copy(update={"kind": "data"})
    chunks = plan_chunks([DatasetFiles(record, (url,), access=access)], chunk_events=100, whole_files=False)
    found = execute([Task(chunks[0], record, 0, None, access=access)], Noting(), store=tmp_path / "chunks")
    assert found.ledger.entries[0].sections == {"7": [[0, 1, 1, 1, 1, 1, 0]]}
    assert open_file(url, access) is held[0]
    forget()


def test_an_address_of_a_local_table(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("x\n1\n2\n")
    first = planned(TABLES, f"file://{table}")
    assert first[0].chunk.bytes == table.stat().st_size
    table.write_text("x\n1\n2\n3\n")
    assert planned(TABLES, f"file://{table}")[0].chunk.identity != first[0].chunk.identity
