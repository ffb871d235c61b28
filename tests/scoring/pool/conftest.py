"""A real pool: ``darkop serve`` in a process of its own, with its own Ray, and what faults need to get at it."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from darkop_dist.operators.card import architecture_json
from darkop_dist.operators.checkpoint import Checkpoint, fingerprint_of, load_checkpoint, save_checkpoint
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.scoring.wire import decode_scores, encode_batch

Batch = dict[str, npt.NDArray[np.float32]]
START_S = 90.0
MAIN = "from darkop_dist.cli import main; main()"


@dataclass(frozen=True)
class Served:
    """A pool in a process.

    Attributes:
        process: that of ``darkop serve``.
        said: what it printed with ``--json``.
    """

    process: subprocess.Popen[str]
    said: Mapping[str, Any]

    @property
    def http(self) -> str:
        return str(self.said["http"])

    @property
    def ray(self) -> str:
        return str(self.said["ray"])

    def processes(self, kind: str) -> list[psutil.Process]:
        """Ray's processes of a kind: ``ServeReplica``, ``ProxyActor``, ``ServeController``, ``raylet``, ``gcs_server``."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if kind in " ".join(child.cmdline()):
                    found.append(child)
        return found

    @property
    def replicas(self) -> list[psutil.Process]:
        return self.processes("ServeReplica:darkop")

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        """No replica gets on with anything."""
        stopped = self.replicas
        for one in stopped:
            one.suspend()
        try:
            yield
        finally:
            for one in stopped:
                with contextlib.suppress(psutil.Error):
                    one.resume()

    def post(
        self, model: str, batch: Batch, inputs: Any, headers: Mapping[str, str] | None = None, ca: Path | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One request over HTTP, not tried again."""
        body = encode_batch(batch, inputs).to_pybytes()
        all_headers = {"content-type": "application/vnd.apache.arrow.stream", **(headers or {})}
        url = f"{self.http}/v1/models/{model}/score"
        with urllib3.PoolManager(ca_certs=None if ca is None else str(ca)) as manager:
            return manager.request("POST", url, body=body, headers=all_headers, retries=False, timeout=60)

    def score(self, model: str, batch: Batch, inputs: Any) -> npt.NDArray[np.float32]:
        answer = self.post(model, batch, inputs)
        assert answer.status == 200, answer.data
        return decode_scores(answer.data)


Serve = Callable[..., "contextlib.AbstractContextManager[Served]"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}


def darkop(*arguments: str, timeout_s: float = START_S) -> subprocess.CompletedProcess[str]:
    """A command of ``darkop`` to its end."""
    command = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment(), check=False)


@contextlib.contextmanager
def serving(*arguments: str, folder: Path) -> Iterator[Served]:
    """``darkop serve`` from the moment at which it answers; ended by force if the test has not ended it."""
    said, told = folder / "said.json", folder / "told.txt"
    with said.open("w") as out, told.open("w") as err:
        command = [sys.executable, "-c", MAIN, "serve", *arguments, "--port", "0", "--json"]
        process = subprocess.Popen(
            command, stdout=out, stderr=err, text=True, env=environment(), start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_S
        while not said.read_text().endswith("}\n"):
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < deadline, told.read_text()
            time.sleep(0.1)
        yield Served(process, json.loads(said.read_text()))
    finally:
        family = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
        process.kill()
        process.wait()
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()


@pytest.fixture(scope="session")
def other_checkpoint(checkpoint_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint like the toy's, with other weights, and so with another fingerprint and other scores."""
    toy = load_checkpoint(checkpoint_directory)
    weights = {name: (array * np.float32(1.25)).astype(array.dtype) for name, array in toy.weights.items()}
    card = toy.card
    architecture = architecture_json(card.architecture, card.settings, card.inputs, card.score_axis)
    other = card.model_copy(update={"fingerprint": fingerprint_of(weights, architecture), "name": "toy-other"})
    return save_checkpoint(Checkpoint(other, weights), tmp_path_factory.mktemp("checkpoints") / "toy-other")


@pytest.fixture(scope="session")
def toy(checkpoint_directory: Path) -> LocalScorer:
    return LocalScorer.from_checkpoint(checkpoint_directory)


@pytest.fixture(scope="session")
def other(other_checkpoint: Path) -> LocalScorer:
    return LocalScorer.from_checkpoint(other_checkpoint)


@pytest.fixture(scope="session")
def pool(
    checkpoint_directory: Path, other_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Three models in one replica that has room for two: ``toy``, ``other``, and ``changing``, which begins as the toy."""
    models = (f"toy={checkpoint_directory}", f"other={other_checkpoint}", f"changing={checkpoint_directory}")
    more = ("--grpc-port", "0", "--cpus", "0.5", "--most-models", "2")
    with serving(*models, *more, folder=tmp_path_factory.mktemp("pool")) as served:
        yield served


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, which signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pool")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "tls.crt", folder / "tls.key"


@pytest.fixture(scope="session")
def joined(pool: Served) -> Iterator[Any]:
    """The pool's Ray, joined by this process; gives the handle of the application."""
    from ray import serve

    from darkop_dist.scoring.pool.head import joined_ray
    from darkop_dist.scoring.pool.settings import APPLICATION

    with joined_ray(pool.ray):
        handle = serve.get_app_handle(APPLICATION)
        yield handle
        handle.shutdown()  # or its thread would go on telling a controller that it cannot reach


def batch_of(scorer: LocalScorer, events: int, seed: int = 3) -> Batch:
    rng = np.random.default_rng(seed)
    return {
        spec.name: rng.exponential(size=(events, *spec.shape)).astype(spec.dtype)  # type: ignore[misc]
        for spec in scorer.inputs
    }


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    return batch_of


@pytest.fixture(scope="session")
def start_pool() -> Serve:
    """Starts further pools; takes arguments of ``darkop serve``, and the folder for what it prints."""
    return serving


@pytest.fixture(scope="session")
def run_darkop() -> Callable[..., subprocess.CompletedProcess[str]]:
    return darkop


@pytest.fixture
def damaged(checkpoint_directory: Path, tmp_path: Path) -> Path:
    """A checkpoint whose weights are not those of its card."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "card.json").write_bytes((checkpoint_directory / "card.json").read_bytes())
    weights = bytearray((checkpoint_directory / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for Ray, whose sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="rp-", dir="/tmp") as folder:
        yield Path(folder)
