"""The distributions of every process are what is expected of them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from darkop_dist.errors import InputValueError, UnknownNameError
from darkop_dist.generation.process import list_processes
from darkop_dist.generation.process_validation import ProcessValidation, validate_process

KNOWN_TO_BE_WRONG = {("monojet-dm-scalar", "pt_54"), ("monojet-dm-native", "m_55")}
"""Pythia's own matrix elements, see the approximations of these processes."""


def validated(name: str, events: int = 400, **settings: float | str) -> ProcessValidation:
    own = {} if name == "minimum-bias" else {"mpi": "off"}
    return validate_process(name, events=events, seed=2, settings=own | settings)


@pytest.mark.parametrize("name", [process.name for process in list_processes()])
def test_every_process_has_figures_that_fit(name: str) -> None:
    """At 400 events a wrong mass, width, lifetime or slope gives p far below 10^-4; 30 figures are drawn."""
    found = validated(name, events=30 if name == "minimum-bias" else 400)
    assert len(found.spectra) >= 2
    assert any(one.expected.size or one.references or one.marks for one in found.spectra)
    for one in found.spectra:
        assert one.entries > 0
        assert len(one.values) == len(one.errors) == len(one.edges) - 1
        assert one.expected.size in {0, len(one.values)}
        told = re.search(r"p = ([-+.e0-9]+)$", one.verdict)
        if told and (name, one.name) not in KNOWN_TO_BE_WRONG:
            assert float(told[1]) > 1e-4, (one.name, one.verdict)


def test_a_wrong_lifetime_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from darkop_dist.generation import process_validation as room

    right = room.pythia_lines
    monkeypatch.setattr(
        room, "pythia_lines", lambda process, settings: (*right(process, settings), "4900111:tau0 = 70.")
    )
    spectra = {one.name: one for one in validated("displaced-vertices").spectra}
    assert float(spectra["ctau"].verdict.rpartition("= ")[2]) < 1e-4


def test_the_invisible_fraction_is_told_with_what_was_asked_for() -> None:
    spectra = {one.name: one for one in validated("semivisible-jets", r_inv=0.6).spectra}
    told = re.match(r"r_inv = ([.0-9]+) \+- ([.0-9]+), asked for 0\.6", spectra["invisible"].verdict)
    assert told is not None
    assert abs(float(told[1]) - 0.6) < 4 * float(told[2])
    assert spectra["invisible"].expected.sum() == pytest.approx(400, rel=0.01)


def test_minimum_bias_is_near_the_measurements() -> None:
    """120 events have 12%; Monash lies up to 8% above the data."""
    densities = {one.name: one for one in validated("minimum-bias", events=120).spectra}
    for name in ("eta_all", "eta_fiducial"):
        one = densities[name]
        middle = one.values[np.abs(one.edges[:-1] + one.edges[1:]) / 2 < 0.5].mean()
        assert one.references
        assert all(middle == pytest.approx(reference.value, rel=0.5) for reference in one.references)


def test_bad_input_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown process 'tt-bar'\. Did you mean ttbar"):
        validate_process("tt-bar", events=10, seed=1, settings={})
    with pytest.raises(InputValueError, match=r"ttbar: events: 0 is not above 0"):
        validate_process("ttbar", events=0, seed=1, settings={})
