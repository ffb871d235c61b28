"""Physics objects from NanoAOD collections: selections by thresholds and identification, overlap removal, recoil."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import awkward as ak
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.events.absence import missing_columns
from darkop_dist.events.read import has_column

Note = Callable[[str], None]


class IdCut(BaseModel):
    """A cut on one identification column.

    Attributes:
        column: field of the collection, such as ``looseId``.
        minimum: smallest value that passes.
        maximum: largest value that passes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    minimum: float | None = None
    maximum: float | None = None


class ObjectCuts(BaseModel):
    """Which objects of a collection count.

    Attributes:
        pt_min: smallest transverse momentum in GeV, exclusive.
        abs_eta_max: largest absolute pseudorapidity, exclusive.
        ids: alternatives for the identification: the first whose column the file has is used.
        isolation: alternatives for the isolation, likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pt_min: Annotated[float, Field(ge=0)]
    abs_eta_max: Annotated[float, Field(gt=0)] = 2.5
    ids: tuple[IdCut, ...] = ()
    isolation: tuple[IdCut, ...] = ()


def select_objects(events: ak.Array, collection: str, cuts: ObjectCuts, note: Note) -> ak.Array:
    """Objects of a collection that pass; jagged, one list per event.

    Args:
        events: NanoEvents.
        collection: such as ``Muon``.
        cuts: thresholds and identification.
        note: is told about an identification that no column of the file allows.

    Raises:
        InputFileError: the collection is absent.
    """
    objects = _collection(events, collection)
    passed = (objects.pt > cuts.pt_min) & (abs(objects.eta) < cuts.abs_eta_max)
    for purpose, alternatives in (("identification", cuts.ids), ("isolation", cuts.isolation)):
        cut = next((cut for cut in alternatives if has_column(events, f"{collection}.{cut.column}")), None)
        if cut is not None:
            passed = passed & _passes(objects[cut.column], cut)
        elif alternatives:
            names = ", ".join(cut.column for cut in alternatives)
            note(f"{collection}: no {purpose} column of {names}: none applied")
    return objects[passed]


def _passes(values: ak.Array, cut: IdCut) -> ak.Array:
    passed = values == values  # noqa: PLR0124  # NaN fails
    if cut.minimum is not None:
        passed = passed & (values >= cut.minimum)
    if cut.maximum is not None:
        passed = passed & (values <= cut.maximum)
    return passed


def away_from(objects: ak.Array, others: ak.Array, radius: float) -> ak.Array:
    """Objects with no other object within a distance in (eta, phi).

    Args:
        objects: jagged objects with eta and phi.
        others: jagged objects of the same events.
        radius: distance, sqrt(deta^2 + dphi^2).
    """
    pairs = ak.cartesian({"a": objects[["eta", "phi"]], "b": others[["eta", "phi"]]}, nested=True)
    squared = (pairs.a.eta - pairs.b.eta) ** 2 + delta_phi(pairs.a.phi, pairs.b.phi) ** 2
    return objects[ak.all(squared > radius**2, axis=-1)]


def delta_phi(first: ak.Array, second: ak.Array) -> ak.Array:
    """Difference of azimuths in [-pi, pi)."""
    return (first - second + np.pi) % (2 * np.pi) - np.pi


def vector_sum(pt: ak.Array, phi: ak.Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Transverse components (px, py) in GeV of the sum over each event's objects, each of shape (events,)."""
    x = ak.to_numpy(ak.sum(pt * np.cos(phi), axis=-1))
    y = ak.to_numpy(ak.sum(pt * np.sin(phi), axis=-1))
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


def leading(values: ak.Array, *, absent: float = np.nan) -> npt.NDArray[np.float64]:
    """The first entry of each event's list, shape (events,); ``absent`` where the list is empty."""
    return np.asarray(ak.to_numpy(ak.fill_none(ak.firsts(values), absent)), dtype=np.float64)


def _collection(events: ak.Array, collection: str) -> ak.Array:
    if not has_column(events, f"{collection}.pt"):
        raise missing_columns(events, (f"{collection}.pt",), f"Use files with the collection {collection}.")
    return events[collection]
