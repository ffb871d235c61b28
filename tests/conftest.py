"""What every test shares: where the repository and its neighbouring data are, and an environment of the tests' own."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

# Set before any test module imports matplotlib, numpy or torch: no window, and no thread pools that fight for the cores.
os.environ["MPLBACKEND"] = "Agg"
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_threads] = "1"

settings.register_profile("darkop", deadline=None)  # a busy machine is no failure
settings.load_profile("darkop")


LONGEST = ("tests/execution", "tests/stages", "tests/notebooks", "tests/generation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folders that take longest begin: with two processes (``-n 2 --dist loadfile``) none waits for the other's end."""
    root = Path(__file__).parents[1]
    items.sort(key=lambda item: not item.path.relative_to(root).as_posix().startswith(LONGEST))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data(repository: Path) -> Path:
    """The folder of real events that stands beside the repository; tests are skipped where it is absent."""
    folder = repository.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real events are absent: there is no folder ../shared/data beside the repository")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this test session's own: no test reads or writes the user's."""
    folder = tmp_path_factory.mktemp("darkop-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKOP_CACHE", str(folder))
        yield folder


def _server(name: str) -> Any:
    """A module of ``tests/servers``."""
    if name not in sys.modules:
        specification = importlib.util.spec_from_file_location(name, Path(__file__).parent / "servers" / f"{name}.py")
        assert specification is not None
        assert specification.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def serve_flaky() -> Callable[[Path], Any]:
    """A context that serves a folder over HTTP and fails on command: see servers/flaky.py."""
    return _server("flaky").serve


@pytest.fixture
def flaky_server(serve_flaky: Callable[[Path], Any]) -> Iterator[Callable[[Path], Any]]:
    """Serves folders for the length of a test: call it with a folder, then ``fail(name, "hang")`` on what it gives."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(serve_flaky(folder))


@pytest.fixture
def answers() -> Iterator[Any]:
    """A service on loopback that gives prepared answers: see servers/answers.py."""
    name = "answers_server"
    specification = importlib.util.spec_from_file_location(name, Path(__file__).parent / "servers" / "answers.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    with module.serve() as running:
        yield running


@pytest.fixture(scope="session")
def xrootd_server() -> Iterator[Callable[..., Any]]:
    """Serves folders with a real xrootd until the session ends: call it with a folder, then ``url(name)`` on the result.

    Tests that stall or stop their server call it with ``own=True``; all others share one server for each folder. See
    servers/xrootd_server.py.
    """
    module = _server("xrootd_server")
    if why := module.missing():
        pytest.skip(why)
    shared: dict[Path, Any] = {}
    with ExitStack() as stack:

        def serve(folder: Path, *, own: bool = False, **settings: Any) -> Any:
            if own or settings:
                return stack.enter_context(module.serve(folder, **settings))
            if folder not in shared:
                shared[folder] = stack.enter_context(module.serve(folder))
            return shared[folder]

        yield serve


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Callable[..., Any]]:
    """Puts folders into buckets of an S3 server: call it with a folder, then ``url(name)`` on the result.

    With ``public=True`` nobody needs credentials. See servers/s3_server.py.
    """
    pytest.importorskip("moto", reason="moto, which serves S3, is not installed")
    with _server("s3_server").serve() as server:
        yield server.bucket


@pytest.fixture(scope="session")
def loopback_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that speaks for itself, with its key."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    begins = datetime.now(UTC) - timedelta(hours=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, plain, serialization.NoEncryption()))
    return path


@pytest.fixture
def relay_to() -> Iterator[Callable[[int], Any]]:
    """Relays to a port of this machine for the length of a test: counts bytes, stalls and cuts. See servers/relay.py."""
    with ExitStack() as stack:
        yield lambda port: stack.enter_context(_server("relay").relay(port))


@pytest.fixture(scope="session")
def write_nanoaod(repository: Path) -> Callable[..., Path]:
    """Writes made-up events in NanoAOD's layout; see ``tests/monojet_sample.py``."""
    from darkop_dist.stages.search import load_module

    write: Callable[..., Path] = load_module(repository / "tests" / "monojet_sample.py").write_sample
    return write


