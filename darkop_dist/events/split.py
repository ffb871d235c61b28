"""Splitting events into those that train, calibrate, check and choose a model, the same way everywhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "calibrate", "check", "choose")
TRAIN, CALIBRATE, CHECK, CHOOSE = range(4)
TESTED = SPLITS[:CHOOSE]
"""Splits whose collision data are tested: those that chose the model are not."""


@dataclass(frozen=True)
class SplitRule:
    """How events are divided.

    The part of an event follows from its dataset, the name of its file, its entry and the seed alone: it does not
    depend on chunks, workers or directories.

    Attributes:
        seed: changes which events go where.
        train_fraction: fraction of the events of the training datasets that trains; those never calibrate.
        train_datasets: the datasets that train.
        check_fraction: fraction of the other events that checks the p-values.
        choose_fraction: fraction of the events that do not train of some datasets, which chooses the model.
        choose_datasets: those datasets.
    """

    seed: int
    train_fraction: float
    train_datasets: tuple[str, ...]
    check_fraction: float
    choose_fraction: float = 0.0
    choose_datasets: tuple[str, ...] = ()

    def assign(self, dataset: str, file_name: str, entries: npt.NDArray[np.integer]) -> npt.NDArray[np.int8]:
        """The part of each event: 0 trains, 1 calibrates, 2 checks, 3 chooses.

        Args:
            dataset: name of the dataset.
            file_name: name of the file, without directories.
            entries: entry numbers in the file, shape (events,).
        """
        key = hashlib.sha256(f"{self.seed}/{dataset}/{file_name}".encode()).digest()
        uniform = _uniform(np.uint64(int.from_bytes(key[:8], "little")), entries.astype(np.uint64))
        train = self.train_fraction if dataset in self.train_datasets else 0.0
        choose = train + (1.0 - train) * (self.choose_fraction if dataset in self.choose_datasets else 0.0)
        check = choose + (1.0 - choose) * self.check_fraction
        parts = np.full(len(entries), CALIBRATE, dtype=np.int8)
        parts[uniform < check] = CHECK
        parts[uniform < choose] = CHOOSE
        parts[uniform < train] = TRAIN
        return parts


def _uniform(key: np.uint64, counters: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1) from a counter: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        mixed = key + (counters + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
