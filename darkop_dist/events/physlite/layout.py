"""What a PHYSLITE file holds of NanoAOD: recipes of its columns, and their arrangement for coffea."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from coffea.nanoevents import NanoAODSchema

from darkop_dist.events.constituents import with_constituents
from darkop_dist.events.files import OpenFile
from darkop_dist.events.forms import column_form
from darkop_dist.events.physlite import missing_momentum, recipes
from darkop_dist.events.physlite.mapping import EVENTS, Collection, ColumnRule, PhysliteMapping
from darkop_dist.events.physlite.recipes import MEV, Place
from darkop_dist.events.physlite.source import Lists, PhysliteSource, Recipe
from darkop_dist.events.physlite.tree import PhysliteTree, physlite_tree

SINGLE = ("MET", "SoftTrkMET", "SoftClusMET", "GenMET", "PV")
"""Collections with one object per event."""

RULES: Mapping[str, Callable[[Place, str, ColumnRule], Recipe | None]] = {
    "value": recipes.value,
    "constant": recipes.constant,
    "constituents": recipes.constituents,
    "discriminant": recipes.discriminant,
    "momentum": recipes.momentum,
    "track": recipes.track,
    "hard_vertex": missing_momentum.hard_vertex,
    "missing_momentum": missing_momentum.missing_momentum,
    "named_entry": missing_momentum.named_entry,
    "vertices": missing_momentum.vertices,
}


@dataclass(frozen=True)
class Contents:
    """What a file holds of NanoAOD.

    Attributes:
        recipes: columns by name, such as ``Jet_pt``.
        lists: collections by the name of the column that counts their objects, such as ``nJet``.
    """

    recipes: Mapping[str, Recipe]
    lists: Mapping[str, Lists]

    def signature(self) -> tuple[tuple[str, str], ...]:
        """What the arrangement of the columns depends on."""
        return tuple((name, recipe.dtype.str) for name, recipe in self.recipes.items())

    def form(self) -> dict[str, Any]:
        """The columns as coffea's schemas take them, like the branches of NanoAOD."""
        return {
            "class": "RecordArray",
            "fields": list(self.recipes),
            "contents": [column_form(name, r.dtype, _depth(r)) for name, r in self.recipes.items()],
            "parameters": {"__doc__": "PHYSLITE", "metadata": {}},
            "form_key": None,
            "typenames": {},
        }


class PhysliteSchema(NanoAODSchema):  # type: ignore[misc]
    """PHYSLITE's columns under NanoAOD's names, with coffea's methods of NanoAOD."""

    error_missing_event_ids = False
    warn_missing_crossrefs = False
    mixins = {  # noqa: RUF012  # coffea's own attribute
        **NanoAODSchema.mixins,
        "SoftTrkMET": "MissingET",
        "SoftClusMET": "MissingET",
        "GenFatJet": "PtEtaPhiMCollection",
        "Track": "PFCand",
    }

    @classmethod
    def behavior(cls) -> Any:
        """Coffea's methods of NanoAOD, with those of constituents."""
        return with_constituents(super().behavior())


def physlite_contents(file: OpenFile, name: str, mapping: PhysliteMapping) -> tuple[PhysliteTree, Contents]:
    """What an opened file holds; worked out once for each file that a process holds open.

    Args:
        file: the file.
        name: name of its tree.
        mapping: which variable becomes which column.
    """
    tree = physlite_tree(file, name)
    key = ("physlite contents", name, mapping.model_dump_json())
    if key not in file.derived:
        file.derived[key] = _contents(tree, mapping)
    found: Contents = file.derived[key]
    return tree, found


def chunk_source(tree: PhysliteTree, contents: Contents, start: int, stop: int) -> PhysliteSource:
    """The columns of a range of entries."""
    return PhysliteSource(tree, start, stop, contents.recipes, contents.lists)


def _contents(tree: PhysliteTree, mapping: PhysliteMapping) -> Contents:
    found: dict[str, Recipe] = {}
    lists: dict[str, Lists] = {}
    for name, collection in mapping.collections.items():
        containers = tuple(c for c in collection.container if _holds(tree, c, collection))
        if not containers:
            continue
        counted = name != EVENTS and name not in SINGLE
        place = Place(tree, containers if collection.join else containers[:1], f"n{name}" if counted else None)
        counts = recipes.lists_of(place) if counted else None
        if counted and counts is None:
            continue
        prefix = "" if name == EVENTS else f"{name}_"
        columns = {r.name: r for r in _columns(place, prefix, collection)}
        if counted and counts is not None and columns:
            lists[f"n{name}"] = replace(counts, ranked=columns.get(f"{name}_{collection.ranked}"))
            found[f"n{name}"] = _counter(f"n{name}", counts)
        found |= columns
    return Contents(found, lists)


def _holds(tree: PhysliteTree, container: str, collection: Collection) -> bool:
    """Whether a file holds a container; those to be joined must have all variables."""
    variables = tree.branches.get(container, {})
    needed = [rule.variable for rule in collection.columns.values() if rule.variable] if collection.join else []
    return bool(variables) and all(name in variables for name in needed)


def _columns(place: Place, prefix: str, collection: Collection) -> Iterator[Recipe]:
    for field, rule in collection.columns.items():
        made = RULES[rule.rule](place, f"{prefix}{field}", rule)
        if made is not None:
            yield made
    for patterns, factor in ((collection.keep, 1.0), (collection.keep_energies, MEV)):
        for variable in place.tree.matching(place.containers[0], patterns):
            kept = recipes.value(place, f"{prefix}{variable}", ColumnRule(variable=variable, factor=factor))
            if kept is not None and variable not in collection.columns:
                yield kept


def _counter(name: str, counts: Lists) -> Recipe:
    return Recipe(name, None, np.dtype(np.int32), counts.needs, lambda source: np.diff(source.offsets(name)))


def _depth(recipe: Recipe) -> int:
    return 0 if recipe.counter is None else (1 if recipe.nested is None else 2)
