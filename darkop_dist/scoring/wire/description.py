"""What a client must know of a model before it sends the first event."""

from __future__ import annotations

from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, JsonValue

from darkop_dist.scoring.contract import InputSpec, ScoreAxis, Scorer


class _Input(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    shape: tuple[int, ...]
    dtype: str
    meaning: str
    representation: str
    settings: dict[str, JsonValue]


class _Axis(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    edges: tuple[float, ...]
    label: str
    fixed_on: str


class ModelDescription(BaseModel):
    """A served model, as JSON between machines.

    Attributes:
        name: under which it is served.
        fingerprint: SHA-256 over weights, architecture, inputs and score edges.
        inputs: what a batch must hold.
        score_axis: the binning of the score.
        best_events: events in a request at which the server is at its best.
        most_events: most events that one request may hold.
        most_bytes: most bytes that the body of one request may hold.
        version: of darkop-dist on the server.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    fingerprint: str
    inputs: tuple[_Input, ...]
    score_axis: _Axis
    best_events: int
    most_events: int
    most_bytes: int
    version: str

    @classmethod
    def of(
        cls, name: str, scorer: Scorer, *, best_events: int, most_events: int, most_bytes: int, version: str
    ) -> Self:
        """The description of a scorer."""
        axis = scorer.score_axis
        return cls.model_validate(
            {
                "name": name,
                "fingerprint": scorer.fingerprint,
                "inputs": [
                    {
                        "name": spec.name,
                        "shape": spec.shape,
                        "dtype": spec.dtype,
                        "meaning": spec.meaning,
                        "representation": spec.representation,
                        "settings": dict(spec.settings),
                    }
                    for spec in scorer.inputs
                ],
                "score_axis": {"edges": axis.edges, "label": axis.label, "fixed_on": axis.fixed_on},
                "best_events": best_events,
                "most_events": most_events,
                "most_bytes": most_bytes,
                "version": version,
            }
        )

    @cached_property
    def input_specs(self) -> tuple[InputSpec, ...]:
        """The inputs as the contract has them."""
        return tuple(InputSpec(**dict(spec)) for spec in self.inputs)

    @property
    def axis(self) -> ScoreAxis:
        """The binning as the contract has it."""
        return ScoreAxis(**dict(self.score_axis))
