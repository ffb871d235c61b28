"""Who may ask, and how much: bearer tokens and rate limits.

Tokens come from a file or from the environment, are kept as their SHA-256 only, and are compared in constant time. They
stand in no message, no log and no pickle: what travels is the name of the file or of the variable.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from darkop_dist.errors import InputFileError, UserError
from darkop_dist.scoring.server.rate import RateLimit
from darkop_dist.scoring.wire.problem import Problem, RefusedError

_SHORTEST = 16
"""Characters of a token; 16 of base64 are 96 bits."""


@dataclass(frozen=True)
class AccessSettings:
    """Who may ask, and how much.

    Attributes:
        token_file: file with one token a line, which its owner alone may read; several let tokens be changed in turn.
        token_env: environment variable that holds a token.
        requests_per_s: requests of one client in a second; a client is a token, or an address where none is needed.
        events_per_s: events of one client in a second.
        burst_s: seconds of these rates that may come at once.
    """

    token_file: Path | None = None
    token_env: str | None = None
    requests_per_s: float | None = None
    events_per_s: float | None = None
    burst_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse rates that let nothing through.

        Raises:
            UserError: a rate is not above zero.
        """
        for name in ("requests_per_s", "events_per_s", "burst_s"):
            if (value := getattr(self, name)) is not None and not 0 < value < float("inf"):
                raise UserError(f"access: {name} is {value}. Give a number above zero, or none for no limit")


@dataclass(frozen=True)
class _Token:
    """What is kept of a token: which it is, and its SHA-256."""

    name: str
    digest: bytes = field(repr=False)


class Access:
    """Lets requests in.

    Args:
        settings: where the tokens are, and the rates.
        environment: where variables are looked up; that of the process by default.

    Raises:
        InputFileError: the token file cannot be read, can be read by others, or holds no good token.
        UserError: the environment variable is not set, or holds no good token.
    """

    def __init__(self, settings: AccessSettings | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._settings = settings or AccessSettings()
        self._tokens = _tokens(self._settings, environment)
        self._requests = _limit(self._settings.requests_per_s, self._settings.burst_s)
        self._events = _limit(self._settings.events_per_s, self._settings.burst_s)

    @property
    def needs_token(self) -> bool:
        """Nobody is let in without a token."""
        return bool(self._tokens)

    def admit(self, authorization: str | None, peer: str) -> str:
        """Let a request in, before its body is read.

        Args:
            authorization: the header of this name.
            peer: the client's address.

        Returns:
            Who asks, for ``admit_events``.

        Raises:
            RefusedError: the token is wrong, or the client asks too often.
        """
        known = self._known(authorization)
        client = known or f"address {peer}"
        if self._requests is not None:
            _refuse(self._requests.take(client), "requests", self._settings.requests_per_s)
        if self.needs_token and known is None:
            what = "no bearer token" if authorization is None else "a token that is not known here"
            detail = f"the request carries {what}. Send the header authorization: Bearer TOKEN"
            raise RefusedError(Problem(code="unauthorized", detail=detail))
        return client

    def admit_events(self, client: str, events: int) -> None:
        """Let a request's events in.

        Args:
            client: what ``admit`` gave.
            events: in the request.

        Raises:
            RefusedError: the client sends too many in too short a time.
        """
        if self._events is not None:
            _refuse(self._events.take(client, events), "events", self._settings.events_per_s)

    def _known(self, authorization: str | None) -> str | None:
        """The name of the token that was sent, compared with every one in constant time."""
        scheme, _, token = (authorization or "").partition(" ")
        digest = _digest(token.strip())
        found = [known.name for known in self._tokens if hmac.compare_digest(known.digest, digest)]
        return found[0] if found and scheme.lower() == "bearer" else None

    def __reduce__(self) -> tuple[Callable[[AccessSettings], Access], tuple[AccessSettings]]:
        return Access, (self._settings,)  # read again where it arrives


def _refuse(wait_s: float, unit: str, per_s: float | None) -> None:
    if wait_s > 0:
        detail = f"more than {per_s:g} {unit} a second came from this client. Try again in {wait_s:.3g} s"
        raise RefusedError(Problem(code="rate-limited", detail=detail, retry_after_s=wait_s))


def _limit(per_s: float | None, burst_s: float) -> RateLimit | None:
    return None if per_s is None else RateLimit(per_s, burst_s)


def _tokens(settings: AccessSettings, environment: Mapping[str, str]) -> tuple[_Token, ...]:
    found = []
    if (path := settings.token_file) is not None:
        tokens = _read(path)
        if not tokens or min(map(len, tokens)) < _SHORTEST:
            raise InputFileError(str(path), f"holds no token, or one of less than {_SHORTEST} characters", _MAKE_ONE)
        found += [_Token(f"token {number}", _digest(token)) for number, token in enumerate(tokens, start=1)]
    if (name := settings.token_env) is not None:
        token = environment.get(name, "").strip()
        if len(token) < _SHORTEST:
            problem = f"holds less than {_SHORTEST} characters" if token else "is not set"
            raise UserError(f"environment variable {name}, which is to hold the server's token, {problem}. {_MAKE_ONE}")
        found.append(_Token("token of the environment", _digest(token)))
    return tuple(found)


_MAKE_ONE = 'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'


def _read(path: Path) -> list[str]:
    """The tokens of a file that only its owner can read."""
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            lines = file.read().split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(str(path), f"the token cannot be read: {error}", _MAKE_ONE) from error
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputFileError(str(path), "others than its owner can read the token", f"Run: chmod 600 {path}")
    if status.st_uid not in {os.getuid(), 0}:
        raise InputFileError(str(path), "the token belongs to another user", "Use a file of your own")
    return lines


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
