"""Dask's performance report: written by a real cluster, and never in the way of the run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest
from distributed import Client, LocalCluster

from darkop_dist.execution.performance import saved_performance_report


def work(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def divide(numerator: int, denominator: int) -> float:
    return numerator / denominator


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Workers that die are started again, so all tests share it."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as found:
        yield found


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as found:
        found.wait_for_workers(2, timeout=30)
        yield found


def test_the_report_is_written_and_opens_without_network(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "dask-report.html"
    with saved_performance_report(client, path, command="darkop run <search>.yml"):
        assert client.gather(client.map(work, [0.01] * 7, pure=False)) == [0.01] * 7
    text = path.read_text()
    assert "number of tasks: 7" in text
    assert "darkop run &lt;search" in text.replace("&amp;", "&").replace("\\u0026", "&")
    assert re.findall(r'<script[^>]*src="([^"]*bokeh[^"]*)"', text) == []
    with pytest.raises(ValueError, match="No clients found"):
        distributed.default_client()
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("the browser chromium is not installed")
    picture = tmp_path / "report.png"
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=10000")  # fmt: skip
    command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,800",
               f"--screenshot={picture}", path.as_uri()]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    from matplotlib.image import imread

    assert (imread(picture)[:, :, :3].mean(axis=2) < 0.5).mean() > 0.003  # letters, not an empty page


def test_a_failing_run_is_reported_too(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), saved_performance_report(client, tmp_path / "r.html"):
        client.submit(divide, 1, 0, pure=False).result()
    assert "number of tasks: 1" in (tmp_path / "r.html").read_text()


def test_workers_that_die_do_not_hold_it_up(client: Client, tmp_path: Path) -> None:
    with saved_performance_report(client, tmp_path / "r.html"):
        client.submit(work, 0.01, pure=False).result()
        for pid in client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
    assert time.monotonic() - began < 45
    assert "Dask Performance Report" in (tmp_path / "r.html").read_text()


def test_a_place_that_cannot_be_written_is_said(client: Client, tmp_path: Path) -> None:
    said: list[str] = []
    with saved_performance_report(client, tmp_path / "absent" / "r.html", say=said.append):
        pass
    assert len(said) == 1
    assert "was not written (OutputError" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_a_scheduler_that_is_gone_is_said(client: Client, tmp_path: Path) -> None:
    said: list[str] = []
    with saved_performance_report(client, tmp_path / "r.html", say=said.append):
        client.close()
    assert said == ["the Dask performance report was not written: the scheduler is gone"]


def test_nothing_is_written_after_an_interruption(client: Client, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), saved_performance_report(client, tmp_path / "r.html"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
