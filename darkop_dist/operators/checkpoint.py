"""Checkpoints: a directory with ``model.safetensors`` and ``card.json``, verified by a fingerprint when it is read."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from darkop_dist.errors import FingerprintError, InputFileError, InputValueError, OutputError, UnknownNameError
from darkop_dist.operators.card import Auc, Card, architecture_json

Weights = Mapping[str, npt.NDArray[np.float32] | npt.NDArray[np.float64]]

PACKAGED = Path(__file__).parent / "checkpoints"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"
_LARGEST_FILE_BYTES = 1 << 30


@dataclass(frozen=True)
class Checkpoint:
    """A trained model: its card and its weights as plain arrays."""

    card: Card
    weights: Weights


def fingerprint_of(weights: Weights, architecture: str) -> str:
    """SHA-256 over weights and architecture, as 64 hexadecimal digits.

    Args:
        weights: arrays by name; names, types, shapes and little-endian bytes all count, the order does not.
        architecture: `Card.architecture_json`.
    """
    digest = hashlib.sha256(architecture.encode())
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"\n{name}:{array.dtype.name}:{array.shape}\n".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def verify(checkpoint: Checkpoint, source: str) -> Checkpoint:
    """The checkpoint itself, if its weights and architecture are those of its fingerprint.

    Raises:
        FingerprintError: they are not.
        InputValueError: a weight is not finite.
    """
    card = checkpoint.card
    architecture = architecture_json(card.architecture, card.settings, card.inputs, card.score_axis)
    found = fingerprint_of(checkpoint.weights, architecture)
    if found != card.fingerprint:
        raise FingerprintError(
            f"{source}: the weights or the architecture are not those of the card: fingerprint {found[:12]}, "
            f"the card says {card.fingerprint[:12]}. Fetch or train the checkpoint {card.name!r} again"
        )
    for name, array in checkpoint.weights.items():
        if not np.isfinite(array).all():
            raise InputValueError(f"{source}: weight {name!r}", "it is not finite", "Train the checkpoint again")
    return checkpoint


def save_checkpoint(checkpoint: Checkpoint, directory: str | Path, *, overwrite: bool = False) -> Path:
    """Write a checkpoint; either all of it appears or nothing.

    Args:
        checkpoint: what to write.
        directory: the directory to make.
        overwrite: whether an existing checkpoint may be replaced.

    Returns:
        The directory.

    Raises:
        OutputError: the directory exists and ``overwrite`` is false, is not a checkpoint, or cannot be written.
    """
    verify(checkpoint, checkpoint.card.name)
    target = Path(directory)
    if target.exists():
        if not overwrite:
            raise OutputError(f"{target}: exists already. Choose another directory or ask to overwrite it")
        if not (target / CARD_FILE).is_file():
            raise OutputError(f"{target}: exists and holds no checkpoint. Choose another directory")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
            fresh = Path(temporary) / "new"
            fresh.mkdir()
            (fresh / WEIGHTS_FILE).write_bytes(save_tensors(dict(checkpoint.weights)))
            (fresh / CARD_FILE).write_text(checkpoint.card.model_dump_json(indent=2) + "\n", encoding="utf-8")
            _put_in_place(fresh, target, Path(temporary) / "old")
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error}). Choose another directory") from error
    return target


def load_checkpoint(directory: str | Path) -> Checkpoint:
    """Read a checkpoint and verify its fingerprint.

    Raises:
        InputFileError: a file is missing or corrupt.
        FingerprintError: the weights or the architecture are not those of the card.
        InputValueError: a weight is not finite.
    """
    folder = Path(directory)
    card = parse_card(_read(folder / CARD_FILE), str(folder / CARD_FILE))
    return _verified(card, _read(folder / WEIGHTS_FILE), str(folder / WEIGHTS_FILE), str(folder))


def packed(checkpoint: Checkpoint) -> tuple[bytes, bytes]:
    """A checkpoint as two files would hold it, card and weights, for a way between machines."""
    return checkpoint.card.model_dump_json().encode(), save_tensors(dict(checkpoint.weights))


def unpacked(card: bytes, weights: bytes, source: str) -> Checkpoint:
    """The checkpoint of two files' contents, verified.

    Args:
        card: JSON.
        weights: safetensors.
        source: where they came from, for messages.

    Raises:
        InputFileError: one of them is corrupt.
        FingerprintError: the weights or the architecture are not those of the card.
        InputValueError: a weight is not finite.
    """
    return _verified(parse_card(card, f"card of {source}"), weights, f"weights of {source}", source)


def parse_card(text: bytes | str, source: str) -> Card:
    """Parse a card.

    Raises:
        InputFileError: it is not a card of a known schema version.
    """
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputFileError(
            source, f"not a card of a checkpoint ({place}: {first['msg']})", "Fetch the checkpoint again"
        ) from error


def packaged_names() -> tuple[str, ...]:
    """Names of the checkpoints that come with the package."""
    return tuple(sorted(path.parent.name for path in PACKAGED.glob(f"*/{CARD_FILE}")))


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The directory of a checkpoint.

    Args:
        name_or_path: the name of a checkpoint that comes with the package, or a directory. A name of the package wins;
            write ``./name`` for a directory of the same name.

    Raises:
        UnknownNameError: there is neither.
    """
    known = packaged_names()
    if str(name_or_path) in known:
        return PACKAGED / str(name_or_path)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    raise UnknownNameError(
        "checkpoint",
        str(name_or_path),
        known,
        f"Give one of the packaged names ({', '.join(known) or 'there are none'}) or a directory with "
        f"{WEIGHTS_FILE} and {CARD_FILE}",
    )


def with_auc(checkpoint: Checkpoint, auc: Mapping[str, Auc]) -> Checkpoint:
    """The same checkpoint with more AUCs on its card; the fingerprint stays."""
    card = checkpoint.card.model_copy(update={"auc": {**checkpoint.card.auc, **auc}})
    return Checkpoint(card, checkpoint.weights)


def _verified(card: Card, weights: bytes, weights_source: str, source: str) -> Checkpoint:
    try:
        tensors = load_tensors(weights)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputFileError(weights_source, f"not a safetensors file ({error})", "Fetch it again") from error
    return verify(Checkpoint(card, tensors), source)


def _put_in_place(fresh: Path, target: Path, aside: Path) -> None:
    if not target.exists():
        fresh.rename(target)
        return
    target.rename(aside)
    try:
        fresh.rename(target)
    except OSError:
        aside.rename(target)
        raise


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise InputFileError(str(path), "larger than 1 GiB, no checkpoint is", "Give the right directory")
        return path.read_bytes()
    except OSError as error:
        raise InputFileError(
            str(path), f"cannot be read ({error.strerror or error})", "Give the directory of a checkpoint"
        ) from error
