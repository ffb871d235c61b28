"""What HTCondor and LSF would be given, and stand-ins for their commands that run it.

Neither is in Debian, so nothing here proves that a real schedd or LSF takes the jobs; the stand-ins prove that what is
submitted is complete (it starts workers that connect and compute) and that everything submitted is cancelled.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from darkop_dist.config import Execution
from darkop_dist.errors import UserError
from darkop_dist.execution.sites import batch, open_client
from darkop_dist.execution.sites.htcondor import HTCONDOR, _states
from darkop_dist.execution.sites.lsf import LSF


def section(where: str, folder: Path, **cluster: Any) -> Execution:
    common = {"memory": "2 GB", "shared_directory": folder / "jobs", "interface": "lo"}
    return Execution.model_validate({"where": where, "workers": 2, "cluster": common | cluster})


def script_of(execution: Execution, system: batch.BatchSystem) -> str:
    batch._make_log_directory(execution)
    with batch._credentials(execution) as security, batch.make_cluster(execution, system, security) as cluster:
        return str(cluster.job_script())


def test_htcondor_submit_file(tmp_path: Path) -> None:
    execution = section(
        "htcondor", tmp_path, disk="1 GB", cores=2, walltime="3 h", account="group_u_CMS", local_directory="/scratch",
        env_prologue=["source /cvmfs/setup.sh"], job_extra=['+JobFlavour = "longlunch"', 'requirements = (Arch == "X86_64")'],
    )  # fmt: skip
    script = script_of(execution, HTCONDOR)
    lines = dict(line.split(" = ", maxsplit=1) for line in script.splitlines() if " = " in line)
    assert lines["+MaxRuntime"] == "10800"
    assert lines["accounting_group"] == "group_u_CMS"
    assert lines["+JobFlavour"] == '"longlunch"'
    assert lines["requirements"] == '(Arch == "X86_64")'
    assert (lines["MY.DaskWorkerCores"], lines["MY.DaskWorkerMemory"]) == ("2", "2000000000")
    assert lines["MY.DaskWorkerDisk"] == "1000000000"
    assert lines["Executable"] == "/bin/sh"
    arguments = lines["Arguments"]
    assert arguments.startswith("\"-c 'export DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL=100ms; ")
    assert "; source /cvmfs/setup.sh; " in arguments
    assert "--nthreads 1 --memory-limit 0.93GiB --nworkers 2 --nanny" in arguments
    assert "--local-directory /scratch --lifetime 9747s --lifetime-stagger 513s" in arguments
    assert script.rstrip().endswith("Queue")


def test_lsf_script(tmp_path: Path) -> None:
    execution = section(
        "lsf", tmp_path, walltime="90 min", account="atlas", queue="long", cores=4, job_extra=["-R avx2"]
    )
    script = script_of(execution, LSF)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    header = [line for line in script.splitlines() if line.startswith("#BSUB")]
    for line in ("-q long", '-P "atlas"', "-n 4", '-R "span[hosts=1]"', "-W 01:30", "-R avx2"):
        assert f"#BSUB {line}" in header
    assert "--nworkers 4 --nanny --death-timeout 60 --lifetime 4874s --lifetime-stagger 256s" in script


STAND_IN = '''#!{python}
"""Runs jobs at once, each in a session of its own; {folder}/ID holds the process id."""
import os, pathlib, re, shlex, signal, subprocess, sys
folder, me = pathlib.Path({folder!r}), pathlib.Path(sys.argv[0]).name
def take(number):
    try:
        return os.close(os.open(folder.parent / f"taken-{{number}}", os.O_CREAT | os.O_EXCL)) is None
    except FileExistsError:
        return False
def start(command):
    number = 1
    while not take(number):
        number += 1
    with open({folder!r} + f"-{{number}}.log", "w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    (folder / str(number)).write_text(str(process.pid))
    return number
def alive():
    for path in folder.iterdir():
        stat = pathlib.Path("/proc", path.read_text(), "stat")
        if stat.exists() and ") Z" not in stat.read_text():
            yield path.name
def end(name):
    if name in list(alive()):
        os.killpg(int((folder / name).read_text()), signal.SIGTERM)
if me == "condor_submit":
    lines = dict(line.split(" = ", 1) for line in open(sys.argv[1]) if " = " in line)
    quoted = lines["Arguments"].strip()[1:-1].replace('""', '"')
    flag, script = re.fullmatch(r"(-c) '(.*)'", quoted).groups()
    print(f"1 job(s) submitted to cluster {{start([lines['Executable'].strip(), flag, script.replace(chr(39) * 2, chr(39))])}}.")
elif me == "condor_q":
    print("".join(f"{{name}}, 0, 2, undefined\\n" for name in alive()), end="")
elif me == "condor_rm":
    end(sys.argv[1].partition(".")[0])
elif me == "bsub":
    script = folder.parent / f"script-{{os.getpid()}}.sh"
    script.write_text(sys.stdin.read())
    print(f"Job <{{start(['bash', str(script)])}}> is submitted to default queue <normal>.")
elif me == "bjobs":
    print("".join(f"{{name}} RUN\\n" for name in alive()), end="")
    if not list(alive()):
        sys.exit("No unfinished job found")
elif me == "bkill":
    end(sys.argv[1])
'''


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "commands", "settings"),
    [
        (
            "htcondor",
            ("condor_submit", "condor_q", "condor_rm"),
            {"disk": "1 GB", "env_prologue": ["export PLACE='a b'"]},
        ),
        ("lsf", ("bsub", "bjobs", "bkill"), {"walltime": "1 h", "env_prologue": ["export PLACE='a b'"]}),
    ],
)
def test_what_is_submitted_runs_and_is_cancelled(
    where: str, commands: tuple[str, ...], settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "running").mkdir()
    for command in commands:
        path = tmp_path / "bin" / command
        path.write_text(STAND_IN.format(python=sys.executable, folder=str(tmp_path / "running")))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with open_client(section(where, tmp_path, **settings)) as site:
        site.client.wait_for_workers(2, timeout=90)
        assert set(site.client.run(os.getenv, "PLACE").values()) == {"a b"}
        assert site.client.gather(site.client.map(abs, range(-9, 0))) == list(range(9, 0, -1))
        pids = [int(path.read_text()) for path in (tmp_path / "running").iterdir()]
        assert len(pids) == 2
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        assert time.monotonic() < deadline, "a job was left behind"
        time.sleep(0.2)


def test_states_of_htcondor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As condor_q writes them: waiting, running, held with a reason that has commas, ended."""
    answer = "7, 0, 1, undefined\n8, 0, 2, undefined\n9, 0, 5, Error from slot1: memory 3 GB, limit 2 GB\n10, 0, 4, undefined\n"
    (tmp_path / "condor_q").write_text(f"#!/bin/sh\ncat <<'END'\n{answer}END\n")
    (tmp_path / "condor_q").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert _states() == {"7.0": "IDLE", "8.0": "RUNNING", "9.0": "HELD (Error from slot1: memory 3 GB, limit 2 GB)"}


@pytest.mark.parametrize(("where", "command"), [("htcondor", "condor_submit"), ("lsf", "bsub")])
def test_commands_are_absent(where: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = {"disk": "1 GB"} if where == "htcondor" else {"walltime": "1 h"}
    with pytest.raises(UserError, match=f"where: {where} needs the command {command}, which is not on this machine"):
        open_client(section(where, tmp_path, **settings)).__enter__()