@pytest.fixture(scope="session")
def correction_files(repository: Path) -> Any:
    """Writes files in the layouts of CMS's corrections; see ``tests/correction_files.py``."""
    from darkop_dist.stages.search import load_module

    return load_module(repository / "tests" / "correction_files.py")


@pytest.fixture(scope="session")
def jerc_file(correction_files: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jet energy corrections in the layout of ``jet_jerc.json.gz``."""
    path: Path = correction_files.jerc_file(tmp_path_factory.mktemp("jerc") / "jet_jerc.json.gz")
    return path


@pytest.fixture(scope="session")
def write_pileup(correction_files: Any) -> Callable[..., Path]:
    """Writes pile-up weights in the layout of ``puWeights.json``."""
    write: Callable[..., Path] = correction_files.pileup_file
    return write


@pytest.fixture(scope="session")
def score_servers() -> ModuleType:
    """The module ``servers/score_server.py``: a real HTTP server of scores with faults on command."""
    path = Path(__file__).resolve().parent / "servers" / "score_server.py"
    spec = importlib.util.spec_from_file_location("score_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["score_server"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def write_search() -> Callable[..., Path]:
    """Writes a small search on made-up columns, complete enough to run from document to page in seconds."""
    return _write_search


def _sample(rng: np.random.Generator, events: int, peak: float | None = None) -> pd.DataFrame:
    """Falling spectrum, or a peak."""
    mtt = rng.normal(peak, 100.0, events) if peak else 500.0 + rng.exponential(400.0, events)
    return pd.DataFrame(
        {
            "mtt": np.clip(mtt, 450.0, 3900.0),
            "mu_pt": 60.0 + rng.exponential(80.0, events),
            "mu_abseta": rng.uniform(0.0, 2.3, events),
            "pileup": rng.integers(5, 40, events).astype(float),
            "weight": 1.0,
            "N_gen": 10.0 * events,
        }
    )


def _write_search(folder: Path, **changes: Any) -> Path:
    """Write data, background, signal and the document; ``changes`` replaces top-level keys of the document.

    The background is 8000 events of 40 000 generated with 4 pb at 1/fb: 800 expected events; data follow it.
    """
    rng = np.random.default_rng(11)
    folder.mkdir(parents=True, exist_ok=True)
    _sample(rng, 800).to_csv(folder / "data.csv", index=False)
    _sample(rng, 8000).to_csv(folder / "background.csv", index=False)
    _sample(rng, 2000, 1500.0).to_csv(folder / "signal.csv", index=False)
    weights = {"weight": "weight", "use": "sign", "sum_weights": "N_gen"}
    simulation = {"kind": "simulation", "format": "flat", "weights": weights}
    document: dict[str, Any] = {
        "name": "Small search",
        "lumi_ifb": 1.0,
        "datasets": [
            {"name": "data", "kind": "data", "format": "flat", "label": "Data", "files": ["data.csv"]},
            {"name": "background", **simulation, "xsec_pb": 8.0, "files": ["background.csv"]},
            {"name": "signal", **simulation, "xsec_pb": 1.0, "files": ["signal.csv"]},
        ],
        "processor": f"{Path(__file__).resolve().parents[1]}/processors/zprime.py:ZPrime",
        "parameters": {"mtt_bins": [400, 600, 800, 1000, 1200, 1400, 1600, 2000, 4000], "candidate": "all"},
        "signal_region": "mtt > 400 GeV",
        "operator": {
            "train": {
                "model": "density", "datasets": ["background"], "fraction": 0.25, "seed": 3,
                "columns": ["mtt", "mu_pt"], "transforms": {"mtt": "log", "mu_pt": "log"}, "settings": {"starts": 1},
            }
        },
        "anomaly_detection": {"background": "background", "alpha": 0.01, "check_fraction": 0.5},
        "systematics": ["luminosity"],
        "limits": {
            "signal": "signal", "observable": "mtt", "lumi_uncertainty": 0.012, "normalisation": {"background": 0.05},
            "bins": [400, 800, 1200, 1600, 4000],
        },
        "report": {"candidates": 20, "displays": 1},
    }  # fmt: skip
    document |= changes
    path = folder / "search.yml"
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}, indent=1))
    return path
