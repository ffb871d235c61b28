"""The representations: what the fields sum to, how they rotate, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError
from darkop_dist.events.read import open_events
from darkop_dist.events.representations import represent

GRID: dict[str, Any] = {
    "eta_min": -3.0,
    "eta_max": 3.0,
    "towers_eta": 20,
    "towers_phi": 32,
    "channels": ["jets", "leptons_photons", "met"],
    "scale": "linear",
    "pt_min_gev": {},
}


def collection(rng: np.random.Generator, events: int, mean: float) -> ak.Array:
    counts = rng.poisson(mean, events)
    total = int(counts.sum())
    flat = ak.zip(
        {
            "pt": rng.exponential(50.0, total) + 20.0,
            "eta": rng.uniform(-2.9, 2.9, total),
            "phi": rng.uniform(-np.pi, np.pi, total),
        }
    )
    return ak.unflatten(flat, counts)


def make_events(seed: int, events: int = 50) -> ak.Array:
    rng = np.random.default_rng(seed)
    met = ak.zip({"pt": rng.exponential(60.0, events), "phi": rng.uniform(-np.pi, np.pi, events)})
    lists = {name: collection(rng, events, mean) for name, mean in (("Jet", 4), ("Muon", 0.5), ("Electron", 0.5))}
    return ak.zip({**lists, "Photon": collection(rng, events, 0.3), "MET": met}, depth_limit=1)


def rotated(events: ak.Array, angle: float) -> ak.Array:
    fields = {}
    for name in ak.fields(events):
        phi = (events[name].phi + angle + np.pi) % (2 * np.pi) - np.pi
        fields[name] = ak.with_field(events[name], phi, "phi")
    return ak.zip(fields, depth_limit=1)


def test_each_channel_sums_to_the_momenta_of_its_objects() -> None:
    events = make_events(1)
    fields = represent(events, "cylinder", GRID)
    assert fields.shape == (50, 3, 20, 32)
    assert fields.dtype == np.float32
    leptons = ak.sum(events.Muon.pt, axis=1) + ak.sum(events.Electron.pt, axis=1) + ak.sum(events.Photon.pt, axis=1)
    for channel, expected in enumerate((ak.sum(events.Jet.pt, axis=1), leptons, events.MET.pt)):
        np.testing.assert_allclose(fields[:, channel].sum(axis=(1, 2)), ak.to_numpy(expected), rtol=1e-5)


def test_missing_momentum_is_uniform_in_eta() -> None:
    strip = represent(make_events(1), "cylinder", GRID)[:, 2]
    np.testing.assert_array_equal(strip, np.repeat(strip[:, :1], 20, axis=1))


def test_a_jet_lies_where_it_flies() -> None:
    events = ak.Array([{"Jet": [{"pt": 100.0, "eta": 1.5, "phi": -np.pi + 0.01}]}])
    field = represent(events, "cylinder", {**GRID, "channels": ["jets"]})[0, 0]
    assert np.unravel_index(field.argmax(), field.shape) in {(14, 0), (15, 0)}
    # the Gaussian goes on across phi = pi: the tower on the other side is nearly as high
    assert field[15, 31] == pytest.approx(field[15, 0], rel=0.2)


@settings(deadline=None, max_examples=40)
@given(towers=st.integers(-40, 40), seed=st.integers(0, 100), scale=st.sampled_from(["linear", "log", "fraction"]))
def test_rotating_the_event_rolls_the_field(towers: int, seed: int, scale: str) -> None:
    events = make_events(seed, events=5)
    grid = {**GRID, "scale": scale}
    rolled = np.roll(represent(events, "cylinder", grid), towers, axis=-1)
    found = represent(rotated(events, towers * 2 * np.pi / 32), "cylinder", grid)
    np.testing.assert_allclose(found, rolled, rtol=1e-5, atol=1e-6)


def test_an_event_does_not_depend_on_the_events_beside_it() -> None:
    events = make_events(2, events=3000)  # more than a block
    fields = represent(events, "cylinder", GRID)
    np.testing.assert_array_equal(represent(events[2040:2060], "cylinder", GRID), fields[2040:2060])


def test_objects_beyond_the_range_or_below_the_threshold_are_left_out() -> None:
    jets = [
        {"pt": 100.0, "eta": 0.0, "phi": 0.0},
        {"pt": 50.0, "eta": 3.5, "phi": 0.0},
        {"pt": 9.0, "eta": 0.0, "phi": 1.0},
    ]
    events = ak.Array([{"Jet": jets}])
    grid = {**GRID, "channels": ["jets"], "pt_min_gev": {"jets": 10.0}}
    assert represent(events, "cylinder", grid).sum() == pytest.approx(100.0, rel=1e-5)


def test_scales() -> None:
    events = make_events(3)
    linear = represent(events, "cylinder", GRID)
    log = represent(events, "cylinder", {**GRID, "scale": "log", "pt_unit_gev": 2.0})
    np.testing.assert_allclose(log, np.log1p(linear / 2.0), rtol=1e-5)
    fraction = represent(events, "cylinder", {**GRID, "scale": "fraction"})
    np.testing.assert_allclose(fraction.sum(axis=(1, 2, 3)), 1.0, rtol=1e-5)


def test_no_events_and_empty_events() -> None:
    assert represent(make_events(1)[:0], "cylinder", GRID).shape == (0, 3, 20, 32)
    events = make_events(1, events=4)
    nothing = ak.with_field(events, events.Jet[events.Jet.pt < 0], "Jet")
    assert not represent(nothing, "cylinder", GRID)[:, 0].any()


def test_another_collection_of_missing_momentum() -> None:
    events = make_events(4)
    doubled = ak.with_field(events, ak.with_field(events.MET, 2 * events.MET.pt, "pt"), "PuppiMET")
    found = represent(doubled, "cylinder", {**GRID, "met": "PuppiMET"})
    np.testing.assert_allclose(found[:, 2], 2 * represent(events, "cylinder", GRID)[:, 2], rtol=1e-6)


def test_real_events(shared_data: Path) -> None:
    path = str(shared_data / "cms" / "nanoAOD_2015_CMS_Open_Data_ttbar.root")
    events = open_events(path, DatasetRecord(name="ttbar", kind="simulation", files=(path,)))
    fields = represent(events, "cylinder", GRID)
    inside = events.Jet.pt[abs(events.Jet.eta) <= 3.0]
    np.testing.assert_allclose(fields[:, 0].sum(axis=(1, 2)), ak.to_numpy(ak.sum(inside, axis=1)), rtol=1e-4)
    flat = represent(events, "columns", {"columns": ["MET.pt"], "transforms": {"MET.pt": "log"}})
    np.testing.assert_allclose(flat[:, 0], np.log(ak.to_numpy(events.MET.pt)), rtol=1e-6)


def test_columns() -> None:
    events = ak.Array({"mtt": [500.0, 1000.0], "pt": [1.0, 2.0]})
    found = represent(events, "columns", {"columns": ["pt", "mtt"], "transforms": {"mtt": "log"}})
    np.testing.assert_allclose(found, [[1.0, np.log(500.0)], [2.0, np.log(1000.0)]], rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_columns_that_are_not_finite_are_refused(bad: float) -> None:
    events = ak.Array({"mtt": [500.0, bad]})
    with pytest.raises(InputValueError, match=r"column mtt: 1 of 2 values"):
        represent(events, "columns", {"columns": ["mtt"], "transforms": {"mtt": "log"}})


def test_a_column_beyond_float32_is_refused() -> None:
    with pytest.raises(InputValueError, match="column x: 1 of 1 values are not finite"):
        represent(ak.Array({"x": [1e300]}), "columns", {"columns": ["x"]})


def test_absent_things_are_named() -> None:
    events = make_events(1)
    with pytest.raises(InputFileError, match=r"lacks PuppiMET.pt, PuppiMET.phi"):
        represent(events, "cylinder", {**GRID, "met": "PuppiMET"})
    with pytest.raises(InputFileError, match=r"lacks Jet.pt"):
        represent(ak.without_field(events, "Jet"), "cylinder", GRID)
    with pytest.raises(InputFileError, match=r"lacks the columns mtt, Jet\.mass"):
        represent(events, "columns", {"columns": ["mtt", "Jet.mass", "MET.pt"]})


@pytest.mark.parametrize("name", ["Jet.pt", "Jet.eta", "Muon.phi", "MET.pt"])
def test_nan_is_refused(name: str) -> None:
    events = make_events(1)
    first, field = name.split(".")
    broken = ak.with_field(events, ak.with_field(events[first], events[first][field] * np.nan, field), first)
    with pytest.raises(
        InputValueError, match=rf"{name}: \d+ of \d+ values are missing, not finite|{name}: .* missing or"
    ):
        represent(broken, "cylinder", GRID)


def test_negative_momenta_are_refused() -> None:
    events = ak.Array([{"Jet": [{"pt": -1.0, "eta": 0.0, "phi": 0.0}]}])
    with pytest.raises(InputValueError, match=r"Jet.pt: 1 of 1 values are missing, not finite or negative"):
        represent(events, "cylinder", {**GRID, "channels": ["jets"]})


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({**GRID, "channels": ["taus"]}, r"channels.0"),
        ({**GRID, "towers_phi": 0}, "towers_phi"),
        ({**GRID, "eta_max": -4.0}, "eta_min must be below eta_max"),
        ({**GRID, "smear": 1.0}, "smear"),
        ({}, "eta_min"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(InputValueError, match=match):
        represent(make_events(1), "cylinder", wrong)


def test_unknown_representation() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean cylinder"):
        represent(make_events(1), "cylindre", GRID)
    with pytest.raises(InputValueError, match="transforms of columns that are not listed: y"):
        represent(make_events(1), "columns", {"columns": ["x"], "transforms": {"y": "log"}})
