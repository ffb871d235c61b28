"""Recipes for what PHYSLITE's variables say directly: values, momenta, tracks, links and tags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from darkop_dist.events.physlite.links import link_lists, links
from darkop_dist.events.physlite.mapping import ColumnRule
from darkop_dist.events.physlite.source import Lists, Offsets, PhysliteSource, Recipe, Values
from darkop_dist.events.physlite.tree import PhysliteTree, Variable, layout_lists

FLOAT = np.dtype(np.float32)
MEV = 1e-3
TRACKS = "InDetTrackParticles"
COUNTED = ("pt", "pdgId", "phi")
"""Variables whose lists tell how many objects there are."""


@dataclass(frozen=True)
class Place:
    """Where a column stands.

    Attributes:
        tree: the events of the file.
        containers: the containers of its collection that the file has.
        counter: name of the column that counts the collection's objects; None for one number per event.
    """

    tree: PhysliteTree
    containers: tuple[str, ...]
    counter: str | None

    def variables(self, *names: str) -> tuple[Variable, ...] | None:
        """Variables of the first container; None if one is absent."""
        found = [self.tree.find(self.containers[0], name) for name in names]
        return tuple(v for v in found if v is not None) if None not in found else None


def value(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """Numbers of a variable times a factor, of all containers of the collection one after another."""
    found = [place.tree.find(container, rule.variable) for container in place.containers]
    variables = [v for v in found if v is not None and v.dtype is not None]
    depth = (0 if place.counter is None else 1) + (0 if rule.element is None else 1)
    if len(variables) != len(place.containers) or any(v.depth != depth for v in variables):
        return None
    dtype = np.dtype(rule.type) if rule.type else variables[0].dtype
    if dtype is None:
        return None

    def make(source: PhysliteSource) -> Values:
        return scaled(joined(source, place, [_element(source, v, rule.element) for v in variables]), rule.factor)

    return Recipe(name, place.counter, dtype, tuple(variables), make)


def constant(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """The same number for every object."""
    counter = place.counter
    if counter is None:
        return None
    return Recipe(name, counter, FLOAT, (), lambda source: np.full(source.offsets(counter)[-1], rule.value, FLOAT))


def momentum(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """Of truth particles, which have components: pt in GeV, pseudorapidity (infinite along the beam), azimuth."""
    del rule
    parts = [[place.tree.find(container, axis) for axis in ("px", "py", "pz")] for container in place.containers]
    needs = [v for part in parts for v in part if v is not None]
    if len(needs) != 3 * len(parts):
        return None
    kind = name.rpartition("_")[2]

    def one(source: PhysliteSource, part: list[Variable | None]) -> Values:
        x, y, z = (source.values(v) for v in part if v is not None)
        if kind == "phi":
            return np.arctan2(y, x)
        pt = np.hypot(x, y)
        with np.errstate(divide="ignore", invalid="ignore"):
            return pt * FLOAT.type(MEV) if kind == "pt" else np.arcsinh(z / pt)

    def make(source: PhysliteSource) -> Values:
        return joined(source, place, [one(source, part) for part in parts])

    return Recipe(name, place.counter, FLOAT, tuple(needs), make)


def track(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """Of tracks, which have an angle and a curvature: pt in GeV, pseudorapidity, charge."""
    del rule
    needs = place.variables("qOverP", "theta")
    if needs is None:
        return None
    curvature, angle = needs
    made: dict[str, tuple[Any, Callable[[PhysliteSource], Values]]] = {
        "pt": (FLOAT, lambda s: np.sin(s.values(angle)) / np.abs(s.values(curvature)) * FLOAT.type(MEV)),
        "eta": (FLOAT, lambda s: -np.log(np.tan(s.values(angle) / 2))),
        "charge": (np.dtype(np.int32), lambda s: np.sign(s.values(curvature))),
    }
    dtype, make = made[name.rpartition("_")[2]]
    return Recipe(name, place.counter, dtype, needs, make)


def discriminant(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """ln(p_b / sum of f_i p_i) of the object that a link leads to; NaN without one."""
    link = place.tree.find(place.containers[0], rule.through)
    endings = ["pb", *rule.fractions, "pu"]
    found = [place.tree.find(rule.container, f"{rule.tagger}_{ending}") for ending in endings]
    parts = [v for v in found if v is not None and v.dtype is not None]
    if link is None or len(parts) != len(endings):
        return None

    def make(source: PhysliteSource) -> Values:
        signal, *background = (linked(source, link, part) for part in parts)
        shares = [*rule.fractions.values(), 1.0 - sum(rule.fractions.values())]
        total = sum(share * p for share, p in zip(shares, background, strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(signal / total))

    return Recipe(name, place.counter, FLOAT, (link, *parts), make)


def constituents(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """Positions, among the tracks of all events, of the tracks that each object's links lead to.

    Links to tracks that PHYSLITE dropped lead nowhere and are left out.
    """
    link, other = place.tree.find(place.containers[0], rule.variable), place.tree.find(TRACKS, "phi")
    if link is None or other is None:
        return None

    def resolved(source: PhysliteSource) -> tuple[Offsets, Values]:
        key = ("constituents", name)
        if key not in source.memory:
            source.memory[key] = _resolved(source, link, other)
        found: tuple[Offsets, Values] = source.memory[key]
        return found

    return Recipe(
        name,
        place.counter,
        np.dtype(np.int64),
        (link, other),
        lambda source: resolved(source)[1],
        lambda source: resolved(source)[0],
    )


def _resolved(source: PhysliteSource, link: Variable, other: Variable) -> tuple[Offsets, Values]:
    objects, lists, keys, places = link_lists(source.layout(link))
    begins = layout_lists(source.layout(other))[0]
    owner = np.repeat(np.arange(len(lists) - 1), np.diff(lists))
    event = np.repeat(np.arange(len(source)), np.diff(objects))[owner]
    valid = (keys != 0) & (places < np.diff(begins)[event])
    offsets = np.zeros(len(lists), np.int64)
    np.cumsum(np.bincount(owner[valid], minlength=len(lists) - 1), out=offsets[1:])
    return offsets, begins[event[valid]] + places[valid]


def linked(source: PhysliteSource, link: Variable, other: Variable) -> Values:
    """A column of another container, float64, for each object whose link leads there; NaN where it leads nowhere."""
    offsets, keys, places = links(source.layout(link))
    begins, values = layout_lists(source.layout(other))[0], source.values(other)
    event = np.repeat(np.arange(len(source)), np.diff(offsets))
    valid = (keys != 0) & (places < np.diff(begins)[event])
    found = np.full(len(places), np.nan)
    found[valid] = values[begins[event[valid]] + places[valid]]
    return found


def lists_of(place: Place) -> Lists | None:
    """Where the objects of a collection are, from a variable that all its containers have; None without one."""
    for name in COUNTED:
        found = [place.tree.find(container, name) for container in place.containers]
        variables = tuple(v for v in found if v is not None and v.depth == 1)
        if len(variables) == len(place.containers):
            break
    else:
        return None

    def offsets(source: PhysliteSource) -> Offsets:
        several = [layout_lists(source.layout(v))[0] for v in variables]
        return np.asarray(np.sum(several, axis=0), np.int64)

    return Lists(variables, offsets)


def joined(source: PhysliteSource, place: Place, several: list[Values]) -> Values:
    """Columns of several containers as one: event by event, in the order of the containers."""
    if len(several) == 1:
        return several[0]
    key = ("order", place.containers)
    if key not in source.memory:
        lists = lists_of(place)
        counts = [np.diff(layout_lists(source.layout(v))[0]) for v in (lists.needs if lists else ())]
        events = np.concatenate([np.repeat(np.arange(len(source)), count) for count in counts])
        source.memory[key] = np.argsort(events, kind="stable")
    return np.asarray(np.concatenate(several)[source.memory[key]])


def scaled(values: Values, factor: float) -> Values:
    """Values times a factor, in their own precision."""
    return values if factor == 1.0 else np.asarray(values * values.dtype.type(factor))


def _element(source: PhysliteSource, variable: Variable, element: int | None) -> Values:
    """Values of a variable, or of each innermost list the one at a position; NaN (0 for integers) where it is short."""
    if element is None:
        return source.values(variable)
    layout = source.layout(variable)
    for _ in range(variable.depth - 1):
        layout = layout_lists(layout)[1]
    offsets = layout_lists(layout)[0]
    values, places = source.values(variable), offsets[:-1] + element
    long_enough = places < offsets[1:]
    found = np.full(len(places), np.nan if values.dtype.kind == "f" else 0, values.dtype)
    found[long_enough] = values[places[long_enough]]
    return found
