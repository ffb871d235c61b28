"""A sample is the same wherever its parts are made, and whatever happens to those who make them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import pytest
import uproot

pytest.importorskip("pythia8mc", reason="the extra 'generation' is not installed")

from distributed import Client, LocalCluster

from darkop_dist.config import Execution
from darkop_dist.errors import DocumentError, InputValueError, OutputError, RunError
from darkop_dist.execution.dask_backend import DaskBackend
from darkop_dist.execution.parts import PartDone, PartsWatch, run_part
from darkop_dist.generation import GeneratedSample, generate, plan
from darkop_dist.generation.packing import makers_digest, pack_part, part_key, unpack_part
from darkop_dist.generation.part import make_part
from darkop_dist.generation.plan import plan_parts
from darkop_dist.stages.generation import execution_settings, kept_parts, parts_directory

EVENTS, PER_PART = 24, 4
TWO = Execution(workers=2)
FAST: dict[str, float | int | str] = {"mpi": "off"}
SCRIPT = f"""
import sys
from pathlib import Path
from darkop_dist.generation import generate, plan
from darkop_dist.stages.generation import kept_parts
plan.EVENTS_PER_PART = {PER_PART}
output = Path(sys.argv[1])
with kept_parts(output) as make_parts:
    generate("qcd-dijets", {EVENTS}, output, seed=4, settings={FAST}, make_parts=make_parts)
"""


class Stopped(Exception):  # noqa: N818
    """Ends a generation in its middle."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "EVENTS_PER_PART", PER_PART)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ak.Array, ak.Array]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "EVENTS_PER_PART", PER_PART)
        file = tmp_path_factory.mktemp("undisturbed") / "events.root"
        generate("qcd-dijets", EVENTS, file, seed=4, settings=FAST)
    return content(file)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as found,
    ):
        yield found


def content(file: Path) -> tuple[ak.Array, ak.Array]:
    """All columns of the events, and of the sums of weights."""
    with uproot.open(file) as opened:
        return opened["Events"].arrays(), opened["Runs"].arrays()


def same(file: Path, expected: tuple[ak.Array, ak.Array]) -> bool:
    """Equal types and equal numbers, to the last bit."""
    return all(ak.array_equal(*pair, check_parameters=False) for pair in zip(content(file), expected, strict=True))


def make(
    output: Path,
    on: Execution | None = None,
    *,
    seed: int = 4,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> GeneratedSample:
    with kept_parts(output, on or Execution(), **options) as make_parts:
        return generate(
            "qcd-dijets", EVENTS, output, seed=seed, settings=FAST, make_parts=make_parts, progress=progress
        )


def stop_after(events: int) -> Callable[[int], None]:
    def progress(done: int) -> None:
        if done >= events:
            raise Stopped

    return progress


def stopped(output: Path, events: int = 12) -> None:
    """Leave the parts of a generation that did not end."""
    with pytest.raises(Stopped):
        make(output, progress=stop_after(events))
    assert not output.exists()


@pytest.mark.slow
def test_it_is_the_same_in_one_process_in_two_and_on_dask(
    tmp_path: Path, undisturbed: tuple[ak.Array, ak.Array], client: Client
) -> None:
    here, two, dask = (tmp_path / f"{name}.root" for name in ("here", "two", "dask"))
    first = make(here)
    second, third = make(two, TWO), make(dask, client=client)
    for file in (here, two, dask):
        assert same(file, undisturbed)
    assert (
        (first.xsec_pb, first.sum_weights) == (second.xsec_pb, second.sum_weights) == (third.xsec_pb, third.sum_weights)
    )
    assert sorted(tmp_path.iterdir()) == sorted([here, two, dask])  # and no parts


def test_workers_that_do_not_see_the_parts_send_them(
    tmp_path: Path, undisturbed: tuple[ak.Array, ak.Array], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DaskBackend, "_workers_see", lambda *_: False)
    make(tmp_path / "events.root", client=client)
    assert same(tmp_path / "events.root", undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("on", ["processes", "dask"])
def test_it_goes_on_after_a_kill(
    on: str, tmp_path: Path, undisturbed: tuple[ak.Array, ak.Array], client: Client
) -> None:
    output, seen = tmp_path / "events.root", list[PartDone]()
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(output)]) as process:
        until = time.monotonic() + 60
        while len(list(parts_directory(output).glob("parts/*/[0-9a-f]*"))) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not output.exists()
    with pytest.raises(OutputError, match=r"parts of an unfinished sample are kept .* --resume goes on with them"):
        make(output)
    make(output, TWO, resume=True, watch=PartsWatch(done=seen.append), client=client if on == "dask" else None)
    assert same(output, undisturbed)
    assert 2 <= sum(part.kept for part in seen) < EVENTS // PER_PART == len(seen)
    assert not parts_directory(output).exists()
    leftover = [path for path in tmp_path.iterdir() if ".partial-" not in path.name]  # a killed process cannot tidy up
    assert leftover == [output]


