"""Why a request was refused: a code, a sentence, and what the client can do with it (RFC 9457)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

CONTENT_TYPE = "application/problem+json"

Code = Literal[
    "invalid-input", "unauthorized", "unknown-address", "unknown-model", "fingerprint", "too-large", "rate-limited",
    "busy", "draining", "deadline", "failed",
]  # fmt: skip

STATUS: dict[Code, int] = {
    "invalid-input": 400,
    "unauthorized": 401,
    "unknown-address": 404,
    "unknown-model": 404,
    "fingerprint": 409,
    "too-large": 413,
    "rate-limited": 429,
    "failed": 500,
    "busy": 503,
    "draining": 503,
    "deadline": 504,
}
"""HTTP status of each code. ``busy``, ``draining`` and ``rate-limited`` may be tried again, after ``retry_after_s``."""


class Problem(BaseModel):
    """A refusal, as JSON between machines.

    Attributes:
        code: what kind it is.
        detail: what is wrong and what to do, for a person.
        retry_after_s: how long to leave the server alone; None where another try would not help.
        values: what a program needs, such as ``expected`` and ``found`` of a fingerprint or the limits of a size.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: Code
    detail: str
    retry_after_s: float | None = None
    values: dict[str, JsonValue] = {}

    @property
    def status(self) -> int:
        """Its HTTP status."""
        return STATUS[self.code]


class RefusedError(Exception):
    """A request that is answered with a problem; raised where the server looks at it."""

    def __init__(self, problem: Problem) -> None:
        """Refuse with a problem."""
        super().__init__(problem.detail)
        self.problem = problem

    def __reduce__(self) -> tuple[type[RefusedError], tuple[Problem]]:
        return RefusedError, (self.problem,)
