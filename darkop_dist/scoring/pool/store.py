"""Checkpoints and settings of a pool, kept by the Ray cluster itself: replicas need no shared file system.

They are kept in the key-value store of Ray's head, where Serve keeps its own state too: what is there outlives the
process that put it there, and a replica that starts later, on any node, finds it. Cards and settings travel as JSON,
weights as safetensors; nothing is pickled, and every checkpoint is verified again where it arrives.
"""

from __future__ import annotations

from ray.experimental import internal_kv

from darkop_dist.errors import RunError
from darkop_dist.operators.checkpoint import Checkpoint, packed, unpacked
from darkop_dist.scoring.pool.settings import APPLICATION, Record

_NAMESPACE = f"{APPLICATION}-pool".encode()
_RECORD = b"record"
_PIECE_BYTES = 16 * 1024 * 1024
"""Well below what one message to Ray's head may hold."""


def put_checkpoint(checkpoint: Checkpoint) -> str:
    """Give the cluster a checkpoint.

    Returns:
        Its fingerprint, by which it is found again.
    """
    fingerprint = checkpoint.card.fingerprint
    if _get(_key(fingerprint, "card")) is None:
        card, weights = packed(checkpoint)
        for number, start in enumerate(range(0, len(weights), _PIECE_BYTES)):
            _put(_key(fingerprint, f"weights-{number:06}"), weights[start : start + _PIECE_BYTES])
        _put(_key(fingerprint, "card"), card)  # the last one: who finds it finds everything
    return fingerprint


def get_checkpoint(fingerprint: str) -> Checkpoint:
    """A checkpoint of the cluster, verified.

    Raises:
        RunError: the cluster does not have it.
        InputFileError: what it has is corrupt.
        FingerprintError: the weights or the architecture are not those of the card.
    """
    card = _get(_key(fingerprint, "card"))
    if card is None:
        raise RunError(
            f"the Ray cluster does not hold the checkpoint {fingerprint[:12]}. Start or update the pool again"
        )
    pieces = [_get(key) or b"" for key in sorted(_keys(_key(fingerprint, "weights-")))]
    checkpoint = unpacked(card, b"".join(pieces), f"checkpoint {fingerprint[:12]} of the Ray cluster")
    if checkpoint.card.fingerprint != fingerprint:
        raise RunError(f"the Ray cluster holds {checkpoint.card.fingerprint[:12]} in the place of {fingerprint[:12]}")
    return checkpoint


def forget_checkpoints(kept: set[str]) -> None:
    """Drop the checkpoints that are served no longer.

    Args:
        kept: fingerprints that stay.
    """
    for key in _keys(b""):
        if key != _RECORD and key.decode().partition("/")[0] not in kept:
            internal_kv._internal_kv_del(key, namespace=_NAMESPACE)  # noqa: SLF001  # Ray's libraries use it so


def put_record(record: Record) -> None:
    """Leave for those who come later what the pool is."""
    _put(_RECORD, record.model_dump_json().encode())


def get_record() -> Record | None:
    """What the cluster's pool is; None if there is none."""
    found = _get(_RECORD)
    return None if found is None else Record.model_validate_json(found)


def clear() -> None:
    """Forget the pool."""
    for key in _keys(b""):
        internal_kv._internal_kv_del(key, namespace=_NAMESPACE)  # noqa: SLF001


def _key(fingerprint: str, part: str) -> bytes:
    return f"{fingerprint}/{part}".encode()


def _put(key: bytes, value: bytes) -> None:
    internal_kv._internal_kv_put(key, value, overwrite=True, namespace=_NAMESPACE)  # noqa: SLF001


def _get(key: bytes) -> bytes | None:
    found: bytes | None = internal_kv._internal_kv_get(key, namespace=_NAMESPACE)  # noqa: SLF001
    return found


def _keys(prefix: bytes) -> list[bytes]:
    return list(internal_kv._internal_kv_list(prefix, namespace=_NAMESPACE))  # noqa: SLF001
