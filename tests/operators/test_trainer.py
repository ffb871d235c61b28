"""Training of a model: the best epoch, further losses, and a resume after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from darkop_dist.errors import FitError, InputFileError, InputValueError
from darkop_dist.operators.descent import Epoch
from darkop_dist.operators.physics_operator import PhysicsOperator, Tensors
from darkop_dist.operators.trainer import OperatorTrainer, TrainerSettings
from darkop_dist.operators.wnae import WassersteinAutoencoder, WnaeSettings

SETTINGS = TrainerSettings(batch=32, seed=3)
SMALL = WnaeSettings(columns=3, hidden=(8,), latent=1, warm_up=10, steps=4, through=2, buffer=64)
RESUMED = """
import sys, time
from pathlib import Path
sys.path.insert(0, str(Path({tests!r})))
from test_trainer import fit
fit(Path({state!r}), progress=lambda epoch: (print(epoch.number, flush=True), time.sleep(0.2)))
"""


def events(count: int, seed: int) -> dict[str, torch.Tensor]:
    return {"columns": torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)).cumsum(1)}


def model(settings: WnaeSettings = SMALL) -> WassersteinAutoencoder:
    torch.manual_seed(1)
    return WassersteinAutoencoder(settings, WassersteinAutoencoder.model_inputs(settings))


def fit(state: Path | None, *, resume: bool = False, progress: object = None) -> WassersteinAutoencoder:
    made = model()
    OperatorTrainer(made, settings=SETTINGS).fit(
        events(200, 1),
        events(50, 2),
        12,
        state=state,
        resume=resume,
        progress=progress,  # type: ignore[arg-type]
    )
    return made


def equal(one: PhysicsOperator, two: PhysicsOperator) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def test_the_epoch_of_smallest_validation_loss_is_kept() -> None:
    made, told = model(), list[Epoch]()
    losses = OperatorTrainer(made, settings=SETTINGS).fit(events(200, 1), events(50, 2), 6, progress=told.append)
    assert losses.kept_epoch == min(range(6), key=losses.validation.__getitem__)
    assert [epoch.number for epoch in told] == list(range(6))
    generator = torch.Generator().manual_seed(SETTINGS.seed)
    batches = [{"columns": part} for part in events(50, 2)["columns"].split(32)]
    found = sum(float(made.validation_loss(part, generator)) * len(part["columns"]) for part in batches) / 50
    assert found == pytest.approx(losses.validation[losses.kept_epoch], rel=1e-6)


def test_training_stops_when_the_validation_loss_does_not_fall() -> None:
    rising = iter(range(1, 100))
    made = model()
    made.validation_loss = lambda *_: torch.tensor(float(next(rising)))  # type: ignore[method-assign]
    patient = SETTINGS.model_copy(update={"patience": 2})
    losses = OperatorTrainer(made, settings=patient).fit(events(64, 1), events(16, 2), 50)
    assert (len(losses.train), losses.kept_epoch) == (3, 0)


def test_batches_of_a_function_are_asked_for_again_every_epoch_and_none_is_kept() -> None:
    alive, most, asked = 0, 0, list[int]()

    class Counted(dict[str, torch.Tensor]):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def batches(epoch: int) -> Iterator[Tensors]:
        nonlocal alive, most
        asked.append(epoch)
        for seed in range(40):
            batch = Counted(events(16, seed))
            alive += 1
            most = max(most, alive)
            yield batch
            del batch

    OperatorTrainer(model(), settings=SETTINGS).fit(batches, events(16, 2), 2)
    assert asked == [0, 0, 1]  # the first batch is looked at once before
    assert most <= 3


def test_further_losses_are_added() -> None:
    def mirror(which: PhysicsOperator, batch: Tensors) -> torch.Tensor:
        flipped = {"columns": -batch["columns"]}
        return (which.score(batch) - which.score(flipped)).square().mean()

    plain, odd = model(), model()
    OperatorTrainer(plain, settings=SETTINGS).fit(events(200, 1), events(50, 2), 6)
    OperatorTrainer(odd, symmetry_loss=mirror, settings=SETTINGS).fit(events(200, 1), events(50, 2), 6)
    with torch.no_grad():
        assert float(mirror(odd, events(300, 5))) < 0.5 * float(mirror(plain, events(300, 5)))


def test_mixed_precision_trains_too() -> None:
    made = model(SMALL.model_copy(update={"warm_up": 1000}))
    mixed = SETTINGS.model_copy(update={"mixed_precision": True})
    losses = OperatorTrainer(made, settings=mixed).fit(events(200, 1), events(50, 2), 6)
    assert losses.train[-1] < losses.train[0]
    assert all(weight.dtype == torch.float32 for weight in made.parameters())


def test_a_training_that_was_killed_ends_with_the_same_bits(tmp_path: Path) -> None:
    script = RESUMED.format(tests=str(Path(__file__).parent), state=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.strip() == "4":
                time.sleep(0.05)
                os.kill(run.pid, signal.SIGKILL)
                break
    seen = list[int]()
    resumed = fit(tmp_path, resume=True, progress=lambda epoch: seen.append(epoch.number))
    assert 4 <= seen[0] <= 6
    assert equal(resumed, fit(None))


def test_states_that_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no state of a training"):
        fit(tmp_path, resume=True)
    fit(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    with pytest.raises(InputFileError, match="other settings"):
        OperatorTrainer(model(), settings=SETTINGS).fit(events(50, 1), events(50, 2), 5, state=tmp_path, resume=True)
    other = model(SMALL.model_copy(update={"hidden": (9,)}))
    with pytest.raises(InputFileError, match="the state of another model"):
        OperatorTrainer(other, settings=SETTINGS).fit(events(50, 1), events(50, 2), 12, state=tmp_path, resume=True)
    (tmp_path / "state.safetensors").write_bytes(b"short")
    with pytest.raises(InputFileError, match="not a state of a training"):
        fit(tmp_path, resume=True)


def test_bad_events_are_refused() -> None:
    trainer = OperatorTrainer(model(), settings=SETTINGS)
    with pytest.raises(InputValueError, match="no events or no epoch"):
        trainer.fit(lambda _: [], events(16, 2), 2)
    with pytest.raises(InputValueError, match=r"lengths \[16, 20\]"):
        trainer.fit({"columns": torch.zeros(16, 3), "more": torch.zeros(20, 1)}, events(16, 2), 2)
    with pytest.raises(FitError, match="not finite"):
        trainer.fit({"columns": torch.full((16, 3), torch.nan)}, events(16, 2), 2)
