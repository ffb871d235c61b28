"""Anomaly detection with several operators: one p-value for each event, exact however their scores hang together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.conformal.fusion import STRATEGIES, JointCalibration, calibrate_jointly, fix_fusion
from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.detector import NO_SCORES, Anomaly, anomalies_up_to, score_in_blocks
from darkop_dist.scoring.resolve import resolve

JOINT = "joint-conformal"
REFERENCE_EVERY = 5  # one event in five fixes how scores are joined, the others calibrate


class MultiModalAnomalyDetector:
    """Finds events that several operators together call too anomalous for background.

    Assumptions:
        As for `ConformalDetector`: the background events and the searched ones are exchangeable if the latter are
        background, and no operator was trained on either. Every fifth background event fixes how the scores are joined,
        the n others calibrate the joint score. Then P(p <= a) <= a for each event and every a, whatever the operators,
        their dependence and the strategy.

    Args:
        operators: names of packaged checkpoints, directories of checkpoints, or scorers; all score the same events.
        fusion_strategy: "max" (one operator is alarmed), "fisher" (all together), "rank-mean" (they agree) or
            "harmonic-mean"; see ``conformal.fusion``.
        calibration: "joint-conformal", the only one.
        background_data: background events that trained nothing, as one array or several; None to `calibrate` later.
        alpha: significance level of `find_anomalies`.

    Raises:
        UnknownNameError: there is no such strategy, calibration or checkpoint.
        StatisticsError: there is no operator, or alpha lies below the floor 1/(n + 1).
        InputValueError: there are too few background events, or their values cannot be used.
    """

    def __init__(
        self,
        operators: Sequence[str | Path | Scorer],
        *,
        fusion_strategy: str = "max",
        calibration: str = JOINT,
        background_data: ak.Array | Sequence[ak.Array] | None = None,
        alpha: float = 0.01,
    ) -> None:
        if isinstance(operators, str | Path) or not len(operators):
            raise StatisticsError('operators names no operators; give a list, such as ["cylinder-fno-v1", "my-model"]')
        if fusion_strategy not in STRATEGIES:
            raise UnknownNameError(
                "fusion strategy", fusion_strategy, STRATEGIES, f"There are {', '.join(STRATEGIES)}."
            )
        if calibration != JOINT:
            raise UnknownNameError("calibration", calibration, [JOINT], f"There is {JOINT}.")
        self._scorers = [resolve(one) if isinstance(one, str | Path) else one for one in operators]
        self._strategy, self._alpha = fusion_strategy, alpha
        self._calibration: JointCalibration | None = None
        if background_data is not None:
            self.calibrate(background_data)

    def calibrate(self, background_data: ak.Array | Sequence[ak.Array]) -> JointCalibration:
        """Fix how scores are joined and calibrate, with background events that trained nothing.

        Args:
            background_data: as one array or several; takes the place of earlier ones.

        Raises:
            StatisticsError: alpha lies below the floor 1/(n + 1).
            InputValueError: there are fewer than 2 events, or a score is NaN.
        """
        samples = [background_data] if isinstance(background_data, ak.Array) else list(background_data)
        scored = [self.scores(sample) for sample in samples]
        columns = [np.concatenate([NO_SCORES, *(one[place] for one in scored)]) for place in range(len(self._scorers))]
        events = max(map(len, columns))
        if events < 2:
            raise InputValueError("background_data", f"{events} events calibrate nothing", "Give background events")
        chosen = np.arange(events) % REFERENCE_EVERY == 0
        fusion = fix_fusion(
            [values[chosen[: len(values)]] for values in columns],
            strategy=self._strategy,
            fingerprints=[scorer.fingerprint for scorer in self._scorers],
        )
        source = f"background_data ({int(np.sum(~chosen))} of {events} events)"
        joint = calibrate_jointly(fusion, [values[~chosen[: len(values)]] for values in columns], source=source)
        joint.calibration.require_alpha(self._alpha)
        self._calibration = joint
        return joint

    @property
    def calibration(self) -> JointCalibration:
        """How scores are joined, and the joint scores of background.

        Raises:
            StatisticsError: there is none yet.
        """
        if self._calibration is None:
            raise StatisticsError("the detector is not calibrated; call calibrate(background_data) first")
        return self._calibration

    def scores(self, events: ak.Array) -> list[npt.NDArray[np.float32]]:
        """Anomaly scores of each operator, in their order, shape (events,) each."""
        return [score_in_blocks(scorer, events) for scorer in self._scorers]

    def p_values(self, events: ak.Array) -> npt.NDArray[np.float64]:
        """Joint conformal p-values, shape (events,), each at least 1/(n + 1)."""
        calibration = self.calibration
        return calibration.p_values(self.scores(events))

    def find_anomalies(self, events: ak.Array) -> list[Anomaly]:
        """The events with p-value <= alpha, smallest first, equal ones in the order of the events."""
        return anomalies_up_to(self._alpha, self.p_values(events))
