"""Workers on this machine, and the public function that gives a client of any kind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dask.config
import psutil
import pytest
from distributed.scheduler import KilledWorker

import darkop_dist as do
from darkop_dist.config import Execution
from darkop_dist.errors import DocumentError, MissingExtraError
from darkop_dist.execution.sites import open_client


def own_processes() -> set[int]:
    return {
        child.pid
        for child in psutil.Process().children(recursive=True)
        if "resource_tracker" not in child.cmdline()[-1]
    }


@pytest.mark.slow
def test_workers_live_as_long_as_the_context(tmp_path: Path) -> None:
    before = own_processes()
    section = {"where": "dask", "workers": 2, "cluster": {"memory": "1 GB", "local_directory": tmp_path}}

    def interrupted() -> None:
        with open_client(Execution.model_validate(section)) as site:
            assert (site.kind, site.owned, site.restarts) == ("dask", True, True)
            workers = site.client.scheduler_info(n_workers=-1)["workers"]
            assert [worker["memory_limit"] for worker in workers.values()] == [10**9, 10**9]
            assert all(address.startswith("tcp://127.0.0.1:") for address in workers)
            assert all(worker["local_directory"].startswith(str(tmp_path)) for worker in workers.values())
            assert site.dashboard.startswith("http://127.0.0.1:")
            assert len(own_processes() - before) >= 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert own_processes() - before == set()


@pytest.mark.slow
def test_a_killed_worker_is_an_error_at_once_and_is_replaced() -> None:
    """The caller decides about the next attempt: Dask tries nothing again by itself."""
    with do.get_client("local") as client:
        (pid,) = client.run(os.getpid).values()
        future = client.submit(lambda: os.kill(os.getpid(), signal.SIGKILL), pure=False)
        with pytest.raises(KilledWorker):
            future.result(timeout=60)
        client.wait_for_workers(1, timeout=60)
        assert client.submit(os.getpid, pure=False).result(timeout=60) != pid


@pytest.mark.slow
def test_a_worker_that_takes_long_to_come_back_is_waited_for() -> None:
    """On a busy machine a new process takes longer than Dask waits before it gives a lost worker up for good."""
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "0.1s"}),
        open_client(Execution(where="dask", workers=1)) as site,
    ):
        (first,) = site.client.run(os.getpid).values()
        os.kill(first, signal.SIGKILL)
        while psutil.pid_exists(first) and site.client.nthreads():
            time.sleep(0.05)
        site.client.wait_for_workers(1, timeout=60)
        assert list(site.client.run(os.getpid).values()) != [first]


def test_closing_the_client_ends_its_cluster() -> None:
    before = own_processes()
    client = do.get_client(workers=1)
    assert client.submit(abs, -3).result() == 3
    client.close()
    client.close()
    assert own_processes() - before == set()


@pytest.mark.slow
def test_a_client_that_nobody_closes_ends_with_the_process(tmp_path: Path) -> None:
    script = tmp_path / "notebook.py"
    script.write_text(
        "import darkop_dist as do\n"
        "if __name__ == '__main__':\n"
        "    client = do.get_client(workers=1)\n"
        "    import os\n"
        "    print(*client.run(os.getpid).values())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=120)
    assert "Traceback" not in done.stderr
    deadline = time.monotonic() + 20
    while psutil.pid_exists(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


MISTAKES = [
    ("slrm", {}, "where: must be 'local', 'dask', 'dask://HOST:PORT'", "did you mean 'slurm'?"),
    ("dask", {"workers": 0}, "workers: must be at least 1 (found 0)", ""),
    ("slurm", {"walltim": "1 h"}, "cluster.walltim: unknown key", "did you mean 'walltime'"),
    (
        "slurm",
        {"walltime": "soon", "memory": "1 GB"},
        "cluster.walltime: must be a time such as '02:00:00'",
        "(found soon)",
    ),
    ("slurm", {"walltime": "1 h"}, "cluster: where: slurm needs the key memory", ""),
    ("dask", {"queue": "short"}, "cluster.queue: where: dask has no use for this key", ""),
]


@pytest.mark.parametrize(("where", "settings", "message", "hint"), MISTAKES)
def test_mistakes(where: str, settings: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(message)) as caught:
        do.get_client(where, **settings)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("where", "settings", "module", "extra"),
    [
        ("dask", {}, "distributed", "execution"),
        ("slurm", {"walltime": "1 h", "memory": "1 GB"}, "dask_jobqueue", "sites"),
        ("lsf", {"walltime": "1 h", "memory": "1 GB"}, "cryptography", "sites"),
        ("gateway", {}, "dask_gateway", "sites"),
        ("kubernetes", {"image": "a"}, "dask_kubernetes", "sites"),
    ],
)
def test_a_missing_extra(
    where: str, settings: dict[str, Any], module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("sbatch", "squeue", "scancel", "bsub", "bjobs", "bkill"):
        (tmp_path / command).write_text("#!/bin/sh\n")
        (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    for name in {module, *(name for name in sys.modules if name.startswith(f"{module}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingExtraError,
        match=re.escape(f"{module!r}, which is not installed. Run: pip install 'darkop-dist[{extra}]'"),
    ):
        do.get_client(where, **settings)
