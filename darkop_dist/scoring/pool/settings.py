"""What a pool is asked to be; looked at before anything is started."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from darkop_dist.errors import UserError
from darkop_dist.scoring.server import EngineSettings
from darkop_dist.scoring.server.access import Access, AccessSettings
from darkop_dist.scoring.server.listen import Listen, check_listen

APPLICATION = "darkop"
"""Name of the Serve application; a Ray cluster holds one pool."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FROZEN = ConfigDict(frozen=True, extra="forbid")
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # only replaced, for messages

Model = TypeVar("Model", bound=BaseModel)


class Replicas(BaseModel):
    """How many replicas there are; Serve adds and ends them between the two numbers.

    Attributes:
        least: 0 lets the pool shrink to nothing while nobody asks; the first request then waits for a replica to start.
        most: replicas under load.
        requests: requests that a replica should have at once; more make another replica.
        grow_s: how long more must be wanted before a replica is added.
        shrink_s: how long fewer must be wanted before one is ended.
    """

    model_config = _FROZEN

    least: Annotated[int, Field(ge=0)] = 1
    most: Annotated[int, Field(ge=1)] = 1
    requests: Annotated[float, Field(gt=0)] = 4.0
    grow_s: Annotated[float, Field(ge=0)] = 2.0
    shrink_s: Annotated[float, Field(ge=0)] = 300.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"at least {self.least} and at most {self.most} replicas. Give the smaller number first")
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """Replicas as the command line writes them: ``2``, or ``0..4``.

        Raises:
            UserError: it is neither.
        """
        if not (found := re.fullmatch(r"(\d{1,4})(?:\.\.(\d{1,4}))?", text.strip())):
            raise UserError(f"replicas: {text!r} is no number and no range. Write 1, or 0..4")
        least, most = int(found[1]), int(found[2] or found[1])
        if most == 0:
            raise UserError("replicas: 0 would never answer. Write 0..1 to start one with the first request")
        return validated(cls, least=least, most=most)


class PoolSettings(BaseModel):
    """A pool of scores.

    Attributes:
        models: by the name under which each is served, a packaged checkpoint's name or a directory.
        engine: limits of each replica.
        replicas: how many there are.
        listen: where HTTP is, on the loopback interface by default; gRPC has the same host and certificate.
        grpc_port: of gRPC; None for none.
        access: who may ask, and how much, at each replica.
        cpus: cores that Ray sets aside for a replica.
        gpus: GPUs, or a part of one, that Ray sets aside for a replica.
        drain_s: how long a replica that is stopped may take to answer what it has taken on.
        dashboard: start Ray's dashboard, on the loopback interface.
    """

    model_config = _FROZEN

    models: Annotated[dict[str, str], Field(min_length=1)]
    engine: EngineSettings = EngineSettings()
    replicas: Replicas = Replicas()
    listen: Listen = Listen()
    grpc_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    access: AccessSettings = AccessSettings()
    cpus: Annotated[float, Field(ge=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    drain_s: Annotated[float, Field(gt=0)] = 30.0
    dashboard: bool = False

    @field_validator("models")
    @classmethod
    def _named(cls, models: dict[str, str]) -> dict[str, str]:
        for name in models:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name. Use letters, digits, '.', '_' and '-'")
        return models

    @field_validator("gpus")
    @classmethod
    def _whole_gpus(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("above 1, a replica can have whole GPUs only. Give 0.25, or 2")
        return gpus

    @model_validator(mode="after")
    def _ports(self) -> Self:
        if self.listen.port and self.listen.port == self.grpc_port:
            raise ValueError(f"HTTP and gRPC cannot share port {self.grpc_port}. Give two")
        return self

    @property
    def has_token(self) -> bool:
        """Clients must show a token."""
        return self.access.token_env is not None or self.access.token_file is not None

    @property
    def address(self) -> str:
        """What documents name as ``operator.serve``, seen from this machine."""
        return f"{self.listen.scheme}://{_reachable(self.listen.host)}:{self.listen.port}"

    @property
    def grpc_address(self) -> str | None:
        """``HOST:PORT`` of gRPC, seen from this machine; None if there is none."""
        return None if self.grpc_port is None else f"{_reachable(self.listen.host)}:{self.grpc_port}"

    def check(self) -> None:
        """Check that the pool may listen where it is asked to, and that its token can be read here.

        Raises:
            UserError: others can reach it, and there is no token or no TLS; or the token is not there.
            InputFileError: a file with the token, the certificate or its key cannot be used.
        """
        check_listen(self.listen, needs_token=self.has_token)
        Access(self.access)

    def check_shared_ray(self, *, grpc: bool) -> None:
        """Check that gRPC may be on in a Ray that is not the pool's own: there Serve listens on all interfaces.

        Args:
            grpc: it is on.

        Raises:
            UserError: it is, without a token, or without the word that nobody but a proxy with TLS gets there.
        """
        if grpc and not (self.has_token and self.listen.insecure_behind_tls_proxy):
            raise UserError(
                "gRPC on a Ray that is there already is open to the network, without TLS, whatever the host is. Leave "
                "it out, or give a token (--token-file, --token-env) and --insecure-behind-tls-proxy if only such a "
                "proxy gets there"
            )

    def elsewhere(self) -> PoolSettings:
        """The same settings for processes that run in other directories: files are named by their whole path."""
        listen = replace(self.listen, certificate=_whole(self.listen.certificate), key=_whole(self.listen.key))
        access = replace(self.access, token_file=_whole(self.access.token_file))
        return self.model_copy(update={"listen": listen, "access": access})

    def version(self) -> str:
        """Differs where replicas must start anew; the models are no part of it: replicas take them up in place."""
        kept = self.model_dump_json(exclude={"models"})
        return hashlib.sha256(kept.encode()).hexdigest()[:16]


class Record(BaseModel):
    """What a pool is, for those who look at it, update it or stop it.

    Attributes:
        settings: what it was asked to be.
        fingerprints: by model name, what it serves.
    """

    model_config = ConfigDict(frozen=True)

    settings: PoolSettings
    fingerprints: dict[str, str]


def validated(model: type[Model], **values: Any) -> Model:
    """An object of settings, with all mistakes in one error.

    Raises:
        UserError: names each setting, what is wrong with it and what to do.
    """
    try:
        return model(**values)
    except ValidationError as error:
        raise UserError("; ".join(map(_sentence, error.errors()))) from error


def named_checkpoints(given: Iterable[str]) -> Mapping[str, str]:
    """Checkpoints by the name under which they are served.

    Args:
        given: ``NAME=PATH``, or a packaged name or directory, whose last part becomes the name.

    Raises:
        UserError: two have the same name.

    >>> named_checkpoints(["cylinder-fno-v1", "big=models/v2"])
    {'cylinder-fno-v1': 'cylinder-fno-v1', 'big': 'models/v2'}
    """
    models: dict[str, str] = {}
    for one in given:
        name, renamed, place = one.partition("=")
        if not renamed or Path(one).exists():
            name, place = Path(one).resolve().name, one
        if name in models:
            raise UserError(f"two checkpoints would be served as {name!r}. Write NAME=PATH for one of them")
        models[name] = place
    return models


def _reachable(host: str) -> str:
    host = _ANY_HOST.get(host, host)
    return f"[{host}]" if ":" in host else host


def _whole(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().resolve()


def _sentence(mistake: Any) -> str:
    place, message = ".".join(map(str, mistake["loc"])), mistake["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
