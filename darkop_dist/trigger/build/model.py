"""What firmware is made of: a network in fixed point with a name, from a checkpoint or from a user's own module."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError
from darkop_dist.operators.checkpoint import Checkpoint, fingerprint_of
from darkop_dist.operators.evaluation import fixed_point_network
from darkop_dist.operators.fixed_point import FixedPointNetwork, overflows, weights_of

MOST_OVERFLOW = 0.01


@dataclass(frozen=True)
class TriggerModel:
    """A network to build.

    Attributes:
        name: of it, and of its folder.
        fingerprint: SHA-256 of its numbers.
        network: in fixed point.
    """

    name: str
    fingerprint: str
    network: FixedPointNetwork


def model_of(given: Checkpoint | TriggerModel) -> TriggerModel:
    """The network of a checkpoint.

    Raises:
        InputValueError: the checkpoint holds a model that has no fixed-point numbers.
    """
    if isinstance(given, TriggerModel):
        return given
    try:
        return TriggerModel(given.card.name, given.card.fingerprint, fixed_point_network(given))
    except ValueError as error:
        raise InputValueError(
            f"checkpoint {given.card.name}",
            f"firmware cannot be made of it: {error}",
            "Supported: networks of dense layers or patches with relu in fixed point, as darkop trigger train makes "
            "them of any operator",
        ) from error


def model_of_network(network: FixedPointNetwork, name: str) -> TriggerModel:
    """A network that is no checkpoint."""
    settings = network.settings.model_dump_json()
    return TriggerModel(name, fingerprint_of(weights_of(network), settings), network)


def require_events(inputs: npt.NDArray[np.float32], network: FixedPointNetwork) -> npt.NDArray[np.float32]:
    """The events, if they fit the network.

    Raises:
        InputValueError: there are none, or they have another shape.
    """
    if len(inputs) == 0 or inputs.shape[1:] != network.settings.input_shape:
        raise InputValueError(
            "events for the comparison",
            f"their shape is {inputs.shape}, the network takes {('events', *network.settings.input_shape)}",
            "Give a sample of darkop trigger sample",
        )
    return inputs


def require_range(model: TriggerModel, inputs: npt.NDArray[np.float32]) -> tuple[str, ...]:
    """Which numbers saturate for some of the events, in words, the worst first.

    Raises:
        InputValueError: one does for more than a hundredth of them; names the bits that it needs.
    """
    found = overflows(model.network, inputs)
    said = tuple(
        f"{one.place} saturates in {one.share:.3g} of the events: {one.bits} integer bits, {one.needed} hold them all"
        for one in found
    )
    if found and found[0].share > MOST_OVERFLOW:
        raise InputValueError(
            model.name,
            f"its integer parts overflow: {said[0]}"
            + (f" (and {len(found) - 1} other numbers)" if len(found) > 1 else ""),
            "Train it with such events, or give it more integer bits",
        )
    return said
