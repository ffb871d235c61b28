"""Checkpoints of the calorimeter operator: ``model.safetensors`` and ``card.json`` in a directory."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from darkop_dist.errors import FingerprintError, InputFileError, OutputError, UnknownNameError
from darkop_dist.operators.calorimeter.operator import CalorimeterOperator, CalorimeterSettings
from darkop_dist.operators.calorimeter.training import ShowerFile, ShowerTraining, TrainedOperator
from darkop_dist.operators.card import Losses
from darkop_dist.operators.checkpoint import CARD_FILE, WEIGHTS_FILE, fingerprint_of
from darkop_dist.runs import file_sha256

ARCHITECTURE = "calorimeter-levy-operator"
PACKAGED = Path(__file__).parent / "checkpoints"
LICENCE = "GPL-3.0-or-later"
APPROXIMATIONS = (
    "Showers of single particles that hit the centre of the calorimeter at a right angle.",
    "Given the sum of a layer, the number of its deposits is drawn from a law with the sum's first moments.",
    "Energies outside of the range of the training showers are extrapolations.",
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingFile(_Frozen):
    """A file of showers that a checkpoint was trained on.

    Attributes:
        name: name of the file.
        sha256: of its bytes.
        particle: ``e-`` or ``gamma``.
        simulator: what made it, as the file says.
    """

    name: str
    sha256: str
    particle: str
    simulator: str


class CalorimeterCard(_Frozen):
    """Everything about a checkpoint of the calorimeter operator but its weights.

    Attributes:
        schema_version: version of this layout.
        name: name of the checkpoint.
        architecture: name of the architecture.
        settings: settings of the architecture.
        particles: what it makes showers of.
        incident_mev: smallest and largest energy of the training showers.
        fingerprint: SHA-256 over the weights, the architecture and its settings.
        files: what it was trained on.
        training: settings of the training, with the seed.
        showers: showers of the gradient steps.
        validation_showers: showers that only watched.
        energies: losses of the layer energies in nats per shower.
        voxels: losses of the voxels in nats per shower.
        seconds: duration of the training.
        approximations: what a reader must know.
        licence: SPDX name.
        created_with: versions of the software that made it.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]
    architecture: Literal["calorimeter-levy-operator"] = "calorimeter-levy-operator"
    settings: CalorimeterSettings
    particles: tuple[str, ...]
    incident_mev: tuple[float, float]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    files: tuple[TrainingFile, ...]
    training: ShowerTraining
    showers: int
    validation_showers: int
    energies: Losses
    voxels: Losses
    seconds: float
    approximations: tuple[str, ...] = APPROXIMATIONS
    licence: str = LICENCE
    created_with: dict[str, str]


@dataclass(frozen=True)
class CalorimeterCheckpoint:
    """A trained calorimeter operator and its card."""

    card: CalorimeterCard
    operator: CalorimeterOperator


def make_checkpoint(
    name: str,
    trained: TrainedOperator,
    files: Sequence[ShowerFile],
    training: ShowerTraining,
    incident_mev: tuple[float, float],
) -> CalorimeterCheckpoint:
    """The checkpoint of a training.

    Args:
        name: its name.
        trained: what the training gave.
        files: what it was trained on.
        training: how.
        incident_mev: smallest and largest incident energy of the files.
    """
    settings = trained.operator.settings
    return CalorimeterCheckpoint(
        CalorimeterCard(
            name=name,
            settings=settings,
            particles=tuple(dict.fromkeys(file.particle for file in files)),
            incident_mev=incident_mev,
            fingerprint=_fingerprint(trained.operator),
            files=tuple(
                TrainingFile(
                    name=file.path.name,
                    sha256=file_sha256(file.path),
                    particle=file.particle,
                    simulator=_simulator(file.path),
                )
                for file in files
            ),
            training=training,
            showers=trained.showers,
            validation_showers=trained.validation_showers,
            energies=trained.energies,
            voxels=trained.voxels,
            seconds=trained.seconds,
            created_with={
                "darkop-dist": version("darkop-dist"),
                "torch": version("torch"),
                "python": platform.python_version(),
            },
        ),
        trained.operator,
    )


def save_checkpoint(checkpoint: CalorimeterCheckpoint, directory: Path) -> Path:
    """Write a checkpoint to a new directory; either all of it appears or nothing.

    Raises:
        OutputError: the directory exists or cannot be written.
    """
    if directory.exists():
        raise OutputError(f"{directory}: exists already. Choose another directory")
    fresh = directory.with_name(f".{directory.name}.new")
    try:
        fresh.mkdir(parents=True)
        (fresh / WEIGHTS_FILE).write_bytes(save_tensors(_weights(checkpoint.operator)))
        (fresh / CARD_FILE).write_text(checkpoint.card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        fresh.rename(directory)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written ({error}). Choose another directory") from error
    return directory


def load_checkpoint(name_or_path: str | Path) -> CalorimeterCheckpoint:
    """The checkpoint of a packaged name or of a directory.

    Raises:
        UnknownNameError: there is neither.
        InputFileError: a file is missing or corrupt, or of another version.
        FingerprintError: the weights are not those of the card.
    """
    directory = _directory(name_or_path)
    source = directory / CARD_FILE
    try:
        card = CalorimeterCard.model_validate_json(_read(source))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputFileError(
            str(source), f"not a card of a calorimeter operator ({place}: {first['msg']})", "Fetch the checkpoint again"
        ) from error
    operator = CalorimeterOperator(card.settings)
    try:
        weights = load_tensors(_read(directory / WEIGHTS_FILE))
        operator.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise InputFileError(
            str(directory / WEIGHTS_FILE), f"not the weights of this card ({error})", "Fetch the checkpoint again"
        ) from error
    found = _fingerprint(operator)
    if found != card.fingerprint:
        raise FingerprintError(
            f"{directory}: the weights are not those of the card: fingerprint {found[:12]}, the card says "
            f"{card.fingerprint[:12]}. Fetch or train the checkpoint {card.name!r} again"
        )
    return CalorimeterCheckpoint(card, operator.eval())


def packaged_names() -> tuple[str, ...]:
    """Names of the calorimeter checkpoints that come with the package."""
    return tuple(sorted(path.parent.name for path in PACKAGED.glob(f"*/{CARD_FILE}")))


def _directory(name_or_path: str | Path) -> Path:
    if str(name_or_path) in packaged_names():
        return PACKAGED / str(name_or_path)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    known = packaged_names()
    raise UnknownNameError(
        "calorimeter checkpoint", str(name_or_path), known, f"Give one of {', '.join(known)}, or a directory"
    )


def _weights(operator: CalorimeterOperator) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {key: value.detach().numpy().copy() for key, value in operator.state_dict().items()}


def _fingerprint(operator: CalorimeterOperator) -> str:
    settings = json.dumps(operator.settings.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return fingerprint_of(_weights(operator), f"{ARCHITECTURE}:{settings}")


def _simulator(path: Path) -> str:
    from darkop_dist.operators.showers.files import shower_attributes

    return str(shower_attributes(path).get("simulator", "not said by the file"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputFileError(
            str(path), f"cannot be read ({error.strerror or error})", "Give the directory of a checkpoint"
        ) from error
