"""Filling agrees with boost-histogram to the last bit: bins, edges, order of sums, categories."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkop_dist.errors import InputValueError
from darkop_dist.histograms import Observable, OutputBuilder, book
from darkop_dist.histograms.filling import add_events

EDGES = (0.0, 0.25, 0.3, 1.0, 7.5)
OBSERVABLE = Observable("x", EDGES, "$x$", "GeV")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float64, np.float32, np.int64]))
def test_sums_are_those_of_boost_histogram(seed: int, kind: type[np.number]) -> None:
    rng = np.random.default_rng(seed)
    edges = np.concatenate([EDGES, np.nextafter(EDGES, -1), np.nextafter(EDGES, 10), [np.inf, -np.inf, -0.0]])
    values = np.concatenate([rng.normal(1.0, 2.0, 500), rng.choice(edges, 100)])
    values = (np.round(values[:500]) if kind is np.int64 else values).astype(kind)
    weights = rng.normal(1.0, 0.3, len(values))
    builder, expected = OutputBuilder("mc", [OBSERVABLE]), book(OBSERVABLE)
    for region, variation, chosen in (("a", "nominal", values > 0), ("b", "up", values > 99), ("a", "up", values < 3)):
        builder.fill("x", region, variation, values[chosen], weights[chosen])
        some = chosen.any()
        content = (values[chosen], weights[chosen]) if some else (np.zeros(1), np.zeros(1))
        expected.fill("mc", region, variation, content[0], weight=content[1])
    found = builder.output()["histograms"]["x"]
    assert found == expected
    assert found.view(flow=True).tobytes() == expected.view(flow=True).tobytes()
    assert [axis.label for axis in found.axes] == [axis.label for axis in expected.axes]
    grown = found.copy().fill("other", "c", "down", 0.5, weight=1.0)
    assert list(grown.axes["region"]) == ["a", "b", "c"]
    assert list(builder.output()["histograms"]["x"].axes["region"]) == ["a", "b"]


@pytest.mark.parametrize(
    "edges",
    [
        tuple(np.linspace(0.0, 3.2, 17)),
        tuple(np.linspace(-5.0, 5.0, 21)),
        tuple(np.arange(-0.5, 11.5)),
        tuple(0.1 * np.arange(1, 40)),
        (250.0, 280.0, 310.0, 340.0, 1400.0),
        (0.0, 1.0, np.inf),
        (-np.inf, 0.0, 1.0),
        (-1.7e308, 0.0, 1.7e308),
        (0.0, 5e-324, 1e-323),
    ],
)
def test_bins_are_those_of_a_search_in_the_edges(edges: tuple[float, ...]) -> None:
    rng, finite = np.random.default_rng(5), np.asarray([edge for edge in edges if np.isfinite(edge)])
    around = [finite, np.nextafter(finite, -np.inf), np.nextafter(finite, np.inf), [np.inf, -np.inf, -0.0, 1.7e308]]
    values = np.concatenate([*around, rng.uniform(finite[0] / 2, finite[-1] / 2, 500) * 2, np.float32(finite[1:-1])])
    for value in values:
        sums = np.zeros((len(edges) + 1, 2))
        add_events(sums, np.asarray(edges), np.array([value]), np.ones(1), np.zeros(1, np.int64))
        assert np.flatnonzero(sums[:, 0]).tolist() == [np.searchsorted(edges, value, side="right")]


def test_known_values_of_chosen_events_fill_all_observables() -> None:
    other = Observable("y", (0.0, 1.0), "$y$")
    builder = OutputBuilder("mc", [OBSERVABLE, other])
    columns = {"x": np.array([0.1, np.nan, 2.0, 0.1]), "y": np.array([0.5, 0.5, np.nan, 0.5])}
    builder.fill_known("a", "nominal", columns, np.array([1.0, 2.0, 4.0, 8.0]), np.array([0, 1, 2]))
    histograms = builder.output()["histograms"]
    assert histograms["x"].values(flow=True).ravel().tolist() == [0.0, 1.0, 0.0, 0.0, 4.0, 0.0]
    assert histograms["y"].variances(flow=True).ravel().tolist() == [0.0, 5.0, 0.0]


def test_an_observable_without_a_fill_is_empty_and_nan_is_refused() -> None:
    builder = OutputBuilder("mc", [OBSERVABLE])
    with pytest.raises(InputValueError, match="1 of 2 values of x in region a are not numbers"):
        builder.fill("x", "a", "nominal", np.array([1.0, np.nan]), np.ones(2))
    assert builder.output()["histograms"]["x"] == book(OBSERVABLE)
