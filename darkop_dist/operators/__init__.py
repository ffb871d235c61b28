"""Operators: the models that score events, their training and their checkpoints.

Words:
    operator: a model from functions to functions; here a Fourier neural operator autoencoder on the eta-phi cylinder
        (``cylinder``), and beside it a density model for flat columns (``density``).
    score: one number per event, larger is more anomalous.
    score axis: the binning of the score, fixed on events that neither train nor calibrate (``score_axis``).
    checkpoint: a directory with ``model.safetensors`` and ``card.json``; the card says what the model takes, what it
        was trained on and its AUC against each signal.
    fingerprint: SHA-256 over weights, architecture, inputs and score edges; one run uses one fingerprint.

Inputs are arrays made by ``events.representations``; the output is a `Checkpoint`. The names here load no torch;
training is in ``operators.training``, which does.
"""

from darkop_dist.operators.auc import evaluate_auc
from darkop_dist.operators.card import Auc, Card, ModelInput, ModelScoreAxis
from darkop_dist.operators.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    packaged_names,
    save_checkpoint,
    with_auc,
)

__all__ = [
    "Auc",
    "Card",
    "Checkpoint",
    "ModelInput",
    "ModelScoreAxis",
    "evaluate_auc",
    "find_checkpoint",
    "load_checkpoint",
    "packaged_names",
    "save_checkpoint",
    "with_auc",
]
