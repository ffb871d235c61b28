"""Training of any `PhysicsOperator`: early stopping, mixed precision, and a resume that gives the same weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from darkop_dist.errors import FitError, InputFileError, InputValueError
from darkop_dist.operators.card import Losses
from darkop_dist.operators.descent import Epoch
from darkop_dist.operators.physics_operator import PhysicsOperator, Tensors

Batches = Callable[[int], Iterable[Tensors]]
"""Batches of an epoch, given its number; asked again for every epoch, so that no sample need be in memory."""

PhysicsLoss = Callable[[PhysicsOperator, Tensors], torch.Tensor]
"""A further term of the loss: model and batch to a scalar."""

SCHEMA = 1
STATE_FILE = "state.safetensors"
_MODEL, _BEST, _OPTIMISER, _EXTRA = "model.", "best.", "optimiser.", "extra."


class TrainerSettings(BaseModel):
    """How a model is trained: Adam, the learning rate falling along half a cosine.

    Attributes:
        batch: events of a gradient step, where the trainer makes the batches itself.
        learning_rate: of the first step.
        patience: epochs without a better validation loss after which training stops.
        mixed_precision: whether the model runs in bfloat16 where torch deems that safe; weights stay in float32.
        seed: of the order of the events and of all random numbers of the losses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=128, gt=0)
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    patience: int = Field(default=10, gt=0)
    mixed_precision: bool = False
    seed: int = Field(default=0, ge=0)


