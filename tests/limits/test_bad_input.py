"""Templates that are broken are refused or answered by name; never a silent NaN."""

from __future__ import annotations

from collections.abc import Callable

import hist
import numpy as np
import pytest

from darkop_dist.errors import InputValueError, StatisticsError
from darkop_dist.limits import FitSample, build_workspace, upper_limit

Filled = dict[tuple[str, str, str], list[float]]
Book = Callable[..., hist.Hist]
SEARCH = {"signal": "zprime", "regions": ["signal"], "systematics": ["jes"]}


def test_a_sample_without_a_nominal(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    del filled[("ttbar", "signal", "nominal")]
    message = "sample top: the dataset ttbar has events with the variation jes_up and none with nominal, in any region"
    with pytest.raises(StatisticsError, match=message):
        build_workspace(booked(filled), samples, **SEARCH | {"systematics": []})


def test_a_few_varied_events_without_a_nominal_are_no_mistake(
    booked: Book, filled: Filled, samples: list[FitSample]
) -> None:
    """A rare background may pass a cut in one variation alone."""
    filled[("ttbar", "signal", "nominal")] = [0] * 6
    filled[("ttbar", "signal", "jes_up")] = [0, 1.0, 0, 0, 0, 0]
    filled[("ttbar", "signal", "jes_down")] = [0] * 6
    filled[("qcd", "signal", "jes_up")] = filled[("qcd", "signal", "jes_down")] = [0, 60, 30, 10, 5, 1]
    workspace = build_workspace(booked(filled), samples, **SEARCH)
    assert "sample top has no events in any region; dropped" in workspace.notes


@pytest.mark.parametrize(("there", "absent"), [("jes_up", "jes_down"), ("jes_down", "jes_up")])
def test_a_variation_without_its_opposite(
    booked: Book, filled: Filled, samples: list[FitSample], there: str, absent: str
) -> None:
    del filled[("ttbar", "signal", absent)]
    with pytest.raises(StatisticsError, match=f"has the variation {there} and no {absent}; fill both"):
        build_workspace(booked(filled), samples, **SEARCH)
    filled[("qcd", "signal", there)] = filled[("qcd", "signal", absent)] = [0, 60, 30, 10, 5, 1]
    message = f"sample top: the dataset ttbar has events with the variation {there} and none with {absent}"
    with pytest.raises(StatisticsError, match=message):
        build_workspace(booked(filled), samples, **SEARCH)


def test_nan_in_a_variation(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    histogram = booked(filled)
    histogram.fill("ttbar", "signal", "jes_up", [0.5], weight=[np.nan])
    with pytest.raises(InputValueError, match="sample top in region signal, jes_up: the sum of weights is not finite"):
        build_workspace(histogram, samples, **SEARCH)


def test_an_empty_region_is_left_out_or_refused(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    histogram = booked(filled)
    histogram.fill("other", "control", "nominal", [0.5])
    workspace = build_workspace(histogram, samples, **SEARCH | {"regions": ["signal", "control"]})
    assert [channel["name"] for channel in workspace.spec["channels"]] == ["signal"]
    assert "region control has neither background nor signal nor data; left out" in workspace.notes
    with pytest.raises(StatisticsError, match="zprime has no selected events in the regions control"):
        build_workspace(histogram, samples, **SEARCH | {"regions": ["control"]})


@pytest.mark.parametrize("weights", [[0] * 6, [0, -1, -2, 0, 0, 0]])
def test_a_signal_without_a_positive_bin(
    booked: Book, filled: Filled, samples: list[FitSample], weights: list[float]
) -> None:
    filled[("zprime", "signal", "nominal")] = weights
    with pytest.raises(StatisticsError, match="the signal zprime has no selected events in the regions signal"):
        build_workspace(booked(filled), samples, **SEARCH)


def test_negative_data(booked: Book, filled: Filled, samples: list[FitSample]) -> None:
    filled[("data", "signal", "nominal")][2] = -3
    with pytest.raises(StatisticsError, match="region signal: the data have negative counts"):
        build_workspace(booked(filled), samples, **SEARCH)


def test_zero_and_negative_background_bins_give_a_finite_limit(
    booked: Book, filled: Filled, samples: list[FitSample]
) -> None:
    """An empty bin without data takes no part; a negative one is set to zero and the rest of the background stays."""
    for dataset in ("data", "qcd", "ttbar", "zprime"):
        filled[(dataset, "signal", "nominal")][1] = 0.0
    filled[("qcd", "signal", "nominal")][3] = -2.0
    for direction in ("up", "down"):
        filled[("ttbar", "signal", f"jes_{direction}")][1] = 0.0
    workspace = build_workspace(booked(filled), samples, **SEARCH)
    assert "region signal, 0 to 1: neither background nor signal was simulated there" in workspace.notes
    limit = upper_limit(workspace, signal="zprime")
    assert all(np.isfinite([limit.observed, *limit.expected, limit.p0_observed, limit.mu_hat]))
