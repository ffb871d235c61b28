"""Independent leading-order spectra against Pythia's own cross sections."""

from __future__ import annotations

import numpy as np
import pytest
import pythia8mc

from darkop_dist.generation.leading_order import alpha_strong, boson_and_jet, dijets

XF = pythia8mc.Pythia("", False).getPDFPtr(2212).xf


def pythia_pb(*lines: str, events: int = 4000) -> tuple[float, float]:
    pythia = pythia8mc.Pythia("", False)
    for line in ("Print:quiet = on", "Beams:eCM = 13000.", "PartonLevel:all = off", "Random:setSeed = on", *lines):
        assert pythia.readString(line)
    assert pythia.init()
    pythia.nextBatch(events)
    info = pythia.infoPython()
    return info.sigmaGen() * 1e9, info.sigmaErr() * 1e9


@pytest.mark.parametrize("low", [100.0, 600.0])
def test_dijets_have_the_cross_section_of_pythia(low: float) -> None:
    """Absolute; 2% for the grid, quark masses and a sixth flavour."""
    found, error = pythia_pb("HardQCD:all = on", f"PhaseSpace:pTHatMin = {low}")
    grid = np.geomspace(low, 5000, 60)
    expected = np.trapezoid(dijets(grid, 13000.0, XF), grid)
    assert abs(found - expected) < 0.02 * expected + 4 * error


def test_a_boson_and_a_jet_fall_as_in_pythia() -> None:
    """Ratio of cross sections above two thresholds: Z with both channels, then with annihilation alone."""
    grid = np.geomspace(100, 3000, 60)
    up, down = (0.5 - 4 / 3 * 0.2312) ** 2 + 0.25, (0.5 - 2 / 3 * 0.2312) ** 2 + 0.25
    flavours = {(quark, -quark): down if quark % 2 else up for quark in range(1, 6)}
    for gluons, channels in ((True, ("qqbar2gmZg", "qg2gmZq")), (False, ("qqbar2gmZg",))):
        lines = (*(f"WeakBosonAndParton:{channel} = on" for channel in channels), "WeakZ0:gmZmode = 2")
        found = [pythia_pb(*lines, f"PhaseSpace:pTHatMin = {low}") for low in (100.0, 300.0)]
        values = boson_and_jet(grid, 91.19, 13000.0, flavours, XF, with_gluons=gluons)
        high = grid >= 300
        parts = np.interp(300.0, grid, values)
        above = np.trapezoid(np.append(parts, values[high]), np.append(300.0, grid[high]))
        expected = above / np.trapezoid(values, grid)
        ratio = found[1][0] / found[0][0]
        error = ratio * np.hypot(found[0][1] / found[0][0], found[1][1] / found[1][0])
        assert abs(ratio - expected) < 0.03 * expected + 4 * error


def test_the_coupling_is_that_of_pythia() -> None:
    pythia = pythia8mc.Pythia("", False)
    for line in ("Print:quiet = on", "HardQCD:all = on", "PhaseSpace:pTHatMin = 200.", "PartonLevel:all = off"):
        pythia.readString(line)
    assert pythia.init()
    pythia.next()
    info = pythia.infoPython()
    assert float(alpha_strong(info.Q2Ren())) == pytest.approx(info.alphaS(), rel=0.01)
