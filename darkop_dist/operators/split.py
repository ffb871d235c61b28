"""The three parts of a training sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError

FEWEST_EVENTS = 200


@dataclass(frozen=True)
class Split:
    """Row numbers of three disjoint parts, in increasing order.

    Attributes:
        train: rows for gradient steps or the fit.
        validation: rows that decide when to stop.
        axis: rows that fix the score axis and nothing else.
    """

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    axis: npt.NDArray[np.int64]


def split_sample(events: int, rng: np.random.Generator) -> Split:
    """Split a sample at random: 10% validation, 15% (at least 50 events) for the score axis, the rest for training.

    Args:
        events: size of the sample.
        rng: source of the order.

    Raises:
        InputValueError: there are fewer than 200 events.
    """
    if events < FEWEST_EVENTS:
        raise InputValueError(
            "training sample", f"{events} events are too few, it takes {FEWEST_EVENTS}", "Select or generate more"
        )
    order = rng.permutation(events)
    axis = max(50, round(0.15 * events))
    validation = round(0.10 * events)
    return Split(
        train=np.sort(order[axis + validation :]),
        validation=np.sort(order[axis : axis + validation]),
        axis=np.sort(order[:axis]),
    )
