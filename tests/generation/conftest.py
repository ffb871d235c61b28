"""Small samples that several tests look at; 300 events without multiparton interactions take about a second each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pythia8mc", reason="the extra 'generation' is not installed")

from darkop_dist.generation import GeneratedSample, generate
from darkop_dist.generation.pileup import load_pool

POOL_EVENTS = 100


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GeneratedSample]:
    folder = tmp_path_factory.mktemp("generated")
    return {
        name: generate(name, 300, folder / f"{name}.root", seed=11, settings={"mpi": "off"})
        for name in ("qcd-dijets", "z-nunu-jets", "monojet-dm")
    }


@pytest.fixture(scope="session")
def z_file(samples: dict[str, GeneratedSample]) -> Path:
    return samples["z-nunu-jets"].file


@pytest.fixture(scope="session")
def pool_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a pool of `POOL_EVENTS` minimum-bias events; Pythia takes seconds to start for them."""
    cache = tmp_path_factory.mktemp("pool")
    load_pool(POOL_EVENTS, cache)
    return cache


@pytest.fixture(scope="session")
def open_with_coffea() -> Callable[[Path], Any]:
    """Opens a file as a processor would: NanoAODSchema, virtual arrays."""
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    class Schema(NanoAODSchema):
        warn_missing_crossrefs = False  # also where the collection that would point is not in the file

    def opened(file: Path) -> Any:
        return NanoEventsFactory.from_root({str(file): "Events"}, schemaclass=Schema, mode="virtual").events()

    return opened
