"""A classifier between generated and simulated showers, as the CaloChallenge's evaluation trains it.

Source: ``DNN``, ``ttv_split``, ``train_and_evaluate_cls`` and ``evaluate_cls`` of the challenge's public
``code/evaluate.py`` (arXiv:2410.21611): linear layers with LeakyReLU, binary cross entropy, Adam at 2e-4, batches of
1000, 50 epochs; 60% of each sample trains, 20% choose the epoch of best accuracy and calibrate the output by isotonic
regression, 20% give AUC and JSD = 1 - BCE / ln 2 of the calibrated output. Here in single precision, theirs in double.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from sklearn.isotonic import IsotonicRegression

from darkop_dist.errors import InputValueError
from darkop_dist.operators.auc import evaluate_auc

Table = npt.NDArray[np.float32]

LEAST = 10
"""Showers of each kind below which a split into 60, 20 and 20% is not one."""


@dataclass(frozen=True)
class ClassifierSettings:
    """Settings of the classifier; the defaults are those of the challenge's code.

    Attributes:
        hidden_layers: number of hidden layers.
        width: nodes of each; 2048 for voxels of dataset 2.
        epochs: epochs of training.
        batch_size: showers of one step.
        learning_rate: of Adam.
    """

    hidden_layers: int = 3
    width: int = 512
    epochs: int = 50
    batch_size: int = 1000
    learning_rate: float = 2e-4


@dataclass(frozen=True)
class Discrimination:
    """How well a classifier tells two samples apart.

    Attributes:
        auc: area under the ROC curve; 0.5 for samples that it cannot tell apart.
        auc_error: its standard error, of the test showers alone (`evaluate_auc`).
        jsd: Jensen-Shannon divergence in units of ln 2; 0 for samples that it cannot tell apart, below by noise.
        best_epoch: the epoch that was kept, from 1.
        tested: test showers of each sample.
    """

    auc: float
    auc_error: float
    jsd: float
    best_epoch: int
    tested: int


def discriminate(
    generated: Table,
    reference: Table,
    *,
    seed: int,
    settings: ClassifierSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> Discrimination:
    """Train the classifier on the inputs of two samples and test it on showers that it has not seen.

    Args:
        generated: shape (showers, inputs).
        reference: shape (showers, inputs); as many showers.
        seed: seed of the split, the weights and the order of the showers.
        settings: of network and training.
        progress: called with the number of each epoch that is done.

    Raises:
        InputValueError: the samples differ in shape or are smaller than 10 showers.
    """
    settings = settings or ClassifierSettings()
    if generated.shape != reference.shape or len(generated) < LEAST:
        raise InputValueError(
            "showers",
            f"inputs of shapes {generated.shape} and {reference.shape}",
            f"Give samples of equal size, of {LEAST} showers or more",
        )
    rng = np.random.default_rng(seed)
    train, choose, test = _split(len(generated), rng)
    x = torch.from_numpy(np.concatenate([generated, reference]).astype(np.float32, copy=False))
    labels = np.repeat([0.0, 1.0], len(generated)).astype(np.float32)
    y = torch.from_numpy(labels)
    weights = torch.Generator().manual_seed(seed)
    model = _network(x.shape[1], settings, weights)
    best_epoch = _train(model, x, y, (train, choose), settings, rng, progress)
    calibrator = IsotonicRegression(out_of_bounds="clip", y_min=1e-6, y_max=1.0 - 1e-6)
    calibrator.fit(_output(model, x, choose, settings), labels[choose])
    predicted = calibrator.predict(_output(model, x, test, settings)).astype(np.float64)
    truth = labels[test] == 1.0
    area = evaluate_auc(predicted[~truth], predicted[truth])
    entropy = -np.where(truth, np.log(predicted), np.log1p(-predicted)).mean()
    return Discrimination(area.value, area.uncertainty, float(1.0 - entropy / np.log(2.0)), best_epoch, len(test) // 2)


Rows = npt.NDArray[np.int64]


def _split(count: int, rng: np.random.Generator) -> tuple[Rows, Rows, Rows]:
    """Rows of both samples, the second after the first, that train, choose and test."""
    orders = rng.permutation(count), count + rng.permutation(count)
    first, second = int(0.6 * count), int(0.6 * count) + int(0.2 * count)
    train, choose, test = (
        np.concatenate([order[low:high] for order in orders])
        for low, high in ((0, first), (first, second), (second, count))
    )
    return train, choose, test


def _network(inputs: int, settings: ClassifierSettings, generator: torch.Generator) -> torch.nn.Sequential:
    """Linear layers with torch's own initialisation, drawn from a generator instead of torch's global state."""
    widths = [inputs] + [settings.width] * settings.hidden_layers + [1]
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(widths):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, before, after)
        bound = before**-0.5
        with torch.no_grad():
            linear.weight.uniform_(-bound, bound, generator=generator)
            linear.bias.uniform_(-bound, bound, generator=generator)
        layers += [linear, torch.nn.LeakyReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _train(
    model: torch.nn.Sequential,
    x: torch.Tensor,
    y: torch.Tensor,
    rows: tuple[Rows, Rows],
    settings: ClassifierSettings,
    rng: np.random.Generator,
    progress: Callable[[int], None] | None,
) -> int:
    """Train, leave the weights of the epoch of best accuracy in the model, and return that epoch."""
    train, choose = rows
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    loss_of = torch.nn.BCEWithLogitsLoss()
    best, best_epoch, kept = -1.0, 0, model.state_dict()
    for epoch in range(1, settings.epochs + 1):
        order = rng.permutation(train)
        for begin in range(0, len(order), settings.batch_size):
            batch = torch.from_numpy(order[begin : begin + settings.batch_size])
            loss = loss_of(model(x[batch])[:, 0], y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        accuracy = float(((_output(model, x, choose, settings) > 0.5) == (y[choose].numpy() == 1.0)).mean())
        if accuracy > best:
            best, best_epoch = accuracy, epoch
            kept = {name: value.clone() for name, value in model.state_dict().items()}
        if progress is not None:
            progress(epoch)
        if accuracy == 1.0:
            break
    model.load_state_dict(kept)
    return best_epoch


def _output(
    model: torch.nn.Sequential, x: torch.Tensor, rows: Rows, settings: ClassifierSettings
) -> npt.NDArray[np.float64]:
    """Probability of the reference for some rows."""
    with torch.no_grad():
        parts = [
            torch.sigmoid(model(x[torch.from_numpy(rows[begin : begin + settings.batch_size])])[:, 0].double())
            for begin in range(0, len(rows), settings.batch_size)
        ]
    found: npt.NDArray[np.float64] = torch.cat(parts).numpy()
    return found
