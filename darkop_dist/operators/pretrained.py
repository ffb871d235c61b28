"""Trained models by name, by directory, or from a web server with a hash that was told beforehand."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from darkop_dist.errors import FingerprintError, InputFileError, InputValueError, UnknownNameError
from darkop_dist.operators import checkpoint as scores
from darkop_dist.operators.calorimeter import checkpoint as calorimeter
from darkop_dist.operators.checkpoint import CARD_FILE, WEIGHTS_FILE

TIMEOUT_S = 60.0
LARGEST_BYTES = 1 << 30

Pretrained = scores.Checkpoint | calorimeter.CalorimeterCheckpoint


def from_pretrained(source: str | Path, *, sha256: str | None = None) -> Pretrained:
    """A trained model with its card; never a pickle.

    Args:
        source: a name of the package, a directory with ``model.safetensors`` and ``card.json``, or the https address of
            such a directory.
        sha256: of ``model.safetensors``, as 64 hexadecimal digits. It must be given for an address, whose card could
            else vouch for its own weights; for names and directories it may be.

    Returns:
        A `Checkpoint` of a score, or a `CalorimeterCheckpoint`, by the card's architecture.

    Raises:
        UnknownNameError: there is neither a checkpoint nor a directory of this name.
        InputValueError: an address is not https or comes without a hash.
        InputFileError: a file is absent, damaged, of another version, or has weights of another shape.
        FingerprintError: the weights are not those of the hash or of the card.
    """
    address = str(source)
    if re.match(r"[a-z][a-z0-9+.-]*://", address):
        return _from_address(address.rstrip("/"), sha256)
    directory = _directory(source)
    if sha256 is not None:
        _check(directory / WEIGHTS_FILE, sha256)
    return _load(directory)


def _directory(source: str | Path) -> Path:
    if str(source) in calorimeter.packaged_names():
        return calorimeter.PACKAGED / str(source)
    try:
        return scores.find_checkpoint(source)
    except UnknownNameError as error:
        known = tuple(sorted({*scores.packaged_names(), *calorimeter.packaged_names()}))
        raise UnknownNameError(
            "checkpoint", str(source), known, f"Give one of {', '.join(known)}, a directory or an https address"
        ) from error


def _load(directory: Path) -> Pretrained:
    card = directory / CARD_FILE
    try:
        architecture = json.loads(card.read_bytes()).get("architecture")
    except OSError as error:
        raise InputFileError(
            str(card), f"cannot be read ({error.strerror})", "Give a checkpoint's directory"
        ) from error
    except (ValueError, AttributeError) as error:
        raise InputFileError(str(card), f"not a card ({error})", "Fetch the checkpoint again") from error
    if architecture == calorimeter.ARCHITECTURE:
        return calorimeter.load_checkpoint(directory)
    return scores.load_checkpoint(directory)


def _from_address(address: str, sha256: str | None) -> Pretrained:
    if not address.startswith("https://"):
        raise InputValueError("checkpoint", f"{address} is no https address", "Give https://, a directory or a name")
    if sha256 is None:
        raise InputValueError(
            "sha256", f"none for {address}", f"Give the SHA-256 of its {WEIGHTS_FILE}, from a place that you trust"
        )
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        for name in (CARD_FILE, WEIGHTS_FILE):
            (directory / name).write_bytes(_fetched(f"{address}/{name}"))
        _check(directory / WEIGHTS_FILE, sha256, f"{address}/{WEIGHTS_FILE}")
        return _load(directory)


def _fetched(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310  # only https comes here
            content: bytes = answer.read(LARGEST_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        raise InputFileError(address, f"cannot be fetched ({error})", "Check the address and the network") from error
    if len(content) > LARGEST_BYTES:
        raise InputFileError(address, "larger than 1 GiB, no checkpoint is", "Give the right address")
    return content


def _check(path: Path, sha256: str, source: str | None = None) -> None:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputValueError("sha256", f"{sha256!r}", "Give 64 hexadecimal digits")
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputFileError(
            str(path), f"cannot be read ({error.strerror})", "Give a checkpoint's directory"
        ) from error
    if found != sha256.lower():
        raise FingerprintError(
            f"{source or path}: SHA-256 {found[:12]}..., asked for {sha256[:12].lower()}.... Ask for the right hash, "
            "or fetch the weights again"
        )
