"""Files of muons for processors of others."""

from pathlib import Path
from types import ModuleType

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.stages.search import load_module


@pytest.fixture(scope="session")
def others() -> ModuleType:
    """The module of processors that know nothing of darkop-dist."""
    return load_module(Path(__file__).with_name("others.py"))


@pytest.fixture(scope="session")
def muon_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Six files of a thousand events in NanoAOD's layout."""
    folder = tmp_path_factory.mktemp("muons")
    rng = np.random.default_rng(7)
    return tuple(_write_muons(folder / f"{number}.root", rng, 1000, number) for number in range(6))


def _write_muons(path: Path, rng: np.random.Generator, events: int, run: int) -> str:
    counts = rng.integers(0, 4, events)
    total = int(counts.sum())
    columns = {
        "pt": rng.exponential(30.0, total).astype("f4"),
        "eta": rng.normal(0.0, 1.2, total).astype("f4"),
        "phi": rng.uniform(-np.pi, np.pi, total).astype("f4"),
        "mass": np.full(total, 0.1057, dtype="f4"),
        "charge": rng.choice([-1, 1], total).astype("i4"),
    }
    muons = ak.zip({name: ak.unflatten(column, counts) for name, column in columns.items()})
    flat = {
        "run": np.full(events, run, dtype="u4"),
        "luminosityBlock": np.ones(events, dtype="u4"),
        "event": np.arange(events, dtype="u8"),
    }
    with uproot.recreate(path) as file:
        file.mktree("Events", {**{name: column.dtype for name, column in flat.items()}, "Muon": muons.type})
        file["Events"].extend({**flat, "Muon": muons})
    return str(path)
