"""From what a document says to a scorer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from darkop_dist.config.serving import Serving
from darkop_dist.errors import FingerprintError, MissingExtraError, UnknownNameError, UserError
from darkop_dist.scoring.contract import Scorer

if TYPE_CHECKING:
    from darkop_dist.scoring.local import LocalScorer
    from darkop_dist.scoring.remote.scorer import RemoteScorer
    from darkop_dist.scoring.remote.transport import Transport
    from darkop_dist.scoring.wire.description import ModelDescription

ADDRESS_ENV = "DARKOP_SERVE"
ASK_S = 10.0


def resolve(checkpoint: str | Path, serve: str | Serving = "local") -> Scorer:
    """The scorer of a checkpoint.

    Args:
        checkpoint: name of a packaged checkpoint, or a directory; for a server also the name of a model there.
        serve: where it runs: ``local``, the process that reads the events; ``ray``, ``ray://host:port``,
            ``http://host:port`` or ``https://host:port``; ``auto``, see ``remote.auto``, which knows a server from the
            environment variable DARKOP_SERVE.

    Raises:
        UserError: the server does not answer, or a token or certificate is missing.
        UnknownNameError: there is no such checkpoint, or the server has no such model.
        InputFileError: a file of the checkpoint is missing or corrupt.
        FingerprintError: weights or architecture are not those of the card, or the server's model is another one.
        MissingExtraError: an extra is not installed.
    """
    try:
        serving = Serving.model_validate(serve)
    except ValidationError as error:
        raise UserError(f"operator.serve: {serve!r} {error.errors()[0]['msg']}") from error
    if serving.at == "auto":
        at = os.environ.get(ADDRESS_ENV, "ray" if os.environ.get("RAY_ADDRESS") else "local")
        if at == "local":
            return _local(checkpoint)
        serving = Serving.model_validate(serving.model_dump() | {"at": at})
        from darkop_dist.scoring.remote.auto import AutoScorer

        local = _local(checkpoint)
        try:
            return AutoScorer(_remote(checkpoint, serving, local), local)
        except (UnknownNameError, _SilentError):
            return local
    if not serving.is_remote:
        return _local(checkpoint)
    if serving.fallback == "none":
        return _remote(checkpoint, serving, _local_if_any(checkpoint))
    from darkop_dist.scoring.remote.fallback import FallbackScorer

    local = _local(checkpoint)
    return FallbackScorer(_remote(checkpoint, serving, local), local)


class _SilentError(UserError):
    """The server does not answer."""


def _local(checkpoint: str | Path) -> LocalScorer:
    try:
        from darkop_dist.scoring.local import LocalScorer

        return LocalScorer.from_checkpoint(checkpoint)
    except ModuleNotFoundError as error:
        if error.name in {"torch", "safetensors", "sklearn"}:
            raise MissingExtraError(error.name, "operators") from error
        raise


def _local_if_any(checkpoint: str | Path) -> LocalScorer | None:
    """The checkpoint, if this machine has it and what it takes to read it."""
    try:
        return _local(checkpoint)
    except (UnknownNameError, MissingExtraError):
        return None


def _remote(checkpoint: str | Path, serving: Serving, local: LocalScorer | None) -> RemoteScorer:
    from darkop_dist.scoring.remote.reach import transport_to
    from darkop_dist.scoring.remote.scorer import RemoteScorer

    transport = transport_to(serving)
    try:
        served = _asked(transport, checkpoint)
    finally:
        transport.close()
    return RemoteScorer(serving, _chosen(served, str(checkpoint), serving, local))


def _asked(transport: Transport, checkpoint: str | Path) -> tuple[ModelDescription, ...]:
    from darkop_dist.scoring.remote.transport import BusyError, OutageError, RejectedError

    try:
        return transport.models(ASK_S)
    except (OutageError, BusyError) as error:
        raise _SilentError(
            f"operator.serve: the server does not answer: {error}. Start one: darkop serve {checkpoint}, or correct "
            "the address"
        ) from error
    except RejectedError as error:
        raise UserError(f"operator.serve: {transport.address}: {error}") from error


def _chosen(
    served: tuple[ModelDescription, ...], checkpoint: str, serving: Serving, local: LocalScorer | None
) -> ModelDescription:
    """The served model that the document means: by the name it gives, by the checkpoint's fingerprint, by its name."""
    by_name = {one.name: one for one in served}
    if serving.model is not None:
        found = by_name.get(serving.model)
    elif local is not None:
        same = [one for one in served if one.fingerprint == local.fingerprint]
        found = same[0] if same else by_name.get(local.card.name)
    else:
        found = by_name.get(checkpoint)
    if found is None:
        name = serving.model or (local.card.name if local is not None else checkpoint)
        there = ", ".join(sorted(by_name)) or "none"
        told = f"The server at {serving.at} has {there}. Serve it: darkop serve {checkpoint}"
        raise UnknownNameError("served model", name, by_name, told)
    if local is not None and found.fingerprint != local.fingerprint:
        raise FingerprintError(
            f"{serving.at}: model {found.name} has the fingerprint {found.fingerprint}, the checkpoint {checkpoint} "
            f"here {local.fingerprint}. Serve this checkpoint: darkop serve {checkpoint}"
        )
    return found
