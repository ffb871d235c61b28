"""The base class of models that score events, ours and a user's, and their names in documents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

import torch
from pydantic import BaseModel

from darkop_dist.errors import InputValueError, UnknownNameError
from darkop_dist.operators.card import ModelInput

Tensors = Mapping[str, torch.Tensor]
"""Model inputs by name; the first axis of every tensor counts the events."""


class PhysicsOperator(torch.nn.Module, ABC):
    """A model that gives every event a score, larger for a more anomalous one.

    A model of one's own is a subclass with two class attributes and one or two methods, under a name that documents
    use (`register_model`). Weights are torch parameters, scales and other fixed numbers are buffers: both go into
    the checkpoint, nothing else does.

    Attributes:
        Settings: settings of the architecture, with defaults; they stand in a document and on the card.
        score_meaning: what the score is, in words, for the card.
    """

    Settings: ClassVar[type[BaseModel]]
    score_meaning: ClassVar[str]

    def __init__(self, settings: BaseModel, inputs: tuple[ModelInput, ...]) -> None:
        """Make the model with random weights of torch's global generator.

        Args:
            settings: an object of ``Settings``.
            inputs: what the model will be given, in the order of `model_inputs`.
        """
        super().__init__()
        self.settings = settings
        self.inputs = inputs

    @classmethod
    @abstractmethod
    def model_inputs(cls, settings: BaseModel) -> tuple[ModelInput, ...]:
        """What a model of these settings takes, where a document does not say it."""

    @abstractmethod
    def score(self, batch: Tensors) -> torch.Tensor:
        """Score of each event; shape (events,). It must depend on that event and the weights alone."""

    def prepare(self, batch: Tensors) -> None:
        """Set scales and other buffers from the first training events, once, before the first gradient step."""

    def loss(self, batch: Tensors, generator: torch.Generator) -> torch.Tensor:
        """The loss that training minimises, a scalar; the mean score unless a model says otherwise.

        Args:
            batch: training events.
            generator: source of all random numbers of the step, so that a training can be resumed exactly.
        """
        del generator
        return self.score(batch).mean()

    def validation_loss(self, batch: Tensors, generator: torch.Generator) -> torch.Tensor:
        """The number that chooses the epoch, smaller is better; the loss unless a model says otherwise."""
        return self.loss(batch, generator)

    def training_state(self) -> dict[str, torch.Tensor]:
        """What an exact resume needs beside weights, buffers and optimiser, such as a replay buffer."""
        return {}

    def load_training_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `training_state` gave."""


_MODELS: dict[str, type[PhysicsOperator]] = {}
Model = TypeVar("Model", bound=type[PhysicsOperator])


def register_model(name: str) -> Callable[[Model], Model]:
    """Give a model a name that documents and cards use; for the decoration of a `PhysicsOperator`.

    Args:
        name: the name; a class that is defined again under its own name (a module that is imported twice) replaces
            the older one.

    Raises:
        InputValueError: the class is no `PhysicsOperator`, or another model has the name.
    """

    def registered(model: Model) -> Model:
        if not (isinstance(model, type) and issubclass(model, PhysicsOperator)):
            raise InputValueError(f"model {name!r}", f"{model!r} is no PhysicsOperator", "Derive it from that class")
        taken = _MODELS.get(name)
        if taken is not None and taken.__qualname__ != model.__qualname__:
            raise InputValueError(
                f"model {name!r}", f"the name belongs to {taken.__qualname__}", "Register it under another name"
            )
        _MODELS[name] = model
        return model

    return registered


def model_named(name: str) -> type[PhysicsOperator]:
    """The model of a name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in _MODELS:
        known = tuple(sorted(_MODELS))
        raise UnknownNameError(
            "model", name, known, f"Known are {', '.join(known)}; import the module of your own first"
        )
    return _MODELS[name]
