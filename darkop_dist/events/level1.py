"""The representation ``level1``: the objects of a trigger as the integers that its hardware sees.

19 objects with three numbers each, 57 inputs: missing transverse momentum, 4 electrons or photons, 4 muons, 10 jets,
each kind in order of falling transverse momentum, as (pt, eta, phi) in steps of the hardware (`level1_scales.toml`).
Transverse momenta saturate at the top of their scale; a place without an object holds zeros.

A Level-1 simulation (``trigger.level1``) makes these integers itself. Here they are made of NanoAOD, whose
reconstructed objects stand in for those of the trigger.

Approximations:
    NanoAOD's objects are calibrated and identified, those of the trigger are coarser: an efficiency from them is that
    of an ideal trigger. Electrons and photons of one direction (within one step in eta and phi) count once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

SCALES_FILE = Path(__file__).parent / "level1_scales.toml"
INPUTS = 57
NAMES = ("pt", "eta", "phi")

Kind = Literal["met", "egamma", "muon", "jet"]
COLLECTIONS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {"egamma": ("Electron", "Photon"), "muon": ("Muon",), "jet": ("Jet",)}
)
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int16]


class ObjectScale(BaseModel):
    """Hardware scale of one kind of object; see `level1_scales.toml`.

    Attributes:
        pt_bits: bits of the transverse momentum.
        pt_lsb_gev: its step in GeV.
        eta_lsb: step in pseudorapidity; None where there is none.
        eta_steps: largest number of steps in pseudorapidity, of either sign.
        eta_max: objects beyond are not seen.
        phi_steps: steps in a full turn.
        pt_min_gev: objects below are not seen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pt_bits: Annotated[int, Field(gt=0, le=16)]
    pt_lsb_gev: Annotated[float, Field(gt=0)]
    eta_lsb: float | None = None
    eta_steps: int = 0
    eta_max: float = float("inf")
    phi_steps: Annotated[int, Field(gt=0)]
    pt_min_gev: float = 0.0

    @property
    def largest(self) -> tuple[int, int, int]:
        """Largest integers of pt, eta (either sign) and phi."""
        return (1 << self.pt_bits) - 1, self.eta_steps, self.phi_steps - 1


class TowerScale(BaseModel):
    """Towers and regions of the calorimeter trigger.

    Attributes:
        eta_edges: edges in the absolute value of pseudorapidity, from 0.
        phi_steps: towers in a full turn.
        et_bits: bits of the transverse energy of a tower.
        et_lsb_gev: its step in GeV, and that of a region.
        region_et_bits: bits of the transverse energy of a region.
        region_towers: towers along each side of a region.
        region_rings: regions in pseudorapidity, symmetric about 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eta_edges: tuple[float, ...]
    phi_steps: int
    et_bits: int
    et_lsb_gev: float
    region_et_bits: int
    region_towers: int
    region_rings: int


class Scales(BaseModel):
    """All scales of the trigger's inputs.

    Attributes:
        source: where the numbers come from.
        order: kinds of objects and how many of each, in the order of the inputs.
        met: scale of missing transverse momentum.
        egamma: of electrons and photons.
        muon: of muons.
        jet: of jets.
        towers: of the calorimeter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    order: tuple[tuple[Kind, int], ...]
    met: ObjectScale
    egamma: ObjectScale
    muon: ObjectScale
    jet: ObjectScale
    towers: TowerScale

    def of(self, kind: Kind) -> ObjectScale:
        """The scale of one kind of object."""
        return {"met": self.met, "egamma": self.egamma, "muon": self.muon, "jet": self.jet}[kind]


