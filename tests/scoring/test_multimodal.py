"""Several operators give one p-value that keeps its promise on background and finds what one of them alone may miss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

import darkop_dist as do
from darkop_dist.conformal.fusion import STRATEGIES
from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError
from darkop_dist.events.representations import represent
from darkop_dist.operators.card import ModelInput
from darkop_dist.operators.checkpoint import save_checkpoint
from darkop_dist.operators.training import Provenance, fit_density
from darkop_dist.scoring import Batch, InputSpec, ScoreAxis, resolve
from darkop_dist.scoring.multimodal import MultiModalAnomalyDetector

MakeEvents = Callable[..., ak.Array]


class TransverseEnergy:
    """A scorer beside the trained ones: the energy in the towers."""

    fingerprint = "transverse-energy"
    score_axis = ScoreAxis((0.0, 1e4), "energy", "nothing")

    def __init__(self, inputs: tuple[InputSpec, ...], lost: int = 0) -> None:
        self.inputs, self.lost = inputs, lost

    def score(self, batch: Batch) -> np.ndarray:
        (fields,) = batch.values()
        return fields.sum(axis=(1, 2, 3))[self.lost :]


@pytest.fixture(scope="module")
def density_directory(make_events: MakeEvents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of another kind: a Gaussian mixture of the missing momentum."""
    spec = ModelInput(
        name="columns",
        shape=(1,),
        meaning="missing transverse momentum in GeV",
        representation="columns",
        settings={"columns": ["MET.pt"]},
    )
    trained = fit_density(
        represent(make_events(800, seed=2), spec.representation, spec.settings),
        input_spec=spec,
        name="toy-met",
        provenance=Provenance(datasets=("toy dijets",), selection="none"),
        seed=1,
    )
    return save_checkpoint(trained, tmp_path_factory.mktemp("checkpoints") / "toy-met")


@pytest.fixture(scope="module")
def operators(checkpoint_directory: Path, density_directory: Path) -> list[object]:
    """Two trained checkpoints of the same events, and a scorer that goes with the first."""
    return [checkpoint_directory, density_directory, TransverseEnergy(resolve(checkpoint_directory).inputs)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_promise_and_power_with_checkpoints(strategy: str, operators: list[object], make_events: MakeEvents) -> None:
    """1600 of 2000 background events calibrate; 3000 others, four standard deviations of both samples; 20 of signal."""
    detector = MultiModalAnomalyDetector(
        operators=operators, fusion_strategy=strategy, background_data=make_events(2000, seed=21), alpha=0.01
    )
    assert detector.calibration.calibration.n == 1600
    p_values = detector.p_values(make_events(3000, seed=22))
    assert p_values.min() >= 1 / 1601
    for alpha in (0.01, 0.1, 0.5):
        assert np.mean(p_values <= alpha) < alpha + 4 * np.sqrt(alpha * (1 - alpha) * (1 / 1600 + 1 / 3000))
    signal = make_events(20, seed=23, extra=3)
    found = detector.find_anomalies(signal)
    # missing momentum does not see the extra jets, and the mean of ranks needs scorers that agree
    assert len(found) >= (2 if strategy == "rank-mean" else 15)
    assert [p for _, p in found] == sorted(p for _, p in found)
    assert all(p == detector.p_values(signal)[index] for index, p in found[:3])


def test_as_in_the_documentation_and_calibrated_later(operators: list[object], make_events: MakeEvents) -> None:
    detector = do.MultiModalAnomalyDetector(
        operators=operators, fusion_strategy="fisher", calibration="joint-conformal"
    )
    with pytest.raises(StatisticsError, match=r"not calibrated; call calibrate\(background_data\)"):
        detector.p_values(make_events(3, seed=1))
    events = make_events(500, seed=24)
    several, whole = detector.calibrate([events[:200], events[200:]]), detector.calibrate(events)
    assert several.calibration == whole.calibration
    assert detector.find_anomalies(events[:0]) == []


def test_refusals(operators: list[object], make_events: MakeEvents) -> None:
    with pytest.raises(StatisticsError, match="operators names no operators"):
        MultiModalAnomalyDetector(operators=[])
    with pytest.raises(StatisticsError, match="operators names no operators"):
        MultiModalAnomalyDetector(operators="cylinder-fno-v1")
    with pytest.raises(UnknownNameError, match="Did you mean rank-mean"):
        MultiModalAnomalyDetector(operators=operators, fusion_strategy="rankmean")
    with pytest.raises(UnknownNameError, match=r"unknown calibration 'conformal'\. Did you mean joint-conformal"):
        MultiModalAnomalyDetector(operators=operators, calibration="conformal")
    with pytest.raises(StatisticsError, match=r"alpha = 0\.01 lies below .* n = 80"):
        MultiModalAnomalyDetector(operators=operators, background_data=make_events(100, seed=1))
    with pytest.raises(InputValueError, match="background_data: 1 events calibrate nothing"):
        MultiModalAnomalyDetector(operators=operators, background_data=make_events(1, seed=1))
    lossy = TransverseEnergy(operators[2].inputs, lost=1)  # type: ignore[attr-defined]
    with pytest.raises(StatisticsError, match=r"scored \[\d+, \d+\] events: let each score the same"):
        MultiModalAnomalyDetector(operators=[operators[0], lossy], background_data=make_events(100, seed=1))
