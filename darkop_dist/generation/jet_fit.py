"""The fit of a card's jet calibration to what is published, with QCD dijets without pile-up.

``python -m darkop_dist.generation.jet_fit cms --events 24000`` prints the tables as TOML, to be put into the card.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from darkop_dist.generation.card import Floats, JetCalibration, Table, load_card
from darkop_dist.generation.jet_calibration import calibrated
from darkop_dist.generation.published import JetResolution, load_published
from darkop_dist.generation.validation_events import MatchedJets, matched_jets

CORE = 2.0
"""Half width of the core of a distribution in standard deviations."""

CORE_SPREAD = 0.8796
"""Standard deviation of a Gaussian cut at `CORE` standard deviations on both sides, over that of the whole."""

PT_NODES = (15.0, 20.0, 30.0, 45.0, 70.0, 110.0, 170.0, 260.0, 400.0, 650.0, 1000.0, 1600.0)
LARGE_PT_NODES = (170.0, 220.0, 300.0, 400.0, 650.0, 1000.0, 1600.0)
MIN_ENTRIES, FIT_ENTRIES = 60, 200
ROUNDS = 4


@dataclass(frozen=True)
class Core:
    """The Gaussian core of a distribution.

    Attributes:
        mean: its mean.
        sigma: its standard deviation.
        entries: number of entries in the core.
    """

    mean: float
    sigma: float
    entries: int

    @property
    def mean_error(self) -> float:
        """Statistical uncertainty of the mean."""
        return self.sigma / math.sqrt(max(self.entries, 1))

    @property
    def sigma_error(self) -> float:
        """Statistical uncertainty of sigma; a cut Gaussian tells less about it than a whole one."""
        return 1.3 * self.sigma / math.sqrt(2 * max(self.entries, 1))


def core_of(values: Floats) -> Core:
    """Fit a Gaussian to what lies within two standard deviations, by moments, until nothing changes.

    Args:
        values: shape (entries,); not empty.
    """
    low, mean, high = np.quantile(values, [0.16, 0.5, 0.84])
    sigma, entries = float(high - low) / 2, len(values)
    for _ in range(50):
        inside = values[np.abs(values - mean) <= CORE * sigma]
        if len(inside) < 2:
            break
        before, mean, sigma = sigma, float(inside.mean()), float(inside.std()) / CORE_SPREAD
        entries = len(inside)
        if abs(sigma - before) < 1e-4 * before:
            break
    return Core(float(mean), sigma, entries)


def fit_calibration(
    jets: MatchedJets, published: JetResolution, nodes: tuple[float, ...], rng: np.random.Generator, source: str
) -> JetCalibration:
    """Find the calibration that gives jets of measured particles response 1 and the published resolution.

    Where there are too few jets the nearest node below holds. If the particles alone are wider than what is published,
    nothing is added.

    Args:
        jets: jets of a falling or flat spectrum, without pile-up.
        published: the goal.
        nodes: pt of the tables' nodes in GeV.
        rng: noise of the trials.
        source: what the calibration says of itself.
    """
    edges = bin_edges(nodes)
    bins = published.bins
    response = np.ones((len(bins) - 1, len(nodes)))
    extra = np.zeros_like(response)
    for row, (low, high) in enumerate(pairwise(bins)):
        chosen = (np.abs(jets.eta) >= low) & (np.abs(jets.eta) < high)
        band = MatchedJets(jets.pt[chosen], jets.eta[chosen], jets.measured[chosen])
        response[row] = _responses(band, nodes, edges)
    scale = _table(bins, nodes, response)
    for _ in range(ROUNDS):
        factor = calibrated(
            jets.measured,
            jets.eta,
            JetCalibration(source=source, response=scale, extra=_table(bins, nodes, extra)),
            rng,
        )
        extra = np.sqrt(np.maximum(extra**2 + _missing_variance(jets, factor, published, edges), 0.0))
    return JetCalibration(source=source, response=scale, extra=_table(bins, nodes, extra))


def bin_edges(nodes: tuple[float, ...]) -> Floats:
    """Edges of the bins around nodes in pt, shape (nodes + 1,)."""
    inner = np.sqrt(np.asarray(nodes[1:]) * np.asarray(nodes[:-1]))
    return np.concatenate([[nodes[0] ** 2 / inner[0]], inner, [nodes[-1] ** 2 / inner[-1]]])


def _table(bins: tuple[float, ...], nodes: tuple[float, ...], values: Floats) -> Table:
    return Table(eta=bins, pt=nodes, values=tuple(tuple(round(float(x), 4) for x in row) for row in values))


def _responses(jets: MatchedJets, nodes: tuple[float, ...], edges: Floats) -> Floats:
    """Mean response in generated pt, moved to the measured pt that such jets have (numerical inversion)."""
    found, at = [], []
    for low, high in pairwise(edges):
        chosen = (jets.pt >= low) & (jets.pt < high)
        if chosen.sum() >= FIT_ENTRIES:
            ratio = core_of(jets.measured[chosen] / jets.pt[chosen]).mean
            found.append(ratio)
            at.append(np.log(ratio * np.exp(np.log(jets.pt[chosen]).mean())))
    return np.asarray(np.interp(np.log(nodes), at, found)) if found else np.ones(len(nodes))


def _missing_variance(jets: MatchedJets, factor: Floats, published: JetResolution, edges: Floats) -> Floats:
    """Published minus found variance in each bin; 0 where there are too few jets, as in the bin below."""
    bins = published.bins
    missing = np.zeros((len(bins) - 1, len(edges) - 1))
    ratio, goal = factor * jets.measured / jets.pt, published.at(jets.pt, jets.eta)
    for row, (inner, outer) in enumerate(pairwise(bins)):
        for column, (low, high) in enumerate(pairwise(edges)):
            chosen = (np.abs(jets.eta) >= inner) & (np.abs(jets.eta) < outer) & (jets.pt >= low) & (jets.pt < high)
            if chosen.sum() >= FIT_ENTRIES:
                core = core_of(ratio[chosen])
                missing[row, column] = np.mean(goal[chosen] ** 2) - (core.sigma / core.mean) ** 2
            elif column:
                missing[row, column] = missing[row, column - 1]
    return missing


def _toml(name: str, calibration: JetCalibration) -> str:
    lines = [f"[{name}]", f'source = "{calibration.source}"']
    for part, table in (("response", calibration.response), ("extra", calibration.extra)):
        rows = ",\n".join(f"  [{', '.join(f'{value:.4f}' for value in row)}]" for row in table.values)
        lines += [
            "",
            f"[{name}.{part}]",
            f"eta = {list(table.eta)}",
            f"pt = {list(table.pt)}",
            f"values = [\n{rows},\n]",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit the calibrations of a card and print them."""
    parser = argparse.ArgumentParser(description="Fit the jet calibration of a response card.")
    parser.add_argument("card")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    card, published = load_card(given.card), load_published(load_card(given.card))
    command = f"python -m darkop_dist.generation.jet_fit {given.card} --events {given.events} --seed {given.seed}"
    goals: dict[str, tuple[float, JetResolution, tuple[float, ...]]] = {
        "jet.calibration": (card.jet.radius, published.jets.small, PT_NODES)
    }
    if published.jets.large is not None:
        goals["jet.large.calibration"] = (card.jet.large.radius, published.jets.large, LARGE_PT_NODES)
    found = matched_jets(
        given.card, radii=tuple(goal[0] for goal in goals.values()), events=given.events, seed=given.seed,
        workers=given.workers,
    )  # fmt: skip
    for (name, (_, goal, nodes)), jets in zip(goals.items(), found, strict=True):
        source = f"published/{given.card}.toml, {goal.title}; QCD dijets without pile-up [fitted here: {command}]"
        rng = np.random.default_rng(given.seed)
        sys.stdout.write(_toml(name, fit_calibration(jets, goal, nodes, rng, source)) + "\n")


if __name__ == "__main__":
    main()
