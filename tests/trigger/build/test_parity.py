"""One score in every way: what must be equal is, and what is not is seen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("da4ml")
from level1_events import checkpoint_of, made_up, random_inputs, random_network

from darkop_dist.errors import InputValueError, OutputError, StatisticsError
from darkop_dist.operators.checkpoint import save_checkpoint
from darkop_dist.trigger.build import parity
from darkop_dist.trigger.build.parity import ParityTable, parity_table
from darkop_dist.trigger.conditions import find_conditions
from darkop_dist.trigger.distil import Yardstick
from darkop_dist.trigger.sample import write_sample

NETWORK = random_network(2, (3, 2))
YARDSTICK = Yardstick(
    made_up(random_inputs(3000, 3)),
    {"one": made_up(random_inputs(300, 4), kind="signal")},
    find_conditions("run2-2018", 2.0033e34),  # 56 collisions, as the made-up samples have
    1e7,
)
needs_verilator = pytest.mark.skipif(shutil.which("verilator") is None, reason="verilator is not installed")


@pytest.fixture(name="no_verilator")
def no_verilator_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulations of Verilog and of C++ have their own tests and take 15 s each."""
    monkeypatch.setattr(parity, "simulate", lambda _, inputs: NETWORK.score(inputs))
    monkeypatch.setattr(parity, "simulate_project", lambda network, inputs, _: network.score(inputs))


@needs_verilator
@pytest.mark.slow
def test_every_way_gives_the_same_bits(tmp_path: Path) -> None:
    teacher = checkpoint_of(random_network(6, (8, 4)), "teacher")
    table = parity_table(checkpoint_of(NETWORK), YARDSTICK, tmp_path / "p", teacher=teacher)
    assert table.holds
    exact = [row for row in table.rows if row.exact]
    assert [row.way for row in exact] == [
        "fixed point, in the process (numpy)", "fixed point, torch", "emulator of the circuit (da4ml)",
        "C simulation (hls4ml for Vitis, g++)", "Verilog (Verilator)",
    ]  # fmt: skip
    assert {row.events for row in table.rows} == {3300}
    assert len({(row.threshold, row.efficiency["one"]) for row in exact}) == 1
    cut = exact[0].threshold
    assert exact[0].efficiency["one"] == np.mean(NETWORK.score(YARDSTICK.signals["one"].inputs) >= cut)
    others = [row for row in table.rows if not row.exact]
    assert [row.way for row in others] == ["full operator, torch float32", "same weights, torch float32, nothing cut"]
    assert all(row.different > 0 for row in others)
    assert ParityTable.model_validate(json.loads((tmp_path / "p" / "parity.json").read_text())) == table


@pytest.mark.usefixtures("no_verilator")
def test_a_way_that_differs_is_seen(tmp_path: Path) -> None:
    def off_by_one(inputs: Any) -> Any:
        found = NETWORK.score(inputs).copy()
        found[7] += 1
        return found

    table = parity_table(checkpoint_of(NETWORK), YARDSTICK, tmp_path / "p", more=nullcontext({"a pool": off_by_one}))
    assert not table.holds
    assert {row.way: row.different for row in table.rows if row.exact}["a pool"] == 1
    signal = replace(YARDSTICK, zero_bias=YARDSTICK.signals["one"])
    with pytest.raises(InputValueError, match="a rate needs zero bias"):
        parity_table(checkpoint_of(NETWORK), signal, tmp_path / "q")
    with pytest.raises(StatisticsError, match="cannot say which score gives 1 Hz"):
        parity_table(checkpoint_of(NETWORK), replace(YARDSTICK, rate_hz=1.0), tmp_path / "q")
    assert not (tmp_path / "q").exists(), "refused before anything is written"
    with pytest.raises(OutputError, match="not empty"):
        parity_table(checkpoint_of(NETWORK), YARDSTICK, tmp_path / "p")


@needs_verilator
@pytest.mark.slow
def test_the_command_with_a_pool(tmp_path: Path) -> None:
    save_checkpoint(checkpoint_of(NETWORK), tmp_path / "toy")
    write_sample(YARDSTICK.zero_bias, tmp_path / "zero.parquet")
    write_sample(YARDSTICK.signals["one"], tmp_path / "one.parquet")
    words = (
        "trigger", "parity", "toy", "--sample", "zero.parquet", "--signal", "one.parquet", "--output", "p",
        "--rate", "1e7", "--luminosity", "2.0033e34",
    )  # fmt: skip
    command = [sys.executable, "-c", "from darkop_dist.cli.app import main; main()", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "served by a pool, Ray: 0 of 3300 scores differ" in done.stdout
    assert "served by a pool, HTTP: 0 of 3300 scores differ" in done.stdout
    assert "need not be equal" in done.stdout
    assert "INFO" not in done.stderr, "what Serve tells of every step"
    assert "Traceback" not in done.stderr
