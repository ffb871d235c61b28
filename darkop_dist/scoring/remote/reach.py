"""From the key ``operator.serve`` to a way to the server."""

from __future__ import annotations

import importlib

from darkop_dist.config.serving import Serving
from darkop_dist.errors import MissingExtraError
from darkop_dist.scoring.remote.transport import Transport


def transport_to(serving: Serving) -> Transport:
    """The way to the server that the key names.

    Raises:
        UserError: a token or certificate is missing.
        MissingExtraError: a library is not installed.
    """
    try:
        if serving.at.startswith("http"):
            from darkop_dist.scoring.remote.http import HttpTransport

            return HttpTransport(
                serving.at,
                token_env=serving.token_env,
                ca=serving.ca,
                compress=serving.compress,
                connections=serving.in_flight + 1,
            )
        # ray is at home in scoring.pool, which is loaded for addresses of Ray alone
        found = importlib.import_module("darkop_dist.scoring.pool.transport")
        transport: Transport = found.RayTransport(None if serving.at == "ray" else serving.at)
    except ModuleNotFoundError as error:
        extra = {"urllib3": "remote", "ray": "serve"}.get(error.name or "")
        if extra is not None:
            raise MissingExtraError(str(error.name), extra) from error
        raise
    return transport
