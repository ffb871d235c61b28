"""Are the p-values what they say they are?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy import stats

from darkop_dist.report.content import CalibrationCheck, PlotContext
from darkop_dist.report.style import experiment_label, new_figure, plot_style


def calibration_scatter(
    levels: npt.NDArray[np.float64], n: int, confidence: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where the true P(p <= a) of one calibration of n events lies, for continuous scores.

    Given the calibration sample, P(p <= a) is Beta(k, n + 1 - k) distributed with k = floor(a (n + 1)) (Vovk,
    "Conditional validity of inductive conformal predictors", 2012, section 3); only its mean, k / (n + 1) <= a, is
    guaranteed. Binned scores make p-values larger, so the band is then conservative.

    Args:
        levels: levels a, shape (levels,).
        n: number of calibrating events.
        confidence: central probability of the band.

    Returns:
        Lower and upper end, each of shape (levels,); both 0 below the floor 1/(n + 1).
    """
    k = np.floor(np.asarray(levels) * (n + 1) * (1.0 + 1e-12))
    tail = (1.0 - confidence) / 2.0
    inside = (k >= 1) & (k <= n)
    chosen = np.where(inside, k, 1.0)
    low = stats.beta.ppf(tail, chosen, n + 1 - chosen)
    high = stats.beta.isf(tail, chosen, n + 1 - chosen)
    return np.where(inside, low, np.where(k > n, 1.0, 0.0)), np.where(inside, high, np.where(k > n, 1.0, 0.0))


def calibration_figure(check: CalibrationCheck, context: PlotContext) -> Figure:
    """Draw the fraction of held-out background with p <= a against a, with its Clopper-Pearson interval.

    The diagonal is the guarantee's limit; the grey band is the scatter of a single calibration around it
    (`calibration_scatter`). The floor 1/(n + 1), the level of the search and the data's p-values are drawn where known.
    """
    levels = np.asarray(check.levels, dtype=np.float64)
    percent = f"{100 * check.confidence:g}%"
    rule = "1/(n + 1) " if check.effective_size is None else ""
    start = min(float(levels[levels > 0.0].min(initial=1.0)), check.floor) / 2.0
    with plot_style(context):
        figure = new_figure(7.2, 6.6)
        axes = figure.subplots()
        grid = np.geomspace(check.floor, 1.0, 300)
        axes.fill_between(
            grid, *calibration_scatter(grid, round(check.effective_size or check.n), check.confidence),
            color="#d5d5d5", linewidth=0,
            label=f"Scatter of one calibration ({percent})",
        )  # fmt: skip
        axes.plot([start, 1.0], [start, 1.0], color="#444444", linewidth=1.2, label="P(p ≤ a) = a")
        _draw_check(axes, check, levels)
        if check.data_p_values is not None and len(check.data_p_values):
            values = np.sort(np.asarray(check.data_p_values, dtype=np.float64))
            steps = np.arange(1, values.size + 1) / values.size
            axes.step(values, steps, where="post", color="#bd1f01", linewidth=1.8, label=f"Data (n = {values.size:,})")
            start = min(start, 0.5 / values.size)
        axes.axvline(check.floor, color="#832db6", linewidth=1.4, linestyle=":")
        axes.annotate(
            f"floor {rule}= {check.floor:.2g}", (check.floor, 0.36), xycoords=("data", "axes fraction"),
            xytext=(5, 0), textcoords="offset points", rotation=90, color="#832db6", fontsize=12, va="bottom",
        )  # fmt: skip
        if check.alpha is not None:
            axes.axvline(
                check.alpha, color="#e76300", linewidth=1.4, linestyle="--", label=rf"$\alpha$ = {check.alpha:g}"
            )
        axes.set(xscale="log", yscale="log", xlim=(start, 1.0), ylim=(start, 1.0))
        axes.set_xlabel("Level a")
        axes.set_ylabel("Fraction of events with p ≤ a")
        axes.legend(loc="upper left")
        experiment_label(axes, context)
    return figure


def _draw_check(axes: Any, check: CalibrationCheck, levels: npt.NDArray[np.float64]) -> None:
    fraction = np.asarray(check.fraction, dtype=np.float64)
    held_out = "" if check.n_check is None else f" (n = {check.n_check:,})"
    errors = (fraction - np.asarray(check.low, dtype=np.float64), np.asarray(check.high, dtype=np.float64) - fraction)
    axes.errorbar(
        levels, fraction, yerr=np.clip(errors, 0.0, None), fmt="o", color="black", markersize=4.5, linewidth=1.3,
        label=f"Held-out background{held_out}", zorder=4,
    )  # fmt: skip
