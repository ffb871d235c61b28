"""Real sites on this machine: SLURM, dask-gateway, schedulers and workers by hand. Each fixture ends what it starts."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from darkop_dist.scoring.pool import head


def free_port() -> int:
    return head.free_port("127.0.0.1", 0, "another port")


@contextmanager
def running(command: Sequence[str | Path], log: Path, **keywords: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, ended with all its children when the context ends."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(map(str, command)), stdout=stream, stderr=stream, start_new_session=True, **keywords
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it left in its own session


def wait_until(true: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)


@pytest.fixture(name="running", scope="session")
def running_fixture() -> Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]:
    return running


@pytest.fixture(name="free_port", scope="session")
def free_port_fixture() -> Callable[[], int]:
    return free_port


SLURM_CONF = """
ClusterName=darkop
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
CommunicationParameters=NoInAddrAny
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2,batch_sched_delay=0
KillWait=5
MinJobAge=10
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=60 State=UP
PartitionName=closed Nodes={host} MaxTime=60 State=DOWN
"""
SLURM_PARTS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A SLURM with one node of four cores, with its own munge, ports and folder; SLURM_CONF leads to it."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    absent = [part for part in SLURM_PARTS if shutil.which(part, path=path) is None]
    if absent:
        pytest.skip(f"{absent[0]} is absent: the tests of SLURM need Debian's slurm-wlm and munge")
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    (folder / "key").write_bytes(secrets.token_bytes(128))
    (folder / "key").chmod(0o400)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    conf = folder / "slurm.conf"
    conf.write_text(
        SLURM_CONF.format(
            host=socket.gethostname().partition(".")[0],
            user=pwd.getpwuid(os.getuid()).pw_name,
            folder=folder,
            port=free_port(),
            node_port=free_port(),
        )
    )
    munged = ["munged", "--foreground", "--force", "--num-threads=2", f"--key-file={folder}/key"]
    munged += [f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid"]
    munged += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        patch.setenv("SLURM_CONF", str(conf))
        stack.enter_context(running(munged, folder / "munged.out"))
        wait_until((folder / "munge.socket").exists, "munged opens its socket")
        for daemon in ("slurmctld", "slurmd"):
            stack.enter_context(running([daemon, "-D", "-f", conf], folder / f"{daemon}.out"))

        def idle() -> bool:
            done = subprocess.run(
                ["sinfo", "-h", "-p", "short", "-o", "%t"], capture_output=True, text=True, check=False
            )
            return done.stdout.strip() == "idle"

        try:
            wait_until(idle, "the node of SLURM is idle")
        except AssertionError:
            logs = "\n".join(log.read_text()[-2000:] for log in sorted(folder.glob("*.out")))
            pytest.fail(f"SLURM did not start:\n{logs}")
        yield folder


@dataclass(frozen=True)
class Gateway:
    """A running dask-gateway server.

    Attributes:
        address: its address.
        clusters: folder with one subfolder for each cluster that runs.
    """

    address: str
    clusters: Path


GATEWAY_CONF = """
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.address = "127.0.0.1:{api}"
c.Proxy.address = "127.0.0.1:{port}"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.SimpleAuthenticator.password = "sesame"
c.LocalBackend.clusters_directory = "{folder}/clusters"
c.UnsafeLocalBackend.clusters_directory = "{folder}/clusters"
c.ClusterConfig.worker_cores = 1
c.ClusterConfig.worker_memory = "1 G"
c.ClusterConfig.scheduler_cmd = ["{python}", "-m", "distributed.cli.dask_scheduler"]
c.Backend.cluster_options = Options(Integer("worker_cores", 1, min=1, max=2, label="Cores of a worker"))
"""


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A dask-gateway server with its local backend and its proxy; the password of everyone is sesame."""
    pytest.importorskip("dask_gateway_server", reason="the tests of dask-gateway need dask-gateway-server[local]")
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "clusters").mkdir()
    port, api = free_port(), free_port()
    conf = folder / "dask_gateway_config.py"
    text = GATEWAY_CONF.format(port=port, api=api, folder=folder, python=sys.executable)
    conf.write_text(f"from dask_gateway_server.options import Integer, Options\n{text}")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "dask_gateway_server", "-f", conf]
    with running(command, folder / "server.log", env=environment, cwd=folder):

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5):
                    return True
            except OSError:
                return False

        try:
            wait_until(answers, "dask-gateway answers", seconds=60)
        except AssertionError:
            pytest.fail(f"dask-gateway did not start:\n{(folder / 'server.log').read_text()[-3000:]}")
        yield Gateway(f"http://127.0.0.1:{port}", folder / "clusters")