def test_a_dask_worker_that_is_killed_loses_nothing(
    tmp_path: Path, undisturbed: tuple[ak.Array, ak.Array], client: Client
) -> None:
    victims, seen = list(client.run(os.getpid).values())[:1], list[int]()

    def done(part: PartDone) -> None:
        seen.append(part.index)
        while victims:
            os.kill(victims.pop(), signal.SIGKILL)

    make(tmp_path / "events.root", client=client, watch=PartsWatch(done=done))
    assert same(tmp_path / "events.root", undisturbed)
    assert sorted(seen) == list(range(EVENTS // PER_PART))


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced(tmp_path: Path, undisturbed: tuple[ak.Array, ak.Array]) -> None:
    said: list[str] = []
    killed: list[multiprocessing.process.BaseProcess] = []
    others = set(multiprocessing.active_children())  # of other tests: workers of Dask

    def done(_part: PartDone) -> None:
        if not killed:
            killed.append(next(child for child in multiprocessing.active_children() if child not in others))
            killed[0].kill()

    make(tmp_path / "events.root", TWO, watch=PartsWatch(done=done, say=said.append))
    assert same(tmp_path / "events.root", undisturbed)
    assert any("is tried again: the worker died" in text for text in said)


def test_parts_of_another_request_are_never_used(tmp_path: Path, undisturbed: tuple[ak.Array, ak.Array]) -> None:
    output, seen = tmp_path / "events.root", list[PartDone]()
    with pytest.raises(Stopped):
        make(output, seed=5, progress=stop_after(12))
    make(output, resume=True, watch=PartsWatch(done=seen.append))
    assert not any(part.kept for part in seen)
    assert same(output, undisturbed)


def test_a_key_holds_all_that_decides_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = plan_parts("qcd-dijets", 2 * PER_PART, seed=4, settings=FAST)
    changed = [
        second,
        replace(first, events=3),
        replace(first, lines=(*first.lines, "HadronLevel:all = off")),
        replace(first, measurement=replace(first.measurement, response="other")),
        *plan_parts("qcd-dijets", PER_PART, seed=5, settings=FAST),
    ]
    keys = {part_key(part) for part in (first, *changed)}
    assert len(keys) == 1 + len(changed)
    monkeypatch.setattr("darkop_dist.generation.packing.makers_digest", lambda: "of other code")
    assert part_key(first) not in keys


def test_a_damaged_part_is_made_again(tmp_path: Path, undisturbed: tuple[ak.Array, ak.Array]) -> None:
    output, seen = tmp_path / "events.root", list[PartDone]()
    stopped(output)
    parts = sorted(parts_directory(output).glob("parts/*/[0-9a-f]*"))
    whole = parts[0].read_bytes()
    parts[0].write_bytes(whole[:500] + bytes(50) + whole[550:])
    parts[1].write_bytes(b"")
    make(output, resume=True, watch=PartsWatch(done=seen.append))
    assert same(output, undisturbed)
    assert sum(part.kept for part in seen) == len(parts) - 2


def test_force_begins_anew(tmp_path: Path, undisturbed: tuple[ak.Array, ak.Array]) -> None:
    output, seen = tmp_path / "events.root", list[PartDone]()
    stopped(output)
    make(output, force=True, watch=PartsWatch(done=seen.append))
    assert not any(part.kept for part in seen)
    assert same(output, undisturbed)


def test_an_error_says_which_part_and_what_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "events.root"
    stopped(output)
    hanging = Execution(retries=1, chunk_timeout_s=0.01)
    with pytest.raises(
        RunError, match=r"part \d+ of 6 of qcd-dijets failed 2 times: .*hung: not done after 0.01 s"
    ) as caught:
        make(output, hanging, resume=True)
    assert caught.value.__notes__ == [
        "The parts that are made are kept: --resume goes on with them, --force begins anew."
    ]
    assert parts_directory(output).exists()


@pytest.mark.parametrize("on", [Execution(), TWO])
def test_an_error_of_the_first_part_leaves_nothing(on: Execution, tmp_path: Path) -> None:
    output = tmp_path / "events.root"
    bad: dict[str, float | int | str] = {"mediator_mass": 100, "dm_mass": 80}
    with (
        pytest.raises(InputValueError, match="does not decay to dark matter") as caught,
        kept_parts(output, on) as parts,
    ):
        generate("monojet-dm", EVENTS, output, seed=1, settings=bad, make_parts=parts)
    assert caught.value.__notes__[0].startswith("in part ")
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_write_one_sample(tmp_path: Path) -> None:
    with (
        kept_parts(tmp_path / "events.root"),
        pytest.raises(OutputError, match="another run is writing"),
        kept_parts(tmp_path / "events.root", resume=True),
    ):
        pytest.fail("both write")


def test_a_worker_with_other_software_is_refused() -> None:
    (part,) = plan_parts("qcd-dijets", PER_PART, seed=4, settings=FAST)
    with pytest.raises(RunError, match="another version of darkop-dist, Pythia, fastjet, numpy or awkward"):
        run_part(None, part, "key", None, "", "other", None)


def test_packing_keeps_every_column_to_the_last_bit() -> None:
    (planned,) = plan_parts("qcd-dijets", PER_PART, seed=4, settings=FAST)
    part = make_part(planned)
    part.columns["nested"] = ak.Array([[{"flags": [1, 2], "pt": 0.1}]] * 3 + [[]])
    part.columns["flag"] = ak.to_numpy(part.columns["genWeight"]) > 0
    packed = pack_part(part)
    again = unpack_part(packed.header, packed.data)
    assert again.normalisation == part.normalisation
    assert list(again.columns) == list(part.columns)
    for name, column in part.columns.items():
        assert ak.array_equal(again.columns[name], column, dtype_exact=True), name
    assert len(makers_digest()) == 64


def test_settings_that_make_no_sense_are_named() -> None:
    with pytest.raises(DocumentError, match=r"where: must be 'local', 'dask'.*\(found moon\)"):
        execution_settings("moon", 1, {})
    with pytest.raises(DocumentError, match="workers"):
        execution_settings("local", 0, {})
    with pytest.raises(DocumentError, match=r"cluster.*memry.*did you mean 'memory'"):
        execution_settings("dask", 1, {"memry": "2 GB"})
