"""Whether a process gives what it should: distributions of its events beside what is expected of them.

What is drawn for a process is in `validation_standard` and `validation_dark`, one short function each.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from darkop_dist.errors import InputValueError
from darkop_dist.generation.flat_particles import Particles
from darkop_dist.generation.process import Process, load_process, parameter_values, pythia_lines
from darkop_dist.generation.pythia_run import PartRequest, pythia_seed
from darkop_dist.generation.spectrum import Spectrum
from darkop_dist.generation.validation_dark import DARK
from darkop_dist.generation.validation_standard import STANDARD


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
    process = load_process(name)
    lines = pythia_lines(process, settings)
    drawn = {**STANDARD, **DARK}.get(name)
    if drawn is None:
        raise InputValueError(name, "no figures are defined for it", "Add them to validation_dark.py.")
    if events <= 0:
        raise InputValueError(f"{name}: events", f"{events} is not above 0", "Ask for at least one event.")
    request = PartRequest(
        process=name,
        lines=lines,
        own_matrix_elements=process.matrix_elements != "pythia",
        seed=pythia_seed(np.random.SeedSequence((seed, zlib.crc32(name.encode())))),
        events=events,
    )
    values = parameter_values(process, settings)
    particles = Particles(request, values)
    found = particles.made.cross_section
    spectra = tuple(drawn(particles))
    return ProcessValidation(process, values, events, seed, found.pb, found.error_pb, found.failed, spectra)