@dataclass(frozen=True)
class Authority:
    """A throw-away certificate authority and a certificate of its own making.

    Attributes:
        ca: the authority's certificate.
        cert: the certificate that scheduler, workers and client share.
        key: its key.
        stranger: a certificate that another authority made, with its key and that authority beside it.
    """

    ca: Path
    cert: Path
    key: Path
    stranger: Path


def make_authority(folder: Path) -> None:
    """ca.pem, cert.pem and key.pem, by openssl."""
    folder.mkdir(parents=True)
    commands = [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=test-authority",
        "req -newkey rsa:2048 -nodes -keyout key.pem -out cert.csr -subj /CN=dask",
        "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out cert.pem",
    ]
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is absent: the tests of encrypted connections make their certificates with it")
    folder = tmp_path_factory.mktemp("tls")
    make_authority(folder / "own")
    make_authority(folder / "other")
    own = folder / "own"
    return Authority(own / "ca.pem", own / "cert.pem", own / "key.pem", folder / "other")


@dataclass(frozen=True)
class Hosts:
    """A scheduler and its workers, each a process of its own, started by hand.

    Attributes:
        port: the scheduler's port on 127.0.0.1.
        workers: the working directory of each worker; they have none in common.
        processes: the workers' processes: ``dask worker``, which is the nanny's.
        one_more: starts a worker with a name and additional environment variables, in a context.
    """

    port: int
    workers: tuple[Path, ...]
    processes: tuple[subprocess.Popen[bytes], ...]
    one_more: Callable[[str, dict[str, str]], AbstractContextManager[subprocess.Popen[bytes]]]


@contextmanager
def by_hand(folder: Path, tls: Authority | None = None, workers: int = 2) -> Iterator[Hosts]:
    """What jobs/scheduler.sh says, on one machine: nothing is shared but the network."""
    port = free_port()
    flags: list[str | Path] = []
    if tls is not None:
        flags = ["--tls-ca-file", tls.ca, "--tls-cert", tls.cert, "--tls-key", tls.key]
    address = f"{'tls' if tls else 'tcp'}://127.0.0.1:{port}"

    def worker(name: str, environment: dict[str, str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
        place = folder / name
        place.mkdir()
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", *flags]
        command += ["--name", name, "--host", "127.0.0.1", "--local-directory", place, "--no-dashboard"]
        return running(command, folder / f"{name}.log", cwd=place, env={**os.environ, **environment})

    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address, *flags]
    scheduler += ["--dashboard-address", "127.0.0.1:0"]
    names = [f"host-{number}" for number in range(workers)]
    with ExitStack() as stack:
        (folder / "scheduler").mkdir(parents=True)
        stack.enter_context(running(scheduler, folder / "scheduler.log", cwd=folder / "scheduler"))
        processes = tuple(stack.enter_context(worker(name, {})) for name in names)

        def listens() -> bool:
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, "the scheduler listens", seconds=60)
        yield Hosts(port, tuple(folder / name for name in names), processes, worker)


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Two workers as on two machines: own processes, own working directories, no shared file."""
    with by_hand(tmp_path_factory.mktemp("hosts") / "plain") as hosts:
        yield hosts


@pytest.fixture(scope="module")
def encrypted_hosts(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Hosts]:
    """The same with one worker, encrypted."""
    with by_hand(tmp_path_factory.mktemp("hosts") / "encrypted", authority, workers=1) as hosts:
        yield hosts
