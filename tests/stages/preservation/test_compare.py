"""The comparison by itself: what is bit-equal, what differs, by how much and where."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkop_dist.runs import RunDirectory
from darkop_dist.stages.preservation.compare import Finding, compare

from .conftest import MadeSearch


@pytest.fixture
def compared(made_search: MadeSearch, package: Path, tmp_path: Path) -> Callable[..., dict[str, Finding]]:
    inputs = json.loads((package / "inputs.json").read_text())

    def call(change: Callable[[RunDirectory], None], *, exact: bool = True) -> dict[str, Finding]:
        again = RunDirectory(tmp_path / "again")
        shutil.copytree(made_search.run.path, again.path, ignore=shutil.ignore_patterns("chunks", "checkpoint"))
        change(again)
        findings = compare(RunDirectory(package / "results"), again, inputs, exact=exact)
        shutil.rmtree(again.path)
        return {finding.what: finding for finding in findings}

    return call


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


def differing(found: dict[str, Finding]) -> dict[str, str]:
    return {what: finding.detail for what, finding in found.items() if not finding.agrees}


def test_the_run_itself_agrees(compared: Callable[..., dict[str, Finding]]) -> None:
    found = compared(lambda _: None)
    assert differing(found) == {}
    assert all(finding.difference == 0.0 for finding in found.values())


@pytest.mark.parametrize(
    ("name", "change", "what", "detail"),
    [
        ("cutflow.json", lambda b: b["cutflow"]["data"]["signal"][0].__setitem__(1, 5), "cutflow", "data.signal[0][1]"),
        ("calibration.json", lambda b: b.update(floor=0.5), "calibration", "1 values differ: floor"),
        ("workspace.json", lambda b: b["channels"].pop(), "workspace", "channels (0 entries instead of 1)"),
        ("inputs.json", lambda b: b["files"][2].update(bytes=1), "inputs", "other files: signal.csv"),
        ("inputs.json", lambda b: b["files"].pop(), "inputs", "other files: signal.csv"),
        ("histograms.json", lambda b: b["histograms"].pop("mu_pt"), "histogram mu_pt", "is absent now"),
        (
            "histograms.json",
            lambda b: b.update(fingerprint="0" * 64),
            "operator",
            "fingerprint 0000000000000000 instead",
        ),
    ],
)
def test_each_difference_is_named(
    compared: Callable[..., dict[str, Finding]], name: str, change: Callable[[Any], Any], what: str, detail: str
) -> None:
    found = differing(compared(lambda run: rewrite(run.path / name, change)))
    assert list(found) == [what]
    assert detail in found[what]


def test_a_last_bit_counts_unless_libraries_differ(compared: Callable[..., dict[str, Finding]]) -> None:
    def change(run: RunDirectory) -> None:
        def up(body: Any) -> None:
            row = body["histograms"]["mtt"]["storage"]["values"][0][0][0]
            row[2] = math.nextafter(row[2], math.inf)

        rewrite(run.histograms, up)

    found = compared(change)
    assert list(differing(found)) == ["histogram mtt"]
    assert 0 < found["histogram mtt"].difference < 1e-15
    assert differing(compared(change, exact=False)) == {}


def test_luminosity_is_compared(package: Path, compared: Callable[..., dict[str, Finding]]) -> None:
    dataset = {"dataset": "data", "runs": [{"run": 1, "recorded_ub": 5.0}], "repeated_files": ["local:/data.csv"]}
    body = {"schema": "darkop.lumi/1", "writer": "a", "recorded_ub": 5.0, "datasets": [dataset], "ledger_digest": "a"}
    place = package / "results" / "lumi.json"
    place.write_text(json.dumps(body))
    try:
        other = body | {"writer": "b", "datasets": [dataset | {"repeated_files": ["/home/me/data.csv"]}]}
        assert compared(lambda run: run.lumi.write_text(json.dumps(other)))["luminosity"].agrees
        found = differing(compared(lambda run: run.lumi.write_text(json.dumps(other | {"recorded_ub": 4.0}))))
        assert found == {"luminosity": "1 values differ: recorded_ub"}
        assert differing(compared(lambda _: None)) == {"luminosity": "is absent now"}
    finally:
        place.unlink()


def test_limits_have_their_own_tolerance(compared: Callable[..., dict[str, Finding]]) -> None:
    def scaled(factor: float) -> Callable[[RunDirectory], None]:
        def change(body: Any) -> None:
            limit = body["results"][0]["limit"]
            limit["observed"] *= factor
            limit["expected"][4] *= factor

        return lambda run: rewrite(run.limits, change)

    assert differing(compared(scaled(1 + 5e-7))) == {}
    found = differing(compared(scaled(1 + 5e-6)))
    assert list(found) == ["observed limit of signal", "expected limits of signal"]
    assert found["expected limits of signal"] == "1 values differ: [4]"
    absent = differing(compared(lambda run: run.limits.unlink()))
    assert set(absent.values()) == {"is absent now"}


def test_candidates_by_row_and_column(compared: Callable[..., dict[str, Finding]]) -> None:
    def fewer(run: RunDirectory) -> None:
        pq.write_table(pq.read_table(run.candidates).slice(1), run.candidates)

    def other(run: RunDirectory) -> None:
        table = pq.read_table(run.candidates)
        entry = pa.array([number + 1 for number in table["entry"].to_pylist()], pa.int64())
        pq.write_table(table.set_column(table.column_names.index("entry"), "entry", entry), run.candidates)

    assert "rows instead of" in differing(compared(fewer))["candidates"]
    assert differing(compared(other)) == {"candidates": "columns that differ: entry"}


def test_a_ledger_with_fewer_entries(compared: Callable[..., dict[str, Finding]]) -> None:
    from darkop_dist.execution import Ledger, load_ledger

    def change(run: RunDirectory) -> None:
        Ledger(load_ledger(run.ledger).entries[:2]).save(run.ledger)

    assert differing(compared(change)) == {"ledger": "signal: 0 entries instead of 2000"}
