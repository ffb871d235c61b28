"""Missing momentum and primary vertices: recipes that look at several entries of a container.

PHYSLITE holds the soft terms of the missing momentum, not the sum: ATLAS rebuilds it in each analysis, after its own
choice of objects. Where a file holds a final term (``missing_momentum.final`` of the mapping), that is taken. Where it
does not, ``MET`` is minus the vector sum of electrons, photons, muons and jets plus the soft term of tracks, with the
thresholds, decisions and order of precedence of the mapping. That is an approximation of ATLAS' METMaker: overlaps are
taken by distance, not by shared clusters; muons' energy loss and the tracks of jets that do not count are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import awkward as ak
import numpy as np

from darkop_dist.events import kernels
from darkop_dist.events.physlite.mapping import ColumnRule, HardObjects, MissingMomentum, load_mapping
from darkop_dist.events.physlite.recipes import FLOAT, MEV, Place, scaled
from darkop_dist.events.physlite.source import PhysliteSource, Recipe, Values
from darkop_dist.events.physlite.tree import Variable, layout_lists

HARD, PILE_UP = 1, 3
"""``vertexType`` of the hard vertex and of pile-up vertices."""
TERM = ("name", "mpx", "mpy", "sumet")
OBJECT = ("pt", "eta", "phi")

Sums = dict[str, Values]


def named_entry(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """Size in GeV, azimuth or sum in GeV of the entry of a name; NaN in events without it."""
    needs = place.variables(*TERM)
    if needs is None:
        return None
    kind = name.rpartition("_")[2]

    def make(source: PhysliteSource) -> Values:
        return _polar(_entry(source, needs, rule.entries), kind)

    return Recipe(name, None, FLOAT, needs, make)


def missing_momentum(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """Size in GeV, azimuth or sum in GeV of the missing momentum; see the module."""
    del rule
    settings, needs = load_mapping().missing_momentum, place.variables(*TERM)
    if needs is None:
        return None
    hard: dict[str, tuple[Variable, ...]] = {}
    for container, cuts in settings.objects.items():
        wanted = (*OBJECT, cuts.decision)
        found = [place.tree.find(container, variable) for variable in wanted]
        hard[container] = tuple(v for v in found if v is not None)
        if len(hard[container]) != len(wanted):
            return None
    kind = name.rpartition("_")[2]

    def make(source: PhysliteSource) -> Values:
        if "missing momentum" not in source.memory:
            source.memory["missing momentum"] = _sums(source, settings, needs, hard)
        return _polar(source.memory["missing momentum"], kind)

    return Recipe(name, None, FLOAT, (*needs, *(v for several in hard.values() for v in several)), make)


def vertices(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """Number of hard and pile-up vertices."""
    del rule
    needs = place.variables("vertexType")
    if needs is None:
        return None

    def make(source: PhysliteSource) -> Values:
        kinds, offsets = source.values(needs[0]), layout_lists(source.layout(needs[0]))[0]
        seen = np.concatenate([[0], np.cumsum((kinds == HARD) | (kinds == PILE_UP))])
        return np.asarray(seen[offsets[1:]] - seen[offsets[:-1]])

    return Recipe(name, None, np.dtype(np.int32), needs, make)


def hard_vertex(place: Place, name: str, rule: ColumnRule) -> Recipe | None:
    """A coordinate of the hard vertex; NaN in events without one."""
    needs = place.variables("vertexType", rule.variable)
    if needs is None:
        return None

    def make(source: PhysliteSource) -> Values:
        kinds, values = (source.values(v) for v in needs)
        return scaled(_first(values, kinds == HARD, layout_lists(source.layout(needs[0]))[0]), rule.factor)

    return Recipe(name, None, FLOAT, needs, make)


def _first(values: Values, chosen: Values, offsets: Values) -> Values:
    """The first chosen value of each event; NaN without one."""
    found = np.full(len(offsets) - 1, np.nan, values.dtype)
    places = np.flatnonzero(chosen)[::-1]  # the first is written last
    found[np.searchsorted(offsets, places, side="right") - 1] = values[places]
    return found


def _entry(source: PhysliteSource, needs: Sequence[Variable], names: Sequence[str]) -> Sums:
    """Components and sum in GeV of the entry that has the first of some names that occurs; NaN without one."""
    text, *parts = needs
    offsets, written = layout_lists(source.layout(text))
    labels = ak.Array(written)
    sums = {key: np.full(len(source), np.nan, FLOAT) for key in ("x", "y", "sum")}
    for name in reversed(names):
        chosen = np.asarray(ak.to_numpy(labels == name)) if len(labels) else np.zeros(0, np.bool_)
        if not chosen.any():
            continue
        for key, part in zip(sums, parts, strict=True):
            found = scaled(_first(source.values(part), chosen, offsets), MEV)
            sums[key] = np.where(np.isnan(found), sums[key], found)
    return sums


def _sums(
    source: PhysliteSource,
    settings: MissingMomentum,
    needs: Sequence[Variable],
    hard: dict[str, tuple[Variable, ...]],
) -> Sums:
    final = _entry(source, needs, settings.final)
    if not np.isnan(final["x"]).any():
        return final
    soft = _entry(source, needs, (settings.soft,))
    total = {key: np.nan_to_num(values.astype(np.float64)) for key, values in soft.items()}
    before: list[_Marked] = []
    for container, variables in hard.items():
        cuts = settings.objects[container]
        objects = _Marked(source, variables, cuts)
        if cuts.overlaps:
            for others in before:
                objects.drop_near(others, settings.radius)
            before.append(objects)
        x, y, pt = objects.sums()
        total = {"x": total["x"] - x, "y": total["y"] - y, "sum": total["sum"] + pt}
    kept = np.isnan(final["x"])
    return {key: np.where(kept, total[key], final[key]) for key in total}


@final
class _Marked:
    """Objects of a container with a mark on those that count."""

    def __init__(self, source: PhysliteSource, variables: Sequence[Variable], cuts: HardObjects) -> None:
        pt, self.eta, self.phi, decision = (source.values(v) for v in variables)
        self.pt = scaled(pt, MEV)
        self.offsets = layout_lists(source.layout(variables[0]))[0]
        self.kept = (self.pt > cuts.pt_min) & (decision == 1)

    def drop_near(self, others: _Marked, radius: float) -> None:
        """Take the mark off objects that are within a distance of others."""
        kind: Any = self.eta.dtype.type
        kernels.drop_near(
            np.arange(len(self.offsets) - 1),
            self.kept,
            self.offsets,
            self.eta,
            self.phi,
            others.kept,
            others.offsets,
            others.eta,
            others.phi,
            kind(radius**2),
            kind(np.pi),
            kind(2 * np.pi),
            False,
        )

    def sums(self) -> tuple[Values, Values, Values]:
        """Components and sum of the sizes of the momenta in GeV, by event."""
        events = len(self.offsets) - 1
        event = np.repeat(np.arange(events), np.diff(self.offsets))[self.kept]
        pt, phi = (values[self.kept].astype(np.float64) for values in (self.pt, self.phi))
        x, y, size = (
            np.bincount(event, weights=values, minlength=events) for values in (pt * np.cos(phi), pt * np.sin(phi), pt)
        )
        return x, y, size


def _polar(sums: Sums, kind: str) -> Values:
    if kind == "pt":
        return np.hypot(sums["x"], sums["y"])
    return np.arctan2(sums["y"], sums["x"]) if kind == "phi" else sums["sum"]
