"""Combine's ``autoMCStats`` against the example in its documentation."""

from __future__ import annotations

import numpy as np
import pytest

from darkop_dist.limits.interchange.card import BinStatistics
from darkop_dist.limits.interchange.statistics import Process, statistics_modifiers

TEN = BinStatistics(10.0, include_signal=False, histogram_mode=1)

# "Automatic statistical uncertainties", the output of text2workspace.py: contents and errors of bins 1 and 2 in all,
# and of W and ZJ in bin 2. The third process holds what is left.
TOTAL, TOTAL_ERROR = np.array([0.120983, 0.472198]), np.array([0.035333, 0.232096])
W, ZJ = (0.050606, 0.029220), (0.142444, 0.140865)
REST = TOTAL[1] - W[0] - ZJ[0], np.sqrt(TOTAL_ERROR[1] ** 2 - W[1] ** 2 - ZJ[1] ** 2)


def documented() -> list[Process]:
    def process(
        name: str, bin_1: tuple[float, float], bin_2: tuple[float, float], *, is_signal: bool = False
    ) -> Process:
        values, errors = np.array([bin_1, bin_2]).T
        return Process(name, is_signal, values, errors)

    return [
        process("W", (TOTAL[0], TOTAL_ERROR[0]), W),
        process("ZJ", (0.0, 0.0), ZJ),
        process("rest", (0.0, 0.0), REST),
        process("ZH", (5.0, 0.1), (5.0, 0.0), is_signal=True),
    ]


def test_the_documented_example() -> None:
    notes: list[str] = []
    found = statistics_modifiers("htt", documented(), TEN, notes)
    # Bin 1 has 12 unweighted events: one Gaussian parameter. Bin 2 has 4: 3 of W and 1 of ZJ with Poisson parameters.
    assert found["W"][0] == {"name": "prop_binhtt", "type": "staterror", "data": [0.035333, 0.0]}
    counts = {}
    for process in ("W", "ZJ"):
        own = found[process][-1]
        assert (own["name"], own["type"], own["data"][0]) == (f"prop_binhtt_{process}", "shapesys", 0.0)
        counts[process] = ({"W": W, "ZJ": ZJ}[process][0] / own["data"][1]) ** 2
    assert counts == {"W": pytest.approx(3.0), "ZJ": pytest.approx(1.0)}
    assert [(m["type"], m["data"]) for m in found["ZH"]] == [("staterror", [0.1, 0.0])]
    assert notes == []


def test_a_negative_threshold_means_no_statistics() -> None:
    none = BinStatistics(-1.0, include_signal=False, histogram_mode=2)
    assert all(m == [] for m in statistics_modifiers("htt", documented(), none, []).values())


def test_signals_count_for_the_threshold_if_the_card_says_so() -> None:
    with_signal = BinStatistics(10.0, include_signal=True, histogram_mode=1)
    found = statistics_modifiers("htt", documented(), with_signal, [])
    # (5.472198 / 0.232096)^2 = 556 events: no bin is below the threshold any more.
    assert [m["type"] for m in found["ZJ"]] == ["staterror"]


def test_a_zero_threshold_has_gaussian_parameters_only() -> None:
    zero = BinStatistics(0.0, include_signal=False, histogram_mode=1)
    kinds = {m["type"] for found in statistics_modifiers("htt", documented(), zero, []).values() for m in found}
    assert kinds == {"staterror"}


def test_an_error_without_events_is_noted() -> None:
    notes: list[str] = []
    empty = Process("qcd", False, np.array([0.0]), np.array([1.0]))
    full = Process("top", False, np.array([4.0]), np.array([2.0]))
    found = statistics_modifiers("htt", [empty, full], TEN, notes)
    assert found["qcd"] == []
    assert "process qcd in channel htt: 1 bins have an error but no events" in notes[0]
