"""The mapping of PHYSLITE's variables to NanoAOD's columns, as ``columns.toml`` beside this file states it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from darkop_dist.config.datasets import PhysliteColumn

EVENTS = "events"
"""Name of the table whose columns belong to no collection."""

Rule = Literal[
    "value",
    "constant",
    "constituents",
    "discriminant",
    "hard_vertex",
    "missing_momentum",
    "momentum",
    "named_entry",
    "track",
    "vertices",
]


class ColumnRule(BaseModel):
    """How one column is made.

    Attributes:
        rule: the function of ``recipes`` or its neighbours; ``value`` takes a variable.
        variable: of the collection's container.
        factor: what its values are multiplied by.
        type: numpy's name of the column's type; the variable's own by default.
        element: position in the inner list, for variables that are lists of lists (or lists, per event).
        value: of a constant.
        tagger: beginning of the names of a tagger's probabilities.
        fractions: weight of each kind of background, by the ending of its probability; light jets have the rest.
        container: another container that a link leads to.
        through: variable that holds the link.
        entries: names of entries, of which the first that a file has is taken.
        note: for the reference page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule = "value"
    variable: str = ""
    factor: float = 1.0
    type: str | None = None
    element: int | None = None
    value: float = 0.0
    tagger: str = ""
    fractions: dict[str, float] = {}
    container: str = ""
    through: str = ""
    entries: tuple[str, ...] = ()
    note: str = ""


class Collection(BaseModel):
    """A collection of NanoAOD.

    Attributes:
        container: where it comes from: the first that a file has.
        join: take all that a file has, one after another, instead of the first.
        ranked: the column by which the objects of an event stand, largest first; the order of the file by default.
        columns: by name.
        keep: patterns of variables that are taken over under their own names.
        keep_energies: the same, from MeV to GeV.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    container: tuple[str, ...]
    join: bool = False
    ranked: str = ""
    columns: dict[str, ColumnRule]
    keep: tuple[str, ...] = ()
    keep_energies: tuple[str, ...] = ()


class HardObjects(BaseModel):
    """Which objects of a container count in the missing momentum.

    Attributes:
        pt_min: smallest pT in GeV, exclusive.
        decision: variable that is 1 for those that count.
        overlaps: whether they give way to objects of the containers before, and later ones to them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pt_min: float
    decision: str
    overlaps: bool = True


class MissingMomentum(BaseModel):
    """How the missing momentum is found.

    Attributes:
        final: names of the entries that hold it, in order of preference.
        soft: name of the soft term, if it has to be rebuilt.
        radius: objects closer than this in (eta, phi) are the same.
        objects: those that count, by container, in the order of their precedence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    final: tuple[str, ...]
    soft: str
    radius: float
    objects: dict[str, HardObjects]


class PhysliteMapping(BaseModel):
    """All of ``columns.toml``.

    Attributes:
        collections: by name; ``events`` holds the columns without a collection.
        absent: why PHYSLITE has nothing for a collection or a column of NanoAOD.
        missing_momentum: how the missing momentum is found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    collections: dict[str, Collection]
    absent: dict[str, str]
    missing_momentum: MissingMomentum


@cache
def load_mapping() -> PhysliteMapping:
    """The mapping that comes with the package."""
    text = files(__package__ or "").joinpath("columns.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    parts = {name: tables.pop(name) for name in ("absent", "missing_momentum")}
    return PhysliteMapping.model_validate({"collections": tables} | parts)


def extended(mapping: PhysliteMapping, columns: Mapping[str, PhysliteColumn]) -> PhysliteMapping:
    """The mapping with columns of a dataset's record, which go before its own of the same name.

    Args:
        mapping: where to begin.
        columns: by name, such as ``Jet.width``; a name without a dot belongs to no collection.

    >>> more = extended(load_mapping(), {"Jet.width": PhysliteColumn(variable="Width")})
    >>> more.collections["Jet"].columns["width"].variable
    'Width'
    """
    collections = dict(mapping.collections)
    for name, column in columns.items():
        first, _, field = name.rpartition(".")
        place = first or EVENTS
        rule = ColumnRule(**column.model_dump(exclude={"container"}))
        there = collections.get(place)
        if there is None:
            there = Collection(container=(column.container or place,), columns={})
        collections[place] = there.model_copy(update={"columns": {**there.columns, field: rule}})
    return mapping.model_copy(update={"collections": collections})


def mapping_table(mapping: PhysliteMapping) -> str:
    """The mapping as tables in Markdown, one for each collection."""
    parts = []
    for name, collection in mapping.collections.items():
        where = " + ".join(collection.container) if collection.join else collection.container[0]
        lines = [f"### {name}: {where}", "", "| NanoAOD | PHYSLITE | factor | |", "| --- | --- | --- | --- |"]
        for field, rule in collection.columns.items():
            factor = f"{rule.factor:g}" if rule.factor != 1.0 else ""
            lines.append(f"| {field} | {_origin(field, rule)} | {factor} | {rule.note} |")
        kept = {"kept as they are": collection.keep, "kept, in GeV": collection.keep_energies}
        lines += ["", *(f"{what}: {', '.join(f'`{p}`' for p in names)}\n" for what, names in kept.items() if names)]
        parts.append("\n".join(lines))
    reasons = "\n".join(f"| {name} | {why} |" for name, why in mapping.absent.items())
    parts.append(f"### What PHYSLITE does not have\n\n| NanoAOD | why |\n| --- | --- |\n{reasons}\n")
    return "\n".join(parts)


def _origin(field: str, rule: ColumnRule) -> str:
    if rule.rule == "value":
        return rule.variable if rule.element is None else f"{rule.variable}[{rule.element}]"
    told = {
        "constant": f"{rule.value:g}",
        "constituents": f"link {rule.variable}",
        "discriminant": f"{rule.tagger}_* through {rule.through}",
        "hard_vertex": f"{rule.variable} of vertexType 1",
        "missing_momentum": "mpx, mpy, sumet",
        "momentum": "px, py, pz",
        "named_entry": f"mpx, mpy, sumet of {', '.join(rule.entries)}",
        "track": {"pt": "qOverP, theta", "eta": "theta"}.get(field, "qOverP"),
        "vertices": "number of vertexType 1 and 3",
    }
    return told[rule.rule]
