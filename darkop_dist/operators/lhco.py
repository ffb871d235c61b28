"""Anomaly scores on the features of the LHC Olympics' research data (arXiv:2101.08320), signal region 3.3 to 3.7 TeV.

The files are those of arXiv:2109.00546: ``innerdata_train.npy`` and ``innerdata_val.npy`` hold events as in data,
mostly QCD dijets with 0.6% of Z' (3.5 TeV) -> X (500 GeV) Y (100 GeV), ``innerdata_extrasig.npy`` further signal.
Columns are the dijet mass, the mass of the lighter of the two jets, the difference of both masses (TeV), tau21 of both
jets, and the label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict

from darkop_dist.errors import InputFileError
from darkop_dist.operators.auc import evaluate_auc
from darkop_dist.operators.card import Auc
from darkop_dist.operators.density import DensitySettings, fit_mixture, score_mixture
from darkop_dist.operators.merit import EFFICIENCIES, WorkingPoint, working_point
from darkop_dist.operators.trainer import OperatorTrainer, TrainerSettings
from darkop_dist.operators.wnae import INPUT, WassersteinAutoencoder, WnaeSettings

Floats = npt.NDArray[np.float64]
COLUMNS = 6
FEATURES = slice(1, 5)
"""The dijet mass chooses the signal region and is left out of the scores."""

MODELS = ("mixture", "autoencoder", "wnae", "supervised")
TRAINED_ON = {
    "mixture": "data",
    "autoencoder": "data",
    "wnae": "data",
    "supervised": "background and signal with labels: a ceiling",
}


@dataclass(frozen=True)
class LhcoSample:
    """Features (events, 4) of the benchmark.

    Attributes:
        data: events without labels for training, as data have them: background and 0.6% signal.
        validation: the same for the choice of the epoch.
        background: test background.
        signal: test signal.
        labelled: background and signal that trained nothing else, for the supervised ceiling.
    """

    data: Floats
    validation: Floats
    background: Floats
    signal: Floats
    labelled: tuple[Floats, Floats]


class ModelResult(BaseModel):
    """What a score reached.

    Attributes:
        model: its name.
        trained_on: with or without labels.
        auc: area under the ROC curve.
        points: at each background efficiency; None where no background event would be left.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    trained_on: str
    auc: Auc
    points: tuple[WorkingPoint | None, ...]


def read_lhco(folder: Path) -> LhcoSample:
    """Read the three files and part them.

    Nine tenths of ``train`` are the training data, the rest chooses the epoch; the background of ``val`` is the test
    background. Half of the further signal tests, half trains the supervised ceiling, with the background of ``train``.

    Raises:
        InputFileError: a file is absent, or has other columns.
    """
    train, val, signal = (_read(folder / f"innerdata_{name}.npy") for name in ("train", "val", "extrasig"))
    last, half = len(train) - len(train) // 10, len(signal) // 2
    return LhcoSample(
        data=train[:last, FEATURES],
        validation=train[last:, FEATURES],
        background=val[val[:, -1] == 0.0, FEATURES],
        signal=signal[half:, FEATURES],
        labelled=(train[train[:, -1] == 0.0, FEATURES], signal[:half, FEATURES]),
    )


def score_lhco(sample: LhcoSample, model: str, *, epochs: int, seed: int) -> tuple[Floats, Floats]:
    """Train a model of `MODELS` and score test background and signal.

    Args:
        sample: the events.
        model: ``mixture`` (a Gaussian mixture's negative log density), ``autoencoder``, ``wnae`` or ``supervised``.
        epochs: of the autoencoders.
        seed: of everything random.
    """
    if model == "supervised":
        return _supervised(sample, seed)
    centre, width = sample.data.mean(0), sample.data.std(0)
    data, validation, background, signal = (
        (part - centre) / width for part in (sample.data, sample.validation, sample.background, sample.signal)
    )
    if model == "mixture":
        weights = fit_mixture(data, DensitySettings(), seed)
        first, second = (score_mixture(part.astype(np.float32), weights) for part in (background, signal))
        return first.astype(np.float64), second.astype(np.float64)
    plain = {"warm_up": 1_000_000_000} if model == "autoencoder" else {}
    settings = WnaeSettings(columns=data.shape[1], latent=2).model_copy(update=plain)
    torch.manual_seed(seed)
    operator = WassersteinAutoencoder(settings, WassersteinAutoencoder.model_inputs(settings))
    trainer = OperatorTrainer(operator, settings=TrainerSettings(batch=256, learning_rate=2e-3, seed=seed))
    if model == "autoencoder":
        operator.validation_loss = operator.loss  # type: ignore[method-assign]
    trainer.fit(_tensors(data), _tensors(validation), epochs)
    with torch.no_grad():
        scores = [operator.score(_tensors(part)).double().numpy() for part in (background, signal)]
    return scores[0], scores[1]


def run_lhco(
    folder: Path, models: tuple[str, ...], *, epochs: int, seed: int, say: Callable[[str], None]
) -> list[ModelResult]:
    """Train and judge some models.

    Args:
        folder: of the three files.
        models: names of `MODELS`.
        epochs: of the autoencoders.
        seed: of everything random.
        say: told which model is under way.
    """
    sample = read_lhco(folder)
    results = []
    for model in models:
        say(f"{model}: training")
        background, signal = score_lhco(sample, model, epochs=epochs, seed=seed)
        points = tuple(working_point(background, signal, efficiency) for efficiency in EFFICIENCIES)
        results.append(
            ModelResult(model=model, trained_on=TRAINED_ON[model], auc=evaluate_auc(background, signal), points=points)
        )
    return results


def _supervised(sample: LhcoSample, seed: int) -> tuple[Floats, Floats]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    background, signal = sample.labelled
    trees = HistGradientBoostingClassifier(random_state=seed)
    trees.fit(np.concatenate([background, signal]), np.repeat([0, 1], [len(background), len(signal)]))
    first, second = (trees.decision_function(part) for part in (sample.background, sample.signal))
    return first, second


def _tensors(values: Floats) -> dict[str, torch.Tensor]:
    return {INPUT: torch.from_numpy(values.astype(np.float32))}


def _read(path: Path) -> Floats:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputFileError(
            str(path), f"cannot be read ({error})", "Give the folder of the LHC Olympics files"
        ) from error
    if values.ndim != 2 or values.shape[1] != COLUMNS:
        raise InputFileError(str(path), f"shape {values.shape}", f"Give events of {COLUMNS} columns, the last a label")
    found: Floats = values.astype(np.float64)
    return found
