"""Workers as jobs of a real SLURM on this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import as_completed
from distributed.scheduler import KilledWorker

from darkop_dist.config import Execution
from darkop_dist.errors import OutputError, RunError, UserError
from darkop_dist.execution.sites import batch, connect, jobs, open_client
from darkop_dist.execution.sites.slurm import SLURM, start


def section(folder: Path, workers: int = 1, **cluster: Any) -> Execution:
    common = {
        "queue": "short",
        "walltime": "00:05:00",
        "memory": "1 GB",
        "interface": "lo",
        "shared_directory": folder / "jobs",
    }
    return Execution.model_validate({"where": "slurm", "workers": workers, "cluster": common | cluster})


def queue(*arguments: str) -> list[str]:
    done = subprocess.run(["squeue", "-h", *arguments], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.strip()]


def wait_for_empty_queue() -> None:
    deadline = time.monotonic() + 30
    while queue("-t", "PENDING,RUNNING,CONFIGURING,SUSPENDED"):
        assert time.monotonic() < deadline, f"jobs were left behind: {queue()}"
        time.sleep(0.5)


def test_job_script(tmp_path: Path) -> None:
    """What sbatch would get; needs no SLURM."""
    execution = section(
        tmp_path, workers=8, account="atlas", cores=4, walltime="1-06:00:00", memory="12 GB", queue="long",
        job_extra=["--constraint=avx2"], env_prologue=["source /cvmfs/setup.sh"], python="/software/bin/python",
    )  # fmt: skip
    batch._make_log_directory(execution)
    with batch._credentials(execution) as security, batch.make_cluster(execution, SLURM, security) as cluster:
        script = cluster.job_script()
        (certificates,) = (tmp_path / "jobs").glob(".certificates-*")
        assert certificates.stat().st_mode & 0o077 == 0
        assert (certificates / "key.pem").stat().st_mode & 0o077 == 0
    assert not certificates.exists()
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    header = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    for line in ("-p long", "-A atlas", "--cpus-per-task=4", "--mem=12G", "-t 30:00:00", "--constraint=avx2"):
        assert f"#SBATCH {line}" in header
    *before, prologue, command = script.splitlines()
    assert "export DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL=100ms" in before
    assert prologue == "source /cvmfs/setup.sh"
    assert command.startswith("/software/bin/python -m distributed.cli.dask_worker tls://127.0.0.1:")
    assert "--nthreads 1 --memory-limit 2.79GiB --nworkers 4 --nanny" in command
    assert "--lifetime 106800s --lifetime-stagger 600s" in command
    assert f"--tls-key {certificates}/key.pem" in command


@pytest.mark.slow
def test_tasks_run_and_no_job_is_left(slurm: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with open_client(section(tmp_path, workers=2), say=said.append) as site:
        assert (site.kind, site.owned, site.restarts) == ("slurm", True, True)
        assert site.dashboard.startswith("http://127.0.0.1:")
        site.client.wait_for_workers(2, timeout=60)
        assert site.client.cluster.scheduler.allowed_failures == 0
        job_ids = site.client.run(os.getenv, "SLURM_JOB_ID")
        assert len(set(job_ids.values())) == 2
        assert {line.split()[0] for line in queue()} == set(job_ids.values())
        assert all(address.startswith("tls://127.0.0.1:") for address in job_ids)
        assert site.client.gather(site.client.map(abs, range(-20, 0))) == list(range(20, 0, -1))
    wait_for_empty_queue()
    assert list((tmp_path / "jobs").glob(".certificates-*")) == []
    assert said == []


def drive(client: Any, wanted_jobs: int) -> tuple[dict[int, int], set[str], int]:
    """Keep four tasks in flight until so many jobs have answered; gives results, jobs, and how often a task was lost.

    A worker that leaves with a task in hand is an error of that task at once: whoever submits it decides what follows.
    """
    numbers: dict[Any, int] = {}
    results: dict[int, int] = {}
    seen: set[str] = set()
    lost = 0
    completed = as_completed(loop=client.loop)

    def work(number: int) -> tuple[int, str]:  # in here, so that it travels by value: workers need not import pytest
        time.sleep(0.5)
        return number * number, os.getenv("SLURM_JOB_ID", "")

    def submit(number: int) -> None:
        future = client.submit(work, number, pure=False)
        numbers[future] = number
        completed.add(future)

    for number in range(4):
        submit(number)
    for future in completed:
        number = numbers.pop(future)
        try:
            results[number], job = future.result()
        except KilledWorker:
            lost += 1
            submit(number)
            continue
        seen.add(job)
        if len(seen) < wanted_jobs:
            submit(len(results) + len(numbers))
    return results, seen, lost


@pytest.mark.slow
def test_workers_retire_before_the_walltime_and_jobs_follow(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers share a job that takes work for twenty of its sixty seconds; then comes the next."""
    monkeypatch.setattr(jobs, "CHECK_S", 1.0)
    execution = section(tmp_path, workers=2, cores=2, walltime="00:01:00", retire_before="00:00:40")
    with open_client(execution) as site:
        results, seen, lost = drive(site.client, 2)
        assert len(site.client.cluster.worker_spec) == 1
    wait_for_empty_queue()
    assert results == {number: number * number for number in range(len(results))}
    logs = {job: (tmp_path / "jobs" / f"darkop-{job}.err").read_text() for job in seen}
    assert "Reason: worker-lifetime-reached" in logs[min(seen, key=int)]
    assert not any("DUE TO TIME LIMIT" in text for text in logs.values())
    assert lost <= 4


