"""The particles of generated events as flat arrays, for a look at what the generator knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.generation.pythia_run import PartRequest
from darkop_dist.generation.truth import generate_record

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
ENERGY_GEV = 13000.0
FIRST_PARTON = 3  # in Pythia's events, after the system and two protons
AXES = ("px", "py", "pz", "e")


class Particles:
    """The particles of all events, one after another.

    Attributes:
        request: what made them.
        made: what Pythia says of them.
        settings: values of the process's parameters.
        events: number of events.
        event: of each particle, counted from 0.
        id: PDG number; ``kind`` without sign.
        status: Pythia's code, above 0 for final particles.
        mother: place of the first mother.
        mass: in GeV.
        tau: proper decay length in mm.
        p: px, py, pz, E in GeV, shape (particles, 4).
    """

    def __init__(self, request: PartRequest, settings: Mapping[str, str]) -> None:
        """Generate."""
        self.request, self.settings = request, settings
        self.made = generate_record(request)
        record: Any = self.made.events.prt
        counts = np.asarray(ak.to_numpy(ak.num(record.id)), dtype=np.int64)
        self.events = len(counts)
        self.event = np.repeat(np.arange(self.events), counts)
        self.id: Ints = _flat(record.id).astype(np.int64)
        self.kind = np.abs(self.id)
        self.status: Ints = _flat(record.status).astype(np.int64)
        self._own_mother: Ints = _flat(record.mother1).astype(np.int64)
        self.mother = self._own_mother + np.repeat(np.cumsum(counts) - counts, counts)
        self.mass, self.tau = _flat(record.m), _flat(record.tau)
        self.p = np.stack([_flat(record.p[axis]) for axis in AXES], axis=1)
        self.record = record

    def number(self, name: str) -> float:
        """Value of a parameter."""
        return float(self.settings[name])

    @property
    def pt(self) -> Floats:
        """Transverse momenta in GeV."""
        return np.asarray(np.hypot(self.p[:, 0], self.p[:, 1]))

    def hard(self, *kinds: int) -> Bools:
        """Outgoing particles and resonances of the hard process before any shower."""
        return np.asarray(np.isin(self.kind, kinds) & np.isin(np.abs(self.status), (22, 23)))

    def out_of_partons(self) -> Bools:
        """What comes out of the collision of the two hard partons, before showers."""
        return np.asarray((self._own_mother == FIRST_PARTON) & np.isin(np.abs(self.status), (22, 23)))

    def child_of(self, *kinds: int) -> Bools:
        """Particles whose first mother is of some kind, and which are not copies of it."""
        return np.asarray(np.isin(self.kind[self.mother], kinds) & (self.kind != self.kind[self.mother]))

    def charges(self) -> Floats:
        """In units of e."""
        return self._data(lambda data, kind: data.charge(kind))

    def visible(self) -> Bools:
        """Seen by a detector."""
        return self._data(lambda data, kind: data.isVisible(kind)).astype(bool)

    def _data(self, asked: Callable[[Any, int], float]) -> Floats:
        kinds, index = np.unique(self.id, return_inverse=True)
        data = self.made.pythia.particleData
        return np.array([asked(data, int(kind)) for kind in kinds], dtype=np.float64)[index]

    def summed(self, chosen: Bools) -> Floats:
        """Sum of the momenta of some particles of each event, shape (events, 4)."""
        columns = [np.bincount(self.event[chosen], self.p[chosen, axis], minlength=self.events) for axis in range(4)]
        return np.column_stack(columns)

    def per_event(self, chosen: Bools) -> Ints:
        """How many there are of some particles in each event, shape (events,)."""
        return np.bincount(self.event[chosen], minlength=self.events)


def pair_masses(momenta: Floats) -> Floats:
    """Invariant masses of momenta of shape (particles, 4)."""
    return np.asarray(np.sqrt(np.maximum(momenta[:, 3] ** 2 - np.sum(momenta[:, :3] ** 2, axis=1), 0.0)))


def _flat(values: ak.Array) -> npt.NDArray[Any]:
    return np.asarray(ak.to_numpy(ak.flatten(values)))
