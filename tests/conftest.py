"""What every test shares: where the repository and its neighbouring data are, and an environment of the tests' own."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
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


@pytest.fixture(scope="session")
def serve_flaky() -> Callable[[Path], Any]:
    """A context that serves a folder over HTTP and fails on command: see servers/flaky.py."""
    specification = importlib.util.spec_from_file_location("flaky", Path(__file__).parent / "servers" / "flaky.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["flaky"] = module
    specification.loader.exec_module(module)
    return module.serve


@pytest.fixture
def flaky_server(serve_flaky: Callable[[Path], Any]) -> Iterator[Callable[[Path], Any]]:
    """Serves folders for the length of a test: call it with a folder, then ``fail(name, "hang")`` on what it gives."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(serve_flaky(folder))


@pytest.fixture(scope="session")
def write_nanoaod(repository: Path) -> Callable[..., Path]:
    """Writes made-up events in NanoAOD's layout; see ``tests/monojet_sample.py``."""
    from darkop_dist.stages.search import load_module

    write: Callable[..., Path] = load_module(repository / "tests" / "monojet_sample.py").write_sample
    return write


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
