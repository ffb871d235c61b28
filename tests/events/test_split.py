"""The split of events depends on what they are, never on how they are read."""

import numpy as np
import pytest

from darkop_dist.events.split import CALIBRATE, CHECK, TRAIN, SplitRule

RULE = SplitRule(seed=3, train_fraction=0.2, train_datasets=("mc",), check_fraction=0.25)


def test_fractions() -> None:
    parts = RULE.assign("mc", "a.root", np.arange(100_000))
    # Binomial standard deviation of the largest fraction is 0.0015: five of them.
    assert np.mean(parts == TRAIN) == pytest.approx(0.2, abs=0.0075)
    assert np.mean(parts == CHECK) == pytest.approx(0.2, abs=0.0075)
    assert np.mean(parts == CALIBRATE) == pytest.approx(0.6, abs=0.0075)


def test_other_datasets_never_train() -> None:
    parts = RULE.assign("data", "a.root", np.arange(10_000))
    assert not (parts == TRAIN).any()


def test_independent_of_chunks() -> None:
    whole = RULE.assign("mc", "a.root", np.arange(1000))
    pieces = [RULE.assign("mc", "a.root", np.arange(start, start + 100)) for start in range(0, 1000, 100)]
    assert (whole == np.concatenate(pieces)).all()


@pytest.mark.parametrize(
    "other",
    [
        SplitRule(4, 0.2, ("mc",), 0.25).assign("mc", "a.root", np.arange(1000)),
        RULE.assign("mc", "b.root", np.arange(1000)),
    ],
)
def test_seed_and_file_change_the_split(other: np.ndarray) -> None:
    assert (other != RULE.assign("mc", "a.root", np.arange(1000))).any()
