"""The plot of runs and files, and what it says in words."""

from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.conformal import CALIBRATION, Drift, exchangeability
from darkop_dist.report.content import PlotContext
from darkop_dist.report.drift import NAMES_FIT, drift_figure, drift_sentences


def drift_of(groups: int, shifted: int | None) -> Drift:
    rng = np.random.default_rng(1)
    table = {f"{281000 + n:06d}": np.bincount(rng.integers(0, 12, 300), minlength=12) for n in range(groups)}
    if shifted is not None:
        table[f"{281000 + shifted:06d}"] = np.bincount(rng.integers(6, 12, 300), minlength=12)
    calibrating = {CALIBRATION: np.bincount(rng.integers(0, 12, 9000), minlength=12)}
    together = {"data": np.sum(list(table.values()), axis=0)}
    tests = [exchangeability(found, rng, permutations=199) for found in (calibrating | together, table)]
    drawn = exchangeability(calibrating | table, rng, permutations=199)
    return Drift("run", "data in region signal", tests[0], tests[1], drawn)


def test_a_shifted_run_stands_out_in_words_and_colour() -> None:
    drift = drift_of(6, 3)
    together, among = drift_sentences(drift)
    assert together.startswith("The 1\u202f800 events of data in region signal and those that calibrate")
    assert "p = 0.00500 " in together
    assert "(data scores higher than the rest by " in together
    assert "The 6 runs of data in region signal among themselves: p = 0.00500" in among
    assert "run 281003 scores higher than the rest by " in among
    axes = drift_figure(drift, PlotContext()).axes[0]
    assert "p < 0.05 with the search over runs" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"{281000 + n}" for n in range(6)]


def test_points_are_the_mean_ranks() -> None:
    drift = drift_of(5, None)
    axes = drift_figure(drift, PlotContext()).axes[0]
    drawn = next(line.get_ydata() for line in axes.get_lines() if line.get_marker() == "o")
    assert drawn == pytest.approx([group.mean for group in drift.drawn.groups if group.name != CALIBRATION])


def test_names_of_many_runs_are_thinned() -> None:
    axes = drift_figure(drift_of(NAMES_FIT + 30, None), PlotContext()).axes[0]
    assert len(axes.get_xticklabels()) == NAMES_FIT // 2
