"""Checkpoints kept by a real Ray cluster: the same after the way there and back, verified where they arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkop_dist.errors import FingerprintError, InputFileError, RunError
from darkop_dist.operators.checkpoint import Checkpoint, find_checkpoint, load_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def checkpoint(joined: Any) -> Checkpoint:
    return load_checkpoint(find_checkpoint("cylinder-fno-v1"))


@pytest.fixture
def store(joined: Any, pool: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    from darkop_dist.scoring.pool import store

    monkeypatch.setattr(store, "_NAMESPACE", b"darkop-test")  # the pool's own stays as it is
    monkeypatch.setattr(store, "_PIECE_BYTES", 70_000)
    yield store
    store.clear()


def test_a_checkpoint_in_pieces_comes_back(store: Any, checkpoint: Checkpoint) -> None:
    fingerprint = store.put_checkpoint(checkpoint)
    assert fingerprint == checkpoint.card.fingerprint
    assert len(store._keys(f"{fingerprint}/weights-".encode())) == 5
    back = store.get_checkpoint(fingerprint)
    assert back.card == checkpoint.card
    assert back.weights.keys() == checkpoint.weights.keys()
    for name, array in checkpoint.weights.items():
        np.testing.assert_array_equal(back.weights[name], array)


def test_what_is_not_there_or_damaged_is_not_served(store: Any, checkpoint: Checkpoint) -> None:
    with pytest.raises(RunError, match=r"does not hold the checkpoint 0{12}\. Start or update the pool again"):
        store.get_checkpoint("0" * 64)
    fingerprint = store.put_checkpoint(checkpoint)
    last = max(store._keys(f"{fingerprint}/weights-".encode()))
    whole = store._get(last)
    store._put(last, whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(FingerprintError, match="the weights or the architecture are not those of the card"):
        store.get_checkpoint(fingerprint)
    store._put(last, whole[:-10])
    with pytest.raises(InputFileError, match="not a safetensors file"):
        store.get_checkpoint(fingerprint)


def test_checkpoints_that_are_served_no_longer_go(
    store: Any, checkpoint: Checkpoint, other_checkpoint: Path, checkpoint_directory: Path
) -> None:
    kept = store.put_checkpoint(load_checkpoint(other_checkpoint))
    gone = [store.put_checkpoint(one) for one in (checkpoint, load_checkpoint(checkpoint_directory))]
    store.forget_checkpoints({kept})
    assert store.get_checkpoint(kept).card.fingerprint == kept
    for fingerprint in gone:
        with pytest.raises(RunError, match="does not hold"):
            store.get_checkpoint(fingerprint)
