"""Variations of objects and weights that a search repeats its selection with, where the columns for them exist."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import awkward as ak
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.events.objects import vector_sum
from darkop_dist.events.read import has_column

Note = Callable[[str], None]
SCALE, RESOLUTION = "jet_energy_scale", "jet_energy_resolution"
PILEUP = "pileup_reweighting"


def is_scale(systematic: str) -> bool:
    """Whether a systematic is the jet energy scale or one of its sources."""
    return systematic == SCALE or systematic.startswith(f"{SCALE}_")


class ShiftSizes(BaseModel):
    """Sizes of the variations that NanoAOD has no columns for.

    Attributes:
        jet_energy_scale: relative one-sigma shift of the jet pT; flat in pT and eta, an approximation.
        jet_energy_resolution: relative one-sigma change of the jet resolution, applied to pT - pT(generator jet).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    jet_energy_scale: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    jet_energy_resolution: Annotated[float, Field(gt=0, lt=1)] = 0.1


@dataclass(frozen=True)
class ObjectVariation:
    """Jets and missing momentum of one variation.

    Attributes:
        name: ``nominal`` or ``<systematic>_up`` and ``_down``.
        jets: the jets with their shifted pT, jagged.
        met_x: missing transverse momentum in GeV, shape (events,).
        met_y: likewise.
    """

    name: str
    jets: ak.Array
    met_x: npt.NDArray[np.float64]
    met_y: npt.NDArray[np.float64]


def object_variations(
    events: ak.Array, met: str, systematics: Sequence[str], sizes: ShiftSizes, note: Note
) -> list[ObjectVariation]:
    """The nominal objects and their shifts; collision data are never shifted.

    Jet shifts are propagated to the missing momentum by the change of the jets' vector sum (jets above 15 GeV). Where
    the file has columns such as ``PuppiMET_ptJESUp``, these replace the propagation. The resolution needs generator
    jets (``Jet_genJetIdx``); without them it is left out and noted. Columns such as ``Jet.jet_energy_scale`` (relative
    size) and ``Jet.jet_energy_resolution_up`` (factor on pT) that corrections have added come before the sizes and
    before such columns of the file, see ``darkop_dist.events.corrections.jet_energy``.

    Args:
        events: NanoEvents with Jet and the missing momentum.
        met: name of the missing momentum, ``MET`` or ``PuppiMET``.
        systematics: names asked for; others than the jet ones are ignored here.
        sizes: one-sigma sizes.
        note: is told about what could not be done.
    """
    jets = events.Jet
    pt, phi = ak.to_numpy(events[met].pt), ak.to_numpy(events[met].phi)
    nominal = ObjectVariation("nominal", jets, *_components(pt, phi))
    variations = [nominal]
    if (events.metadata or {}).get("is_data", False):
        return variations
    for sign, way, column in ((1.0, "up", "Up"), (-1.0, "down", "Down")):
        for name in filter(is_scale, systematics):
            own = has_column(events, f"Jet.{name}")
            shifted = jets.pt * (1.0 + sign * (jets[name] if own else sizes.jet_energy_scale))
            variations.append(_shifted(events, met, nominal, f"{name}_{way}", shifted, None if own else f"JES{column}"))
        if RESOLUTION in systematics:
            name = f"{RESOLUTION}_{way}"
            if has_column(events, f"Jet.{name}"):
                variations.append(_shifted(events, met, nominal, name, jets.pt * jets[name], None))
                continue
            if not (has_column(events, "Jet.genJetIdx") and has_column(events, "GenJet.pt")):
                note("jet_energy_resolution: no generator jets in the file: not varied")
                variations.append(dataclasses.replace(nominal, name=name))
                continue
            matched = _matched_pt(events)
            shifted = jets.pt + sign * sizes.jet_energy_resolution * (jets.pt - matched)
            shifted = ak.where(shifted > 0.0, shifted, 0.0)
            variations.append(_shifted(events, met, nominal, name, shifted, f"JER{column}"))
    return variations


def weight_variations(
    events: ak.Array,
    systematics: Sequence[str],
    note: Note,
    pileup: Mapping[str, npt.NDArray[np.float64]] | None = None,
) -> dict[str, npt.NDArray[np.float64]]:
    """Factors on the event weight by variation name, each of shape (events,).

    Pile-up uses the weights that are given; else ``puWeight``, ``puWeightUp`` and ``puWeightDown``, as NanoAOD-tools
    writes them, if the systematic is asked for. The nominal weight is under ``nominal``. Files without these columns
    are not reweighted, which is noted; their variations are the nominal weights, so that they may stand beside files
    that have the columns.

    Args:
        events: the events.
        systematics: names asked for; others than that of pile-up are ignored here.
        note: is told about what could not be done.
        pileup: weights ``nominal``, ``up`` and ``down``; None to use the columns.
    """
    factors = {"nominal": np.ones(len(events))}
    if (events.metadata or {}).get("is_data", False):
        return factors
    if pileup is not None:
        varied = {f"{PILEUP}_{way}": pileup[way] for way in ("up", "down")} if PILEUP in systematics else {}
        return {"nominal": pileup["nominal"], **varied}
    if PILEUP not in systematics:
        return factors
    if not all(has_column(events, name) for name in ("puWeight", "puWeightUp", "puWeightDown")):
        note("pileup_reweighting: no puWeight columns in the file: not reweighted and not varied")
        return factors | {f"pileup_reweighting_{way}": factors["nominal"] for way in ("up", "down")}
    central = np.asarray(ak.to_numpy(events.puWeight), dtype=np.float64)
    return {
        "nominal": central,
        "pileup_reweighting_up": np.asarray(ak.to_numpy(events.puWeightUp), dtype=np.float64),
        "pileup_reweighting_down": np.asarray(ak.to_numpy(events.puWeightDown), dtype=np.float64),
    }


def _components(
    pt: npt.NDArray[np.floating], phi: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    pt64, phi64 = pt.astype(np.float64), phi.astype(np.float64)
    return pt64 * np.cos(phi64), pt64 * np.sin(phi64)


def _shifted(
    events: ak.Array, met: str, nominal: ObjectVariation, name: str, pt: ak.Array, column: str | None
) -> ObjectVariation:
    ratio = pt / nominal.jets.pt
    jets = ak.with_field(ak.with_field(nominal.jets, pt, "pt"), nominal.jets.mass * ratio, "mass")
    fields = (f"pt{column}", f"phi{column}")
    if column is not None and all(has_column(events, f"{met}.{field}") for field in fields):
        x, y = _components(ak.to_numpy(events[met][fields[0]]), ak.to_numpy(events[met][fields[1]]))
        return ObjectVariation(name, jets, x, y)
    counted = nominal.jets.pt > 15.0
    before = vector_sum(nominal.jets.pt[counted], nominal.jets.phi[counted])
    after = vector_sum(pt[counted], nominal.jets.phi[counted])
    return ObjectVariation(name, jets, nominal.met_x - after[0] + before[0], nominal.met_y - after[1] + before[1])


def _matched_pt(events: ak.Array) -> ak.Array:
    index = ak.values_astype(events.Jet.genJetIdx, np.int64)
    valid = (index >= 0) & (index < ak.num(events.GenJet.pt, axis=1))
    matched = ak.fill_none(events.GenJet.pt[ak.mask(index, valid)], 0.0)
    return ak.where(valid, matched, events.Jet.pt)
