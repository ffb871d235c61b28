"""Whether a batch is what a model takes; looked at before it reaches the model, wherever that is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from darkop_dist.errors import InputValueError
from darkop_dist.scoring.contract import Batch, InputSpec


def check_batch(batch: Batch, inputs: tuple[InputSpec, ...]) -> int:
    """Check a batch before it reaches the model.

    Returns:
        The number of events.

    Raises:
        InputValueError: names the input that is absent, has another shape or type, is not finite, or does not have the
            number of events of the first input.
    """
    events: int | None = None
    for spec in inputs:
        array = batch.get(spec.name) if isinstance(batch, Mapping) else None
        if not isinstance(array, np.ndarray):
            raise InputValueError(
                f"input {spec.name}", "it is absent or no numpy array", f"Give {spec.dtype} numbers: {spec.meaning}"
            )
        if array.shape[1:] != spec.shape or array.ndim != len(spec.shape) + 1 or array.dtype.name != spec.dtype:
            expected = ", ".join(("events", *map(str, spec.shape)))
            raise InputValueError(
                f"input {spec.name}",
                f"{array.dtype.name} of shape {array.shape} instead of {spec.dtype} of shape ({expected})",
                f"Give {spec.meaning}",
            )
        if events is not None and len(array) != events:
            raise InputValueError(
                f"input {spec.name}", f"{len(array)} events, but {events} in {inputs[0].name}", "Give the same events"
            )
        events = len(array)
        if not np.isfinite(array).all():
            first = int(np.flatnonzero(~np.isfinite(array).reshape(events, -1).all(axis=1))[0])
            raise InputValueError(
                f"input {spec.name}", f"not finite, first in event {first} of the batch", "Leave out events with NaN"
            )
    return events or 0
