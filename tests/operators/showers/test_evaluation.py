"""The whole evaluation, in Python and on the command line, with small networks and small batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from darkop_dist.cli import main
from darkop_dist.errors import InputValueError
from darkop_dist.operators.showers.classifier import ClassifierSettings
from darkop_dist.operators.showers.evaluation import ScoreSettings, ShowerEvaluation, evaluate_showers
from darkop_dist.operators.showers.files import write_showers
from darkop_dist.operators.showers.sample import Showers, VoxelGeometry

Make = Callable[..., Showers]
SMALL = VoxelGeometry(12, 4, 3)
NETWORK = ClassifierSettings(width=32, epochs=30, batch_size=50, learning_rate=5e-3)
QUICK = ScoreSettings(
    low_level=NETWORK,
    high_level=NETWORK,
    fpd_min_samples=200,
    fpd_max_samples=400,
    fpd_batches=2,
    kpd_batches=3,
    kpd_batch_size=200,
)


def test_bad_showers_stand_above_the_floor(make_showers: Make) -> None:
    result = evaluate_showers(make_showers(300, 1, SMALL, slope=0.4), make_showers(600, 2, SMALL), settings=QUICK)
    bad, floor = result.generated, result.floor
    assert bad.showers == floor.showers == 300
    assert bad.high_level.auc > 0.65
    assert abs(floor.high_level.auc - 0.5) < 4 * floor.high_level.auc_error
    assert bad.fpd.value > floor.fpd.value
    assert bad.kpd.value > 2 * abs(floor.kpd.value)
    assert bad.separations.layer_mev[11] > floor.separations.layer_mev[11]
    assert ShowerEvaluation.model_validate_json(result.model_dump_json()) == result


def test_samples_are_cut_to_one_size_and_a_floor_may_be_given(make_showers: Make) -> None:
    settings = ScoreSettings(**{**QUICK.__dict__, "low_level": None})
    told: list[str] = []
    samples = make_showers(120, 1, SMALL), make_showers(80, 2, SMALL)
    result = evaluate_showers(*samples, settings=settings, floor=make_showers(90, 3, SMALL), say=told.append)
    assert result.generated.showers == result.floor.showers == 80
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


def test_the_command(
    tmp_path: Path, make_showers: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generated, reference = tmp_path / "generated.h5", tmp_path / "reference.h5"
    write_showers(generated, make_showers(50, 1, SMALL))
    write_showers(reference, make_showers(100, 2, SMALL))
    words = ["darkop", "evaluate", str(generated), "--reference", str(reference), "--epochs", "2", "--low-width", "8"]
    words += ["--draws", "1000"]
    for more in (["--figures", str(tmp_path)], ["--json"]):
        monkeypatch.setattr("sys.argv", [*words, *more])
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr()
        assert left.value.code == 0
        assert "floor: FPD" in told.err
        if "--json" in more:
            assert json.loads(told.out)["floor"]["showers"] == 50
        else:
            assert "50 showers of each sample" in told.out
            assert "AUC low level" in told.out
            assert "arXiv:2211.10295" in told.out
            assert (tmp_path / "displays.png").stat().st_size > 10_000
