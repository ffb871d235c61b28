"""Speed of the operator beside that of a simulator, on the same core."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from darkop_dist.errors import InputFileError, ToolError
from darkop_dist.operators.calorimeter.checkpoint import CalorimeterCheckpoint
from darkop_dist.operators.calorimeter.production import shower_batches
from darkop_dist.operators.showers.files import read_showers


@dataclass(frozen=True)
class SpeedComparison:
    """CPU time per shower of both.

    Attributes:
        simulated: showers of the simulator.
        simulator_ms: its mean CPU time per shower without its start, in ms.
        simulator_error_ms: standard error of that mean.
        generated: showers of the operator.
        operator_ms: its CPU time per shower in ms, without loading the checkpoint.
        core: number of the core that both ran on.
    """

    simulated: int
    simulator_ms: float
    simulator_error_ms: float
    generated: int
    operator_ms: float
    core: int

    @property
    def ratio(self) -> float:
        """How many times faster the operator is."""
        return self.simulator_ms / self.operator_ms

    def text(self) -> str:
        """A line for each and their ratio."""
        return (
            f"simulator: {self.simulator_ms:.1f} +- {self.simulator_error_ms:.1f} ms per shower ({self.simulated})\n"
            f"operator:  {self.operator_ms:.3f} ms per shower ({self.generated})\n"
            f"ratio:     {self.ratio:.0f}, both on core {self.core}, CPU time"
        )


def compare_speed(
    checkpoint: CalorimeterCheckpoint, simulator: str, *, simulated: int, showers: int, kind: str = "e-"
) -> SpeedComparison:
    """Run the simulator, then the operator at the same energies, on one core.

    Both run in this order under one CPU affinity, with one thread of torch. CPU time is taken, not wall time, so that
    other work on the machine counts little (it still shares caches and clock).

    Args:
        checkpoint: the operator.
        simulator: command with ``{showers}`` and ``{output}``; the file it writes holds ``cpu_s`` for each shower.
        simulated: showers of the simulator.
        showers: showers of the operator; energies are taken from the simulator's, again and again.
        kind: the particle.

    Raises:
        ToolError: the simulator failed.
        InputFileError: its file cannot be read, or holds no ``cpu_s``.
    """
    with _one_core() as core, tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "simulated.h5"
        command = [
            part.replace("{showers}", str(simulated)).replace("{output}", str(output))
            for part in shlex.split(simulator)
        ]
        _run(command)
        reference = read_showers(output)
        if "cpu_s" not in reference.columns:
            raise InputFileError(str(output), "no column 'cpu_s'", "The simulator must write CPU seconds per shower")
        seconds = reference.columns["cpu_s"].astype(np.float64)
        incident = np.resize(reference.incident_energies, showers)
        for _ in shower_batches(checkpoint, incident[:256], kind):
            pass
        began = time.process_time()
        for _ in shower_batches(checkpoint, incident, kind):
            pass
        ours = time.process_time() - began
    return SpeedComparison(
        simulated=len(seconds),
        simulator_ms=1e3 * float(seconds.mean()),
        simulator_error_ms=1e3 * float(seconds.std() / np.sqrt(len(seconds))),
        generated=showers,
        operator_ms=1e3 * ours / showers,
        core=core,
    )


@contextmanager
def _one_core() -> Iterator[int]:
    """Keep this process, its children and torch on one core."""
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    core = max(before)
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)
        torch.set_num_threads(threads)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603, the user gave the command
    except OSError as error:
        raise ToolError(command, 127, "", str(error), "Check the path") from error
    if done.returncode:
        raise ToolError(command, done.returncode, done.stdout, done.stderr, "Run it alone and mend it")
