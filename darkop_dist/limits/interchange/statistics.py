"""Combine's ``autoMCStats`` as HistFactory modifiers.

In a bin with enough events one Gaussian parameter moves the sum of the backgrounds (Barlow-Beeston lite); below the
threshold each process has a parameter of its own: a Poisson one with the effective number of events, rounded, or a
Gaussian one from the threshold on (Combine's documentation, "Automatic statistical uncertainties").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from darkop_dist.limits.interchange.card import BinStatistics
from darkop_dist.limits.samples import Floats

Modifier = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Process:
    """A process in a channel.

    Attributes:
        name: its name.
        is_signal: the signal strength multiplies it.
        values: expected events, shape (bins,).
        errors: their standard deviations from simulation, shape (bins,).
    """

    name: str
    is_signal: bool
    values: Floats
    errors: Floats


def statistics_modifiers(
    channel: str, processes: Sequence[Process], wanted: BinStatistics, notes: list[str]
) -> dict[str, list[Modifier]]:
    """The modifiers of each process.

    A signal has Gaussian parameters of its own where it does not count for the sum: independent terms of a sum have
    the profile of one with their errors added in quadrature, which is what Combine does at any signal strength.

    Args:
        channel: the channel, for names.
        processes: its processes.
        wanted: threshold and whether signals count for it.
        notes: takes what is left out.
    """
    found: dict[str, list[Modifier]] = {process.name: [] for process in processes}
    if wanted.threshold < 0:
        return found
    counted = [process for process in processes if wanted.include_signal or not process.is_signal]
    together = _together(counted, wanted.threshold)
    for process in processes:
        own, filled = f"prop_bin{channel}_{process.name}", process.values > 0
        effective = _effective(process.values, process.errors)
        poisson = ~together & (effective < wanted.threshold)
        if process.is_signal:
            found[process.name] += _staterror(f"{own}_gauss", process, ~poisson & filled)
        else:
            found[process.name] += _staterror(f"prop_bin{channel}", process, together)
            found[process.name] += _staterror(f"{own}_gauss", process, ~together & ~poisson & filled)
        few = poisson & filled & (process.errors > 0)
        if np.any(few):
            errors = np.where(few, process.values / np.sqrt(np.maximum(effective, 1.0)), 0.0)
            found[process.name].append({"name": own, "type": "shapesys", "data": errors.tolist()})
        lost = ~filled & (process.errors > 0) & (~together | process.is_signal)
        if np.any(lost):
            notes.append(
                f"process {process.name} in channel {channel}: {np.sum(lost)} bins have an error but no events; "
                "HistFactory's factors leave them at 0"
            )
    return found


def _together(counted: Sequence[Process], threshold: float) -> np.typing.NDArray[np.bool_]:
    """Bins with one parameter for all: enough events, or processes that would each have a Gaussian one anyway."""
    values = np.sum([process.values for process in counted], axis=0)
    errors = np.sqrt(np.sum([process.errors**2 for process in counted], axis=0))
    gaussian = [
        (_effective(process.values, process.errors) >= threshold) | (process.errors == 0) for process in counted
    ]
    return np.asarray((_effective(values, errors) > threshold) | np.all(gaussian, axis=0), dtype=np.bool_)


def _effective(values: Floats, errors: Floats) -> Floats:
    """(events / error)^2, rounded; 0 without an error."""
    ratio = np.divide(values, errors, out=np.zeros(len(values)), where=errors > 0)
    return np.asarray(np.rint(ratio**2), dtype=np.float64)


def _staterror(name: str, process: Process, bins: np.typing.NDArray[np.bool_]) -> list[Modifier]:
    errors = np.where(bins, process.errors, 0.0)
    return [{"name": name, "type": "staterror", "data": errors.tolist()}] if np.any(errors > 0) else []
