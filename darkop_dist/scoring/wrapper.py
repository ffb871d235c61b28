"""Any scorer as one of coffea's ``ml_tools`` wrappers, for processors that are written with these."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
from coffea.ml_tools.helper import numpy_call_wrapper

from darkop_dist.events.representations import columns_read, represent
from darkop_dist.scoring.check import check_batch
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.delayed import delayed_scores, is_delayed, unknown_scores


class ScorerWrapper(numpy_call_wrapper):  # type: ignore[misc]  # coffea has no types
    """Calls a scorer from a coffea processor: awkward, numpy or dask-awkward in, awkward out.

    Call it with events, of which the model's inputs are made as everywhere here, or with the inputs by name. Whoever
    makes inputs otherwise overrides ``prepare_awkward``, as coffea says. On collections of dask-awkward nothing is
    scored, and no server asked, before the result is computed.

    Args:
        scorer: in the process or behind a server, see ``scoring.resolve``.

    Example:
        >>> scores = ScorerWrapper(scorer)(events)  # doctest: +SKIP
    """

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer = scorer

    def __call__(self, *events: Any, **inputs: Any) -> Any:
        """Scores, one per event, as an awkward array or a collection of them."""
        given = [*events, *inputs.values()]
        if any(map(is_delayed, given)):
            return self._call_dask(*events, **inputs)
        if any(isinstance(one, ak.Array) for one in given):
            return self._call_awkward(*events, **inputs)
        return ak.from_numpy(self._call_numpy(**inputs))

    def prepare_awkward(self, *events: ak.Array, **inputs: ak.Array) -> tuple[tuple[()], dict[str, Any]]:
        """The model's inputs by name, from events or as they were given."""
        if not events:
            return (), inputs
        (one,) = events
        return (), {spec.name: represent(one, spec.representation, spec.settings) for spec in self.scorer.inputs}

    def validate_numpy_input(self, **inputs: npt.NDArray[Any]) -> None:
        """Check the inputs.

        Raises:
            InputValueError: an input is absent, or has another shape, or is not finite.
        """
        check_batch(_as_batch(inputs), self.scorer.inputs)

    def numpy_call(self, **inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Score."""
        return self.scorer.score(_as_batch(inputs))

    def _call_dask(self, *events: Any, **inputs: Any) -> Any:
        if events:
            (one,) = events
            read = (name for spec in self.scorer.inputs for name in columns_read(spec.representation, spec.settings))
            return delayed_scores(self._call_awkward, one, tuple(dict.fromkeys(read)), "float32")
        dask_awkward: Any = importlib.import_module("dask_awkward")  # it has no types
        partition = _Partition(self, tuple(inputs))
        return dask_awkward.map_partitions(
            partition, *inputs.values(), meta=unknown_scores("float32"), label="anomaly-scores"
        )


@dataclass(frozen=True)
class _Partition:
    """Scores of one partition of the inputs."""

    wrapper: ScorerWrapper
    names: tuple[str, ...]

    def __call__(self, *inputs: ak.Array) -> ak.Array:
        if ak.backend(*inputs) == "typetracer":  # dask-awkward asks which columns are read
            for one in inputs:
                ak.typetracer.touch_data(one)
            return unknown_scores("float32")
        return self.wrapper._call_awkward(**dict(zip(self.names, inputs, strict=True)))  # noqa: SLF001  # its own


def _as_batch(inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
    """Inputs as models take them: awkward hands on float64 where someone has computed with it."""
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in inputs.items()}
