"""The whole evaluation, with small networks and small batches."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.classifier import ClassifierSettings
from darkop_dist.operators.showers.evaluation import ScoreSettings, ShowerEvaluation, evaluate_showers
from darkop_dist.operators.showers.sample import Showers, VoxelGeometry

Make = Callable[..., Showers]
SMALL = VoxelGeometry(12, 4, 3)
NETWORK = ClassifierSettings(width=32, epochs=40, batch_size=50, learning_rate=1e-2)
QUICK = ScoreSettings(
    low_level=NETWORK,
    high_level=NETWORK,
    fpd_min_samples=1000,
    fpd_max_samples=4000,
    fpd_batches=5,
    kpd_batches=3,
    kpd_batch_size=200,
)


def test_bad_showers_stand_above_the_floor(make_showers: Make) -> None:
    """200 test showers of each leave an AUC of one half an error of 0.029: 0.7 is seven of them above."""
    result = evaluate_showers(make_showers(1000, 1, SMALL, slope=0.3), make_showers(2000, 2, SMALL), settings=QUICK)
    bad, floor = result.generated, result.floor
    assert bad is not None
    assert bad.showers == floor.showers == 1000
    assert bad.high_level.auc > 0.7 > floor.high_level.auc
    assert bad.fpd.value > floor.fpd.value + 4 * (bad.fpd.error + floor.fpd.error)
    assert bad.kpd.value > 3 * abs(floor.kpd.value)
    assert bad.separations.layer_mev[11] > floor.separations.layer_mev[11]
    assert ShowerEvaluation.model_validate_json(result.model_dump_json()) == result


def test_samples_are_cut_to_one_size_and_a_floor_may_be_given(make_showers: Make) -> None:
    settings = ScoreSettings(**{**QUICK.__dict__, "low_level": None})
    told: list[str] = []
    samples = make_showers(120, 1, SMALL), make_showers(80, 2, SMALL)
    result = evaluate_showers(*samples, settings=settings, floor=make_showers(90, 3, SMALL), say=told.append)
    assert result.generated.showers == result.floor.showers == 80
    assert result.generated is not None
    assert result.generated.low_level is None
    assert told[0] == "80 showers of each sample"


def test_samples_that_cannot_be_compared(make_showers: Make) -> None:
    with pytest.raises(InputValueError, match="12 x 4 x 3 voxels, reference in 45 x 16 x 9"):
        evaluate_showers(make_showers(20, 1, SMALL), make_showers(40, 2))
    with pytest.raises(InputValueError, match="10 or more"):
        evaluate_showers(make_showers(5, 1, SMALL), make_showers(40, 2, SMALL))
    with pytest.raises(InputValueError, match=r"Give the sampling fraction: 0\.033"):
        evaluate_showers(
            make_showers(20, 1, SMALL), make_showers(40, 2, SMALL), settings=ScoreSettings(sampling_fraction=5.0)
        )
