"""From what a document says to a scorer."""

from __future__ import annotations

from pathlib import Path

from darkop_dist.errors import MissingExtraError, UserError
from darkop_dist.scoring.contract import Scorer


def resolve(checkpoint: str | Path, serve: str = "local") -> Scorer:
    """The scorer of a checkpoint.

    Args:
        checkpoint: name of a packaged checkpoint, or a directory.
        serve: where it runs; this version has ``local`` only, the process that reads the events.

    Raises:
        UserError: ``serve`` is not ``local``.
        UnknownNameError: there is no such checkpoint.
        InputFileError: a file of the checkpoint is missing or corrupt.
        FingerprintError: weights or architecture are not those of the card.
        MissingExtraError: the extra ``operators`` is not installed.
    """
    if serve != "local":
        raise UserError(
            f"operator.serve: {serve!r} is not available, this version scores 'local' only. Write serve: local"
        )
    try:
        from darkop_dist.scoring.local import LocalScorer

        return LocalScorer.from_checkpoint(checkpoint)
    except ModuleNotFoundError as error:
        if error.name in {"torch", "safetensors", "sklearn"}:
            raise MissingExtraError(error.name, "operators") from error
        raise
