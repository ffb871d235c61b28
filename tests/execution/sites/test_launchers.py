"""The launchers in jobs/: their shell is valid, the sections they show are accepted, and what they start runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from darkop_dist.config import Execution, check_cluster, kind_of
from darkop_dist.execution.sites import get_client

KINDS = {
    "slurm": "slurm",
    "lsf": "lsf",
    "htcondor": "htcondor",
    "gateway": "gateway",
    "kubernetes": "kubernetes",
    "scheduler": "address",
}


@pytest.mark.parametrize("name", KINDS)
def test_shell_is_valid(name: str, repository: Path) -> None:
    subprocess.run(["bash", "-n", repository / "jobs" / f"{name}.sh"], check=True)


def shown_section(path: Path) -> Any:
    """The commented YAML that begins with ``#   execution:``."""
    lines = path.read_text().splitlines()
    start = lines.index("#   execution:")
    stop = lines.index("#", start)
    return YAML(typ="safe", pure=True).load("\n".join(line.removeprefix("#   ") for line in lines[start:stop]))


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_shown_section_is_accepted(name: str, kind: str, repository: Path) -> None:
    section = shown_section(repository / "jobs" / f"{name}.sh")
    assert list(section) == ["execution"]
    execution = Execution.model_validate(section["execution"])
    assert kind_of(execution.where) == kind
    assert list(check_cluster(execution)) == []


@pytest.mark.parametrize(
    ("name", "commands"),
    [("slurm", ["sbatch"]), ("lsf", ["bsub"]), ("htcondor", ["condor_submit"]), ("gateway", []), ("kubernetes", [])],
)
def test_the_run_gets_all_arguments(name: str, commands: list[str], repository: Path, tmp_path: Path) -> None:
    """With a stand-in for darkop, with the batch system's command and without it."""
    for command, text in [("darkop", 'echo "$@"'), *((command, "exit 0") for command in commands)]:
        (tmp_path / command).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / command).chmod(0o755)
    launcher = [shutil.which("bash"), repository / "jobs" / f"{name}.sh", "a b.yml", "--resume"]
    done = subprocess.run(launcher, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout == "run a b.yml --resume\n"
    for command in commands:
        (tmp_path / command).unlink()
        done = subprocess.run(launcher, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert f"error: {command} is not on this machine" in done.stderr


@pytest.mark.slow
def test_scheduler_and_worker_by_hand(repository: Path, tmp_path: Path, running: Any, free_port: Any) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is absent: jobs/scheduler.sh makes its certificates with it")
    script = ["bash", repository / "jobs" / "scheduler.sh"]
    subprocess.run([*script, "certificates", tmp_path / "certificates"], check=True, capture_output=True)
    files = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "certificates").iterdir()}
    assert files == {"ca.pem": 0o600, "cert.pem": 0o600, "key.pem": 0o600}
    again = subprocess.run(
        [*script, "certificates", tmp_path / "certificates"], check=False, capture_output=True, text=True
    )
    assert (again.returncode, "exists: name a new folder" in again.stderr) == (2, True)

    place = f"127.0.0.1:{free_port()}"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    common = {"env": environment, "cwd": tmp_path}
    scheduler = [*script, "scheduler", "certificates", place, "--dashboard-address", "127.0.0.1:0"]
    worker = [*script, "worker", "certificates", place, "--nthreads", "1", "--memory-limit", "1GB"]
    with running(scheduler, tmp_path / "scheduler.log", **common), running(worker, tmp_path / "worker.log", **common):
        deadline = time.monotonic() + 60
        with closing(socket.socket()) as probe:
            while probe.connect_ex(("127.0.0.1", int(place.rpartition(":")[2]))):
                assert time.monotonic() < deadline, (tmp_path / "scheduler.log").read_text()
                time.sleep(0.2)
        tls = {
            "ca": tmp_path / "certificates/ca.pem",
            "cert": tmp_path / "certificates/cert.pem",
            "key": tmp_path / "certificates/key.pem",
        }
        with get_client(f"tls://{place}", tls=tls, wait="60 s") as client:
            assert client.submit(abs, -3).result() == 3
            (found,) = client.scheduler_info(n_workers=-1)["workers"].values()
            assert (found["nthreads"], found["memory_limit"]) == (1, 10**9)
