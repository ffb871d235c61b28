"""From a checkpoint and a batch to scores, the same to the last bit in every process of one machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from darkop_dist.errors import InputFileError
from darkop_dist.operators import density, fixed_point
from darkop_dist.operators.checkpoint import Checkpoint, Weights

ScoringFunction = Callable[[Mapping[str, npt.NDArray[np.float32]]], npt.NDArray[np.float32]]

ROWS_PER_CALL = 128
EVENTS_PER_BLOCK = 4096
_one_thread = threading.Lock()


def scoring_function(checkpoint: Checkpoint) -> ScoringFunction:
    """The function that scores a batch with the model of a checkpoint.

    Args:
        checkpoint: the model.

    Returns:
        A function from a valid batch to scores of shape (events,); it checks nothing.

    Raises:
        InputFileError: the architecture is unknown to this version, or the weights do not fit it.
    """
    card = checkpoint.card
    try:
        if card.architecture == "cylinder-fno-autoencoder":
            return _cylinder(checkpoint)
        if card.architecture == density.ARCHITECTURE:
            return _mixture(checkpoint)
        if card.architecture == fixed_point.ARCHITECTURE:
            return _fixed_point(checkpoint)
    except (ValueError, ValidationError) as error:
        raise InputFileError(
            f"checkpoint {card.name}", f"its weights or settings do not fit: {error}", "Fetch or train it again"
        ) from error
    raise InputFileError(
        f"checkpoint {card.name}",
        f"its architecture {card.architecture!r} is unknown to this version",
        "Install the version of darkop-dist that is named on its card",
    )


def _cylinder(checkpoint: Checkpoint) -> ScoringFunction:
    from darkop_dist.operators.cylinder import CylinderSettings

    spec = checkpoint.card.inputs[0]
    score = cylinder_scores(
        CylinderSettings.model_validate(checkpoint.card.settings), checkpoint.weights, (spec.shape[1], spec.shape[2])
    )
    return lambda batch: score(batch[spec.name])


def cylinder_scores(
    settings: object, weights: Weights, grid: tuple[int, int]
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """The function from fields to scores of a cylinder autoencoder.

    It works in pieces of a fixed number of events, the last one filled up with empty ones, and with one thread: both
    would otherwise decide the order of the sums.
    """
    import torch

    from darkop_dist.operators.cylinder import CylinderAutoencoder, CylinderSettings

    model = CylinderAutoencoder(
        CylinderSettings.model_validate(settings),
        {name: torch.tensor(np.asarray(array)) for name, array in weights.items()},
        grid,
    )

    def score(fields: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        scores = np.empty(len(fields), dtype=np.float32)
        piece = torch.zeros((ROWS_PER_CALL, *fields.shape[1:]), dtype=torch.float32)
        with one_thread(), torch.inference_mode():
            for start in range(0, len(fields), ROWS_PER_CALL):
                rows = np.array(fields[start : start + ROWS_PER_CALL], dtype=np.float32)
                piece[: len(rows)] = torch.from_numpy(rows)
                piece[len(rows) :] = 0.0
                scores[start : start + len(rows)] = model.score(piece).numpy()[: len(rows)]
        return scores

    return score


def _mixture(checkpoint: Checkpoint) -> ScoringFunction:
    spec = checkpoint.card.inputs[0]
    settings = density.DensitySettings.model_validate(checkpoint.card.settings)
    weights = {name: np.asarray(array, dtype=np.float64) for name, array in checkpoint.weights.items()}
    if {name: array.shape for name, array in weights.items()} != density.weight_shapes(settings, spec.shape[0]):
        raise ValueError("weights do not have the shapes of the settings")

    def score(batch: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        columns = batch[spec.name]  # in blocks that stay in the cache; an event's score depends on that event alone
        starts = range(0, len(columns), EVENTS_PER_BLOCK)
        found = [density.score_mixture(columns[start : start + EVENTS_PER_BLOCK], weights) for start in starts]
        return np.concatenate([np.empty(0, dtype=np.float32), *found])

    return score


def _fixed_point(checkpoint: Checkpoint) -> ScoringFunction:
    spec, network = checkpoint.card.inputs[0], fixed_point_network(checkpoint)

    def score(batch: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        inputs = batch[spec.name]
        starts = range(0, len(inputs), EVENTS_PER_BLOCK)
        found = [network.score(inputs[start : start + EVENTS_PER_BLOCK]) for start in starts]
        return np.concatenate([np.empty(0, dtype=np.float32), *found])

    return score


def fixed_point_network(checkpoint: Checkpoint) -> fixed_point.FixedPointNetwork:
    """The fixed-point network of a checkpoint.

    Raises:
        ValueError: the checkpoint holds another architecture, or its weights do not fit.
    """
    card = checkpoint.card
    if card.architecture != fixed_point.ARCHITECTURE:
        raise ValueError(f"{card.name} is a {card.architecture}, no {fixed_point.ARCHITECTURE}")
    settings = fixed_point.FixedPointSettings.model_validate(card.settings)
    if card.inputs[0].shape != settings.input_shape:
        raise ValueError(f"the input has shape {card.inputs[0].shape}, the network wants {settings.input_shape}")
    return fixed_point.network_of(settings, checkpoint.weights)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, and give back the number it had.

    torch's number of threads belongs to the process, hence the lock: two threads of a Dask worker take turns.
    """
    import torch

    with _one_thread:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
