"""What a sample would take: measured on a few events, and multiplied as a reader would."""

from __future__ import annotations

import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from darkop_dist.cli import main
from darkop_dist.generation.plan import plan_parts
from darkop_dist.generation.rates import Rates, forecast, measure_rates, peak_bytes

RATES = Rates(
    100, starting_s=1.0, bare_s=0.005, whole_s=0.008, kept_bytes=500, file_bytes=300, memory_bytes=400_000_000
)


def test_a_million_events_on_paper() -> None:
    """1000 parts of 1000 events: each 1 s + 1000 * 8 ms = 9 s; 9000 s altogether, 63 parts one after the other."""
    plans = plan_parts("qcd-dijets", 1_000_000, seed=1, settings={})
    lines = {line[:16].strip(): line[17:] for line in forecast(plans, RATES, 16)}
    assert lines == {
        "sample": "1000000 events of qcd-dijets in 1000 parts of 1000",
        "measured here": "100 events on one core",
        "Pythia alone": "200 events/s",
        "with response": "125 events/s",
        "start of Pythia": "1.00 s, once a part",
        "altogether": "111.1 events/s per core",
        "core hours": "2.5",
        "wall time": "9.4 min with 16 workers, each with a core of its own",
        "file": "0.3 GB, 300 bytes per event",
        "disk": "0.8 GB until it is whole: its parts are kept too, 500 bytes per event",
        "memory": "0.40 GB for a worker, whatever the number of events",
    }


def test_rates_are_measured() -> None:
    plans = plan_parts("qcd-dijets", 1000, seed=1, settings={"mpi": "off"})
    rates = measure_rates(plans, 40)
    assert rates.events == 40
    assert all(value > 0 for value in dataclasses.astuple(rates))
    assert 50 < rates.file_bytes < 2 * rates.kept_bytes < 10_000
    assert 1e8 < rates.memory_bytes < 1.5e9


def test_memory_of_a_worker_is_its_own() -> None:
    """Also where a session that holds more, here 400 MB more than now, has started it."""
    held = np.ones(50_000_000)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        worker = pool.submit(peak_bytes).result()
    assert peak_bytes() > held.nbytes
    assert 1e7 < worker < held.nbytes


def test_the_command_plans_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["generate", "qcd-dijets", "--events", "3000", "--set", "mpi=off", "--workers", "2", "--plan"]
    monkeypatch.setattr("sys.argv", ["darkop", *arguments, "--output", str(tmp_path / "never.root")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert "3000 events of qcd-dijets in 3 parts of 1000" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
