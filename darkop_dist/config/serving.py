"""Key ``operator.serve``: where events are scored, and how patient a run is with it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from darkop_dist.config.section import SECTION, Name, rejected

ADDRESS = re.compile(r"local|auto|ray|ray://[^\s/]+:[0-9]+|https?://[^\s/]+(:[0-9]+)?/?")


def _check_address(value: object) -> object:
    if not isinstance(value, str) or not ADDRESS.fullmatch(value):
        raise rejected(
            "must be local, auto, ray, ray://HOST:PORT, http://HOST:PORT or https://HOST:PORT",
            value=str(value),
            choices=["local", "auto", "ray"],
        )
    return value


class Serving(BaseModel):
    """Where events are scored; ``serve: ray`` is short for ``serve: {at: ray}``."""

    model_config = SECTION

    at: Annotated[str, BeforeValidator(_check_address)] = "local"
    """``local`` is inside the process that reads them; ``ray`` the Ray cluster that this machine belongs to,
    ``ray://HOST:PORT`` another one, ``https://HOST:PORT`` a server of ``darkop serve``; ``auto`` measures and picks."""
    model: Name | None = None
    """Name of the model on the server; that with the checkpoint's fingerprint, or its name, by default."""
    fallback: Literal["none", "local"] = "none"
    """What happens when the server does not answer: the run stops, or goes on with the same model in the process."""
    deadline_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest time for one request, with all its tries, in seconds."""
    tries: Annotated[int, Field(ge=1)] = 10
    """How often a request is tried, where another try is safe and may help."""
    in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests of one process that may be under way at once."""
    token_env: Name | None = None
    """Name of the environment variable that holds the server's token; the token itself stands in no document."""
    ca: Name | None = None
    """File with the certificate of the authority that signed the server's, where the system does not know it."""
    compress: bool = False
    """Compress what is sent with zstd; for slow networks."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"at": value} if isinstance(value, str) else value

    @property
    def is_remote(self) -> bool:
        """Somebody else scores, or may."""
        return self.at != "local"
