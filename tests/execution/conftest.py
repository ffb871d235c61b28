"""Files of muons for processors of others."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea import processor

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


@pytest.fixture(scope="module")
def mass_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of three files of a thousand events with a mass and a weight."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(1)
    for number in range(3):
        with uproot.recreate(folder / f"{number}.root") as file:
            file["Events"] = {"mass": rng.uniform(size=1000), "genWeight": rng.normal(1.0, 0.3, 1000)}
    return folder


@pytest.fixture(scope="session")
def equal() -> Callable[[Any, Any], bool]:
    """Compares results of coffea processors to the last bit."""
    return _equal


def _equal(first: Any, second: Any) -> bool:
    """Equal to the last bit, whatever they are made of."""
    if isinstance(first, dict):
        return list(first) == list(second) and all(_equal(first[key], second[key]) for key in first)
    if hasattr(first, "view") and hasattr(first, "axes"):
        return first == second and first.view(flow=True).tobytes() == second.view(flow=True).tobytes()
    value = first.value if isinstance(first, processor.column_accumulator) else first
    other = second.value if isinstance(second, processor.column_accumulator) else second
    if isinstance(value, ak.Array):
        return ak.array_equal(value, other)
    if isinstance(value, np.ndarray):
        return value.dtype == other.dtype and np.array_equal(value, other)
    return type(value) is type(other) and bool(value == other)


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