@pytest.mark.slow
def test_a_job_that_dies_is_submitted_again(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHECK_S", 1.0)
    with open_client(section(tmp_path)) as site:
        (first,) = site.client.run(os.getenv, "SLURM_JOB_ID").values()
        subprocess.run(["scancel", first], check=True)
        deadline = time.monotonic() + 60
        while {line.split()[0] for line in queue("-t", "RUNNING")} <= {first}:
            assert time.monotonic() < deadline, "no new job"
            time.sleep(0.5)
        assert site.client.submit(abs, -3).result(timeout=60) == 3
        assert set(site.client.run(os.getenv, "SLURM_JOB_ID").values()).isdisjoint({first})
    wait_for_empty_queue()


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_no_job_is_left_after_an_exception(slurm: Path, tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), open_client(section(tmp_path)):
        raise error
    wait_for_empty_queue()


@pytest.mark.slow
def test_no_job_is_left_after_a_signal(slurm: Path, tmp_path: Path) -> None:
    """Ctrl-C in a real process that waits for a result."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import time
            from darkop_dist.execution.sites import get_client

            if __name__ == "__main__":
                with get_client("slurm", queue="short", walltime="00:05:00", memory="1 GB", interface="lo",
                                shared_directory={str(tmp_path / "jobs")!r}) as client:
                    print("ready", flush=True)
                    client.submit(time.sleep, 300).result()
            """
        )
    )
    # A shell that starts the tests in the background has them ignore SIGINT, which children inherit.
    program = f"import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); runpy.run_path({str(script)!r}, run_name='__main__')"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in errors, process.returncode
    wait_for_empty_queue()


@pytest.mark.slow
def test_a_partition_that_does_not_exist(slurm: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"SLURM refused a job: .*[Ii]nvalid partition.*Correct execution\.cluster"),
        open_client(section(tmp_path, queue="shrt")),
    ):
        pass
    assert queue() == []


@pytest.mark.slow
def test_no_worker_within_the_time(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "SAY_EVERY_S", 3.0)
    said: list[str] = []
    message = r"no Dask worker came within 5 s \(slurm\)\. SLURM says of 2 jobs: 2 PENDING \(PartitionDown\)\. See why with squeue --me"
    with (
        pytest.raises(RunError, match=message),
        open_client(section(tmp_path, workers=2, queue="closed", wait="5 s"), say=said.append),
    ):
        pass
    assert said == ["waiting for the first worker. SLURM says of 2 jobs: 2 PENDING (PartitionDown)."]
    wait_for_empty_queue()


@pytest.mark.slow
def test_jobs_that_end_before_a_worker_comes(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHECK_S", 0.5)
    message = (
        r"\d+ jobs in a row ended before their worker connected, the last was job \d+\. Its log says: .*cannot find"
    )
    execution = section(tmp_path, env_prologue=["echo 'cannot find the environment' >&2; exit 3"])
    with pytest.raises(RunError, match=message), open_client(execution):
        pass
    wait_for_empty_queue()


def test_sbatch_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = (
        "where: slurm needs the command sbatch, which is not on this machine. Start the run on a machine that submits"
    )
    with pytest.raises(UserError, match=re.escape(message)), start(section(tmp_path)):
        pass


def test_logs_cannot_be_written(slurm: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, message in ((tmp_path / "file", "cannot be made"), (tmp_path / "a b", "path with spaces")):
        with pytest.raises(OutputError, match=message), start(section(folder)):
            pass