class Level1Objects(BaseModel):
    """Settings of the representation ``level1``.

    Attributes:
        met: collection of the missing transverse momentum.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    met: str = "MET"


@cache
def load_scales() -> Scales:
    """The scales of the CMS global trigger."""
    return Scales.model_validate(tomllib.loads(SCALES_FILE.read_text(encoding="utf-8")))


def input_ranges() -> tuple[Integers, Integers]:
    """Smallest and largest integer of each of the 57 inputs."""
    scales, low, high = load_scales(), [], []
    for kind, count in scales.order:
        pt, eta, phi = scales.of(kind).largest
        low += [0, -eta, 0] * count
        high += [pt, eta, phi] * count
    return np.array(low, dtype=np.int16), np.array(high, dtype=np.int16)


def input_names() -> tuple[str, ...]:
    """Names of the 57 inputs, such as ``jet3.eta``."""
    return tuple(
        f"{kind}{place + 1 if count > 1 else ''}.{name}"
        for kind, count in load_scales().order
        for place in range(count)
        for name in NAMES
    )


def encode(pt: Floats, eta: Floats, phi: Floats, scale: ObjectScale) -> npt.NDArray[np.int32]:
    """Objects as hardware integers.

    Args:
        pt: transverse momenta in GeV; those above the scale saturate.
        eta: pseudorapidities.
        phi: azimuths in rad, of any turn.
        scale: of the kind of object.

    Returns:
        Shape (objects, 3): pt, eta, phi.
    """
    most, steps, _ = scale.largest
    steps_pt = np.minimum(np.floor(pt / scale.pt_lsb_gev), most)
    steps_eta = np.clip(np.rint(eta / scale.eta_lsb), -steps, steps) if scale.eta_lsb else np.zeros_like(pt)
    steps_phi = np.floor(np.mod(phi, 2 * np.pi) / (2 * np.pi) * scale.phi_steps)
    steps_phi = np.where(steps_phi >= scale.phi_steps, 0, steps_phi)
    return np.column_stack([steps_pt, steps_eta, steps_phi]).astype(np.int32)


def level1_inputs(events: ak.Array, wanted: Level1Objects) -> npt.NDArray[np.float32]:
    """The 57 inputs of each event, whole numbers as float32.

    Args:
        events: with the collections ``Electron``, ``Photon``, ``Muon``, ``Jet`` and missing momentum; in GeV.
        wanted: which missing momentum.

    Returns:
        Shape (events, 57).
    """
    scales = load_scales()
    met, size = events[wanted.met], len(events)
    columns = [encode(_numbers(met["pt"]), np.zeros(size), _numbers(met["phi"]), scales.met)]
    for kind, count in scales.order[1:]:
        columns.append(_stacked([events[name] for name in COLLECTIONS[kind]], scales.of(kind), count))
    return np.concatenate(columns, axis=1).astype(np.float32)


def decode(inputs: npt.NDArray[np.float32]) -> ak.Array:
    """Events of the 57 inputs, with the collections of NanoAOD that other representations read.

    Args:
        inputs: whole numbers, shape (events, 57).

    Returns:
        ``Jet``, ``Muon``, ``Electron`` (electrons and photons are one here), an empty ``Photon`` and ``MET``; momenta
        in GeV at the lower end of their step, angles in the middle of theirs.
    """
    scales, found, place = load_scales(), {}, 0
    names: Mapping[Kind, str] = {"met": "MET", "egamma": "Electron", "muon": "Muon", "jet": "Jet"}
    for kind, count in scales.order:
        scale = scales.of(kind)
        steps = inputs[:, 3 * place : 3 * (place + count)].reshape(len(inputs), count, 3).astype(np.float64)
        place += count
        turn = (steps[..., 2] + 0.5) * 2 * np.pi / scale.phi_steps
        columns = {
            "pt": steps[..., 0] * scale.pt_lsb_gev,
            "eta": steps[..., 1] * (scale.eta_lsb or 0.0),
            "phi": np.where(turn > np.pi, turn - 2 * np.pi, turn),
        }
        if kind == "met":
            found["MET"] = ak.zip({name: columns[name][:, 0] for name in ("pt", "phi")})
            continue
        objects = ak.zip({name: ak.from_regular(ak.Array(values), axis=1) for name, values in columns.items()})
        found[names[kind]] = objects[objects.pt > 0]
    found["Photon"] = found["Electron"][found["Electron"].pt < 0]
    return ak.zip(found, depth_limit=1)


def columns_read(wanted: Level1Objects) -> tuple[str, ...]:
    """Names of the columns that the representation reads of NanoAOD."""
    names = [f"{collection}.{name}" for found in COLLECTIONS.values() for collection in found for name in NAMES]
    return (*names, f"{wanted.met}.pt", f"{wanted.met}.phi")


def _stacked(collections: list[ak.Array], scale: ObjectScale, count: int) -> npt.NDArray[np.int32]:
    """The hardest objects of each event, shape (events, 3 count)."""
    events = len(collections[0])
    numbers = [np.concatenate([_numbers(ak.flatten(part[name])) for part in collections]) for name in NAMES]
    event = np.concatenate([np.repeat(np.arange(events), ak.to_numpy(ak.num(part["pt"]))) for part in collections])
    kept = (numbers[0] >= scale.pt_min_gev) & (np.abs(numbers[1]) < scale.eta_max)
    order = np.lexsort((-numbers[0][kept], event[kept]))
    pt, eta, phi = (values[kept][order] for values in numbers)
    steps, event = encode(pt, eta, phi, scale), event[kept][order]
    once = np.ones(len(event), dtype=bool)
    if len(collections) > 1:
        once = _once(steps, event, scale)
    steps, event = steps[once], event[once]
    place = np.arange(len(event)) - np.searchsorted(event, event, side="left")
    first = place < count
    found = np.zeros((events, count, 3), dtype=np.int32)
    found[event[first], place[first]] = steps[first]
    return found.reshape(events, 3 * count)


def _once(steps: npt.NDArray[np.int32], event: npt.NDArray[np.int64], scale: ObjectScale) -> npt.NDArray[np.bool_]:
    """False for an object within one step of a harder one of its event: one cluster, listed twice."""
    kept = np.ones(len(event), dtype=bool)
    for back in range(1, int(np.bincount(event).max(initial=0))):
        turn = np.abs(steps[back:, 2] - steps[:-back, 2])
        near = (np.abs(steps[back:, 1] - steps[:-back, 1]) <= 1) & (np.minimum(turn, scale.phi_steps - turn) <= 1)
        kept[back:] &= ~(near & (event[back:] == event[:-back]))
    return kept


def _numbers(values: ak.Array) -> Floats:
    return np.asarray(ak.to_numpy(values), dtype=np.float64)