class _Note(BaseModel):
    """What a state holds beside tensors."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int
    settings: TrainerSettings
    epochs: int
    done: int
    train: list[float]
    validation: list[float]
    steps: list[float]


@dataclass
class _Run:
    """A training under way."""

    optimiser: torch.optim.Adam
    generator: torch.Generator
    best: dict[str, torch.Tensor]
    train: list[float]
    validation: list[float]

    @property
    def kept(self) -> int:
        return int(np.argmin(self.validation))


class OperatorTrainer:
    """Trains a model in place.

    Args:
        model: the model; `PhysicsOperator.prepare` sees the first batch before the first step.
        physics_loss: a term added to the model's own loss.
        symmetry_loss: a term added to that, such as the difference of scores of an event and its mirror image.
        settings: of the training.
    """

    def __init__(
        self,
        model: PhysicsOperator,
        *,
        physics_loss: PhysicsLoss | None = None,
        symmetry_loss: PhysicsLoss | None = None,
        settings: TrainerSettings | None = None,
    ) -> None:
        self.model = model
        self.terms = [term for term in (physics_loss, symmetry_loss) if term is not None]
        self.settings = settings or TrainerSettings()

    def fit(
        self,
        train_data: Tensors | Batches,
        val_data: Tensors | Batches,
        epochs: int,
        *,
        state: Path | None = None,
        resume: bool = False,
        progress: Callable[[Epoch], None] | None = None,
    ) -> Losses:
        """Train; the model is left with the weights of the epoch of smallest validation loss.

        After every epoch the state is written whole or not at all. A training that was killed and is resumed with the
        same data and settings ends with the same bits as one that was not.

        Args:
            train_data: events in memory, by name of the model input, or a function that gives the batches of an epoch.
            val_data: the same, for the choice of the epoch.
            epochs: most passes over the training events.
            state: folder of the state; none is written by default.
            resume: whether to go on from the state of that folder.
            progress: called after each epoch.

        Raises:
            InputValueError: there are no events, or inputs of different length.
            InputFileError: the state to be resumed is absent, damaged, or of another training.
            FitError: a loss is not finite.
        """
        train, validation = self._batches(train_data, shuffled=True), self._batches(val_data, shuffled=False)
        run = self._start(train, epochs)
        if resume:
            if state is None:
                raise InputValueError("resume", "no folder of a state", "Give the folder in which the state was kept")
            self._load(state, run, epochs)
        for number in range(len(run.train), epochs):
            if run.validation and number - run.kept > self.settings.patience:
                break
            run.train.append(self._epoch(run, train(number), number, epochs))
            run.validation.append(self._validated(validation(number)))
            if run.kept == number:
                run.best = {name: value.clone() for name, value in self.model.state_dict().items()}
            if state is not None:
                self._save(state, run, epochs)
            if progress is not None:
                progress(Epoch(number, epochs, run.train[-1], run.validation[-1]))
        self.model.load_state_dict(run.best)
        return Losses(train=tuple(run.train), validation=tuple(run.validation), kept_epoch=run.kept)

    def _start(self, train: Batches, epochs: int) -> _Run:
        first = next(iter(train(0)), None)
        if first is None or epochs < 1:
            raise InputValueError("training", "no events or no epoch", "Give events and one epoch or more")
        self.model.prepare(first)
        optimiser = torch.optim.Adam(self.model.parameters(), lr=self.settings.learning_rate)
        best = {name: value.clone() for name, value in self.model.state_dict().items()}
        return _Run(optimiser, torch.Generator().manual_seed(self.settings.seed), best, [], [])

    def _batches(self, data: Tensors | Batches, *, shuffled: bool) -> Batches:
        if callable(data):
            return data
        lengths = {len(value) for value in data.values()}
        if len(lengths) != 1 or lengths == {0}:
            raise InputValueError(
                "events", f"inputs of lengths {sorted(lengths)}", "Give as many of each, at least one"
            )
        held, (count,) = data, lengths

        def batches(number: int) -> Iterator[Tensors]:
            rng = np.random.default_rng([self.settings.seed, number])
            order = torch.from_numpy(rng.permutation(count)) if shuffled else torch.arange(count)
            for rows in order.split(self.settings.batch):
                yield {name: value[rows] for name, value in held.items()}

        return batches

    def _epoch(self, run: _Run, batches: Iterable[Tensors], number: int, epochs: int) -> float:
        self.model.train()
        rate = 0.5 * self.settings.learning_rate * (1.0 + np.cos(np.pi * number / epochs))
        for group in run.optimiser.param_groups:
            group["lr"] = rate
        total, count = 0.0, 0
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.mixed_precision):
                loss = self.model.loss(batch, run.generator)
                for term in self.terms:
                    loss = loss + term(self.model, batch)
            if not torch.isfinite(loss):
                raise FitError("training: the loss is not finite. Lower the learning rate or look at the events")
            run.optimiser.zero_grad()
            loss.float().backward()
            run.optimiser.step()
            size = len(next(iter(batch.values())))
            total, count = total + loss.item() * size, count + size
        if count == 0:
            raise InputValueError("training", f"no events in epoch {number}", "Give the same batches every epoch")
        return total / count

    def _validated(self, batches: Iterable[Tensors]) -> float:
        """Every epoch is judged with the same random numbers."""
        self.model.eval()
        generator, total, count = torch.Generator().manual_seed(self.settings.seed), 0.0, 0
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.mixed_precision):
                value = float(self.model.validation_loss(batch, generator).detach())
            size = len(next(iter(batch.values())))
            total, count = total + value * size, count + size
        if count == 0 or not np.isfinite(total):
            raise FitError("validation: no events, or a loss that is not finite. Look at the validation events")
        return total / count

    def _save(self, folder: Path, run: _Run, epochs: int) -> None:
        tensors = {_MODEL + name: value for name, value in self.model.state_dict().items()}
        tensors |= {_BEST + name: value for name, value in run.best.items()}
        tensors |= {_EXTRA + name: value for name, value in self.model.training_state().items()}
        moments = run.optimiser.state_dict()["state"]
        for number, entry in moments.items():
            tensors |= {f"{_OPTIMISER}{number}.{name}": entry[name] for name in ("exp_avg", "exp_avg_sq")}
        tensors["generator"] = run.generator.get_state()
        note = _Note(
            schema_version=SCHEMA,
            settings=self.settings,
            epochs=epochs,
            done=len(run.train),
            train=run.train,
            validation=run.validation,
            steps=[float(entry["step"]) for entry in moments.values()],
        )
        folder.mkdir(parents=True, exist_ok=True)
        packed = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
        _put(folder / STATE_FILE, save_tensors(packed, {"note": note.model_dump_json()}))

    def _load(self, folder: Path, run: _Run, epochs: int) -> None:
        path = folder / STATE_FILE
        try:
            content = path.read_bytes()
            tensors = load_tensors(content)
            length = int.from_bytes(content[:8], "little")
            note = _Note.model_validate_json(json.loads(content[8 : 8 + length])["__metadata__"]["note"])
        except OSError as error:
            raise InputFileError(str(path), "no state of a training", "Start without resume") from error
        except (SafetensorError, ValidationError, ValueError, KeyError) as error:
            raise InputFileError(str(path), f"not a state of a training ({error})", "Start without resume") from error
        if (note.schema_version, note.settings, note.epochs) != (SCHEMA, self.settings, epochs):
            raise InputFileError(str(path), "the state of a training with other settings", "Resume with its settings")
        self._take(tensors, note, run, path)

    def _take(self, tensors: Mapping[str, torch.Tensor], note: _Note, run: _Run, path: Path) -> None:
        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        try:
            self.model.load_state_dict(part(_MODEL))
        except RuntimeError as error:
            raise InputFileError(
                str(path), f"the state of another model ({error})", "Resume with that model"
            ) from error
        self.model.load_training_state(part(_EXTRA))
        run.best, run.train, run.validation = part(_BEST), list(note.train), list(note.validation)
        run.generator.set_state(tensors["generator"])
        moments = part(_OPTIMISER)
        full = run.optimiser.state_dict()
        full["state"] = {
            number: {
                "step": torch.tensor(step),
                "exp_avg": moments[f"{number}.exp_avg"],
                "exp_avg_sq": moments[f"{number}.exp_avg_sq"],
            }
            for number, step in enumerate(note.steps)
        }
        run.optimiser.load_state_dict(full)


def _put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
