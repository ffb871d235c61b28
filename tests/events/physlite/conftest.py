"""Both real PHYSLITE files, and small ones that are written from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import pytest
import uproot

FILES = {
    "TTree": ("PHYSLITE_example.root", "CollectionTree", "."),
    "RNTuple": ("uproot-physlite-rntuple_v1-0-0-0.root", "EventData", ":"),
}


@dataclass(frozen=True)
class Atlas:
    """A real file and its raw columns as uproot reads them."""

    path: str
    tree: Any
    separator: str

    def raw(self, container: str, variable: str, *, aux: str = "AuxDyn") -> ak.Array:
        """A variable in ATLAS' units."""
        inside = ":." if self.separator == ":" else "."
        return self.tree[f"{container}{aux}{self.separator if aux == 'AuxDyn' else inside}{variable}"].array()


@pytest.fixture(scope="module", params=list(FILES))
def atlas(request: pytest.FixtureRequest, shared_data: Path) -> Atlas:
    name, tree, separator = FILES[request.param]
    path = shared_data / "atlas" / name
    return Atlas(str(path), uproot.open(path)[tree], separator)


@pytest.fixture
def write_physlite(shared_data: Path) -> Callable[..., str]:
    """Writes an RNTuple with some containers of the real one, and with columns that replace or add to them."""

    def write(path: Path, containers: Iterable[str], *, without: Iterable[str] = (), **columns: Any) -> str:
        name, tree, _ = FILES["RNTuple"]
        events = uproot.open(shared_data / "atlas" / name)[tree]
        wanted = tuple(f"{container}AuxDyn:" for container in containers)
        left_out = set(without)
        found = {
            field.name: field.array()
            for field in events.fields
            if field.name.startswith(wanted) and field.name not in left_out and "Link" not in field.name
        }
        with uproot.recreate(path) as file:
            file.mkrntuple(tree, found | columns)
        return str(path)

    return write
