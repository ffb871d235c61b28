"""Whether a process gives what it should: distributions of its events beside what is expected of them.

What is drawn for a process is in `validation_standard` and `validation_dark`, one short function each.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.generation.process import Process, load_process, parameter_values, pythia_lines
from darkop_dist.generation.spectrum import Spectrum
from darkop_dist.generation.truth import PartRequest, generate_record

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


@dataclass(frozen=True)
class ProcessValidation:
    """What a process was found to give.

    Attributes:
        process: which.
        settings: values of its parameters.
        events: number of events.
        seed: of them.
        xsec_pb: cross section in pb.
        xsec_error_pb: its uncertainty in pb.
        failed: events that Pythia failed.
        spectra: the distributions.
    """

    process: Process
    settings: Mapping[str, str]
    events: int
    seed: int
    xsec_pb: float
    xsec_error_pb: float
    failed: int
    spectra: tuple[Spectrum, ...]


def validate_process(
    name: str, *, events: int, seed: int, settings: Mapping[str, float | int | str]
) -> ProcessValidation:
    """Generate events of a process and compare them with what is expected.

    Args:
        name: of the process.
        events: number of events.
        seed: 0 or above.
        settings: values of its parameters.

    Raises:
        UnknownNameError: no such process or parameter.
        InputValueError: a value is out of range, or no figures are defined for the process.
        RunError: Pythia does not start or fails its events.
    """
    from darkop_dist.generation.validation_dark import DARK
    from darkop_dist.generation.validation_standard import STANDARD

    process = load_process(name)
    lines = pythia_lines(process, settings)
    drawn = {**STANDARD, **DARK}.get(name)
    if drawn is None:
        raise InputValueError(name, "no figures are defined for it", "Add them to validation_dark.py.")
    if events <= 0:
        raise InputValueError(f"{name}: events", f"{events} is not above 0", "Ask for at least one event.")
    numbers = np.random.SeedSequence((seed, zlib.crc32(name.encode()))).generate_state(1)
    request = PartRequest(
        process=name,
        lines=lines,
        own_matrix_elements=process.matrix_elements != "pythia",
        seed=1 + int(numbers[0]) % 900_000_000,
        events=events,
    )
    values = parameter_values(process, settings)
    particles = Particles(request, values)
    found = particles.made.cross_section
    spectra = tuple(drawn(particles))
    return ProcessValidation(process, values, events, seed, found.pb, found.error_pb, found.failed, spectra)


def pair_masses(momenta: Floats) -> Floats:
    """Invariant masses of momenta of shape (particles, 4)."""
    return np.asarray(np.sqrt(np.maximum(momenta[:, 3] ** 2 - np.sum(momenta[:, :3] ** 2, axis=1), 0.0)))


def _flat(values: ak.Array) -> npt.NDArray[Any]:
    return np.asarray(ak.to_numpy(ak.flatten(values)))
