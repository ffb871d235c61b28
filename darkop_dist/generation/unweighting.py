"""Events of unit weight out of weighted ones, and how many of them a signal of a stated strength has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError, InputValueError

WEIGHT = "genWeight"
BLOCK = 1_000_000


@dataclass(frozen=True)
class SignalWeights:
    """What a signal file says of its weights.

    Attributes:
        weights: of its events; ones if it has none; shape (events,).
        generated: sum of the weights of all events that were generated, also of those that the file does not hold.
        xsec_pb: cross section in pb; None if the file does not say.
    """

    weights: npt.NDArray[np.float32]
    generated: float
    xsec_pb: float | None

    @property
    def share(self) -> float:
        """The part of the cross section that the events of the file stand for."""
        return float(np.sum(self.weights, dtype=np.float64)) / self.generated


def read_signal(file: Any, tree: Any, path: str) -> SignalWeights:
    """Read the weights of a signal.

    Args:
        file: open, from uproot.
        tree: of its events.
        path: for messages.

    Raises:
        InputValueError: weights are negative, not finite, or all zero.
        InputFileError: the file holds no events.
    """
    if tree.num_entries == 0:
        raise InputFileError(path, "holds no events", "Give a signal with events.")
    weights = np.ones(tree.num_entries, dtype=np.float32)
    if WEIGHT in tree:
        for start in range(0, tree.num_entries, BLOCK):
            stop = min(start + BLOCK, tree.num_entries)
            weights[start:stop] = tree[WEIGHT].array(entry_start=start, entry_stop=stop, library="np")
    if not np.isfinite(weights).all():
        bad = int(np.sum(~np.isfinite(weights)))
        raise InputValueError(f"{path}: {WEIGHT}", f"{bad} weights are not finite numbers", "Remove those events.")
    if weights.min() < 0:
        raise InputValueError(
            f"{path}: {WEIGHT}",
            f"{int(np.sum(weights < 0))} of {len(weights)} weights are negative: no number of events stands for them",
            "Use a sample without negative weights, such as one at leading order.",
        )
    if weights.max() == 0:
        raise InputValueError(f"{path}: {WEIGHT}", "all weights are zero", "Use another sample.")
    sums, xsec = normalisation_of(file)
    return SignalWeights(weights, sums or float(np.sum(weights, dtype=np.float64)), xsec)


def normalisation_of(file: Any) -> tuple[float | None, float | None]:
    """Sum of weights and cross section in pb that the tree ``Runs`` of a file knows; None for what it does not."""
    if "Runs" not in file:
        return None, None
    runs = file["Runs"]
    names = set(runs.keys())
    sums = next((name for name in ("genEventSumw", "genEventSumw_") if name in names), None)
    total = None if sums is None else float(np.sum(runs[sums].array(library="np")))
    xsec = float(runs["genXsec_pb"].array(library="np")[0]) if "genXsec_pb" in names else None
    return total or None, xsec if xsec and math.isfinite(xsec) else None


def draw_unweighted(signal: SignalWeights, wanted: int, rng: np.random.Generator, path: str) -> npt.NDArray[np.int64]:
    """Draw events without replacement, each as likely as its weight says.

    An event is accepted with the probability of its weight over the largest one (von Neumann's rejection), and of those
    that are accepted the wanted number is drawn at random.

    Args:
        signal: its weights.
        wanted: number of events.
        rng: source of random numbers.
        path: of the file, for messages.

    Returns:
        Entries of the file in ascending order, shape (wanted,).

    Raises:
        InputValueError: more are wanted than there are; says how many events the file would have to hold.
    """
    largest = signal.weights.max()
    accepted = np.flatnonzero(rng.random(len(signal.weights), dtype=np.float32) * largest < signal.weights)
    if wanted > len(accepted):
        efficiency = float(np.mean(signal.weights, dtype=np.float64)) / float(largest)
        unweighted = "" if efficiency > 0.999999 else f" after unweighting its {len(signal.weights)} events"
        raise InputValueError(
            path,
            f"{wanted} signal events are wanted and it has {len(accepted)}{unweighted}",
            f"No event is drawn twice: generate about {math.ceil(1.05 * wanted / efficiency)} events, or lower the "
            "strength or the luminosity.",
        )
    return np.sort(rng.choice(accepted, size=wanted, replace=False)).astype(np.int64)


def distinct_places(wanted: int, among: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Places drawn at random without replacement, in ascending order; takes the memory of those that are wanted.

    >>> distinct_places(3, 3, np.random.default_rng(1)).tolist()
    [0, 1, 2]
    """
    found = np.empty(0, dtype=np.int64)
    while len(found) < wanted:
        found = np.unique(np.concatenate([found, rng.integers(0, among, wanted - len(found))]))
    return found
