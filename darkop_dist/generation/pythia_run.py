"""Pythia itself: started with the settings of a part, asked for events until there are enough, heard when it fails."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc

from darkop_dist.errors import RunError
from darkop_dist.generation.diagnosis import explain
from darkop_dist.generation.lhe import LheRange
from darkop_dist.generation.own_lines import own_settings, own_text, pythia_alone

FAILED_IN_A_ROW = 100
SEEDS = 900_000_000


@dataclass(frozen=True)
class PartRequest:
    """What makes one part.

    Attributes:
        process: name of the process, for messages.
        lines: Pythia's settings.
        own_matrix_elements: Pythia's own matrix elements are replaced by those of `mediator`.
        seed: Pythia's seed, from 1 to 900000000.
        events: number of events; of a Les Houches file those that are read.
        lhe: the events of a Les Houches file; None where Pythia makes the hard process.
    """

    process: str
    lines: tuple[str, ...]
    own_matrix_elements: bool
    seed: int
    events: int
    lhe: LheRange | None = None


def pythia_seed(numbers: np.random.SeedSequence) -> int:
    """One of the seeds that Pythia takes, from 1 to 900000000.

    >>> pythia_seed(np.random.SeedSequence(7))
    283679833
    """
    return 1 + int(numbers.generate_state(1)[0]) % SEEDS


def start_pythia(request: PartRequest) -> tuple[Any, object]:
    """Pythia, ready for events, and what must live as long as it does.

    Raises:
        RunError: Pythia rejects a setting or does not start.
    """
    with tempfile.TemporaryDirectory(prefix="darkop-") as directory:  # Pythia reads a spectrum while it starts
        lines = _spectrum_lines(request, Path(directory) / "spectrum.slha")
        pythia, alive = _configured(request, lines, quiet=True)
        if pythia.init():
            return pythia, alive
        with captured_output() as read:
            pythia, alive = _configured(request, lines, quiet=False)
            pythia.init()
    said = [line.strip() for line in read().splitlines() if "PYTHIA Error" in line or "PYTHIA Abort" in line]
    raise RunError(
        f"{request.process}: Pythia does not start: {'; '.join(said) or 'it gave no reason'}. "
        "Check the parameters: a threshold may be too high for the collision energy."
    )


def _spectrum_lines(request: PartRequest, file: Path) -> tuple[str, ...]:
    """Write the supersymmetric spectrum of the process, if it has one."""
    spectrum = own_text(request.lines, "slha")
    if not spectrum:
        return ()
    file.write_text(spectrum, encoding="utf-8")
    return ("SLHA:verbose = 0", f"SLHA:file = {file}")


def _configured(request: PartRequest, more: tuple[str, ...], *, quiet: bool) -> tuple[Any, object]:
    pythia = pythia8mc.Pythia("", False)
    own = ("Print:quiet = on",) if quiet else ()
    seeds = ("Random:setSeed = on", f"Random:seed = {request.seed}")
    for line in (*own, *seeds, *more, *pythia_alone(request.lines)):
        if not pythia.readString(line, False):
            raise RunError(f"{request.process}: Pythia does not know the setting {line!r}. Correct it.")
    if pythia.flag("JetMatching:merge"):  # off by default, and done by a hook that somebody has to give to Pythia
        matching = pythia8mc.JetMatchingMadgraph()
        pythia.setUserHooksPtr(matching)
        return pythia, matching
    hooks = _hooks(request)
    for hook in hooks:
        pythia.addUserHooksPtr(hook)
    if not request.own_matrix_elements:
        return pythia, hooks
    from darkop_dist.generation.mediator import attach_mediator

    return pythia, attach_mediator(pythia)


def _hooks(request: PartRequest) -> list[object]:
    """What looks into Pythia's events while they are made; must live as long as Pythia does."""
    hooks: list[object] = []
    bosons = {int(kind): float(mass) for kind, mass in own_settings(request.lines, "virtual-boson").items()}
    if bosons:
        from darkop_dist.generation.virtual_boson import VirtualBoson

        hooks.append(VirtualBoson(bosons, np.random.default_rng(request.seed)))
    minimum = float(own_settings(request.lines, "recoil").get("minimum", 0.0))
    if minimum > 0:
        from darkop_dist.generation.recoil import RecoilCut

        hooks.append(RecoilCut(minimum))
    return hooks


@contextmanager
def captured_output() -> Iterator[Callable[[], str]]:
    """Pythia prints its errors from C++ to file descriptor 1; there is no other way to read them."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "pythia.log"
        text: list[str] = []
        saved = os.dup(1)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
        flush = ctypes.CDLL(None).fflush  # C keeps what it prints to anything but a terminal until the process ends
        flush(None)
        try:
            os.dup2(descriptor, 1)
            yield lambda: text[0]
        finally:
            flush(None)
            os.dup2(saved, 1)
            os.close(saved)
            os.close(descriptor)
            text.append(log.read_text(encoding="utf-8", errors="replace"))


def next_events(pythia: Any, request: PartRequest) -> tuple[ak.Array, int]:
    """The events of a part and the number of failed ones: ``nextBatch`` leaves those out, so ask until it is full."""
    batches: list[ak.Array] = []
    missing, failed = request.events, 0
    in_a_row = 0
    while missing and in_a_row < FAILED_IN_A_ROW:
        batch = pythia.nextBatch(missing)
        in_a_row = 0 if len(batch) else in_a_row + missing
        failed += missing - len(batch)
        if len(batch):
            batches.append(batch)
            missing -= len(batch)
    if not missing:
        return (batches[0] if len(batches) == 1 else ak.concatenate(batches)), failed
    raise RunError(
        f"{request.process}: Pythia fails its events ({missing} of {request.events} missing, the last {in_a_row} "
        f"tries without one). {explained(pythia, request)}"
    )


def explained(pythia: Any, request: PartRequest) -> str:
    """What may be wrong with events that fail, with Pythia's own errors."""
    with captured_output() as read:
        pythia.stat()
    return explain(pythia, request.lines, read())
