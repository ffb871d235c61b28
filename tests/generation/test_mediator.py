from __future__ import annotations

import math
from typing import Any

import pytest
import pythia8mc

from darkop_dist.errors import InputValueError
from darkop_dist.generation.mediator import attach_mediator, partial_width_gev, read_mediator
from darkop_dist.generation.process import load_process, pythia_lines

COMMON = ("Print:quiet = on", "Beams:eCM = 13000.", "Random:setSeed = on", "Random:seed = 7", "PartonLevel:all = off")


def configured(*lines: str) -> Any:
    pythia = pythia8mc.Pythia("", False)
    for line in (*COMMON, "PhaseSpace:pTHatMin = 150.", *lines):
        assert pythia.readString(line), line
    return pythia


def cross_sections(pythia: Any, events: int) -> dict[int, tuple[float, float]]:
    """Cross section and its uncertainty in pb, by Pythia's code of the process."""
    assert pythia.init()
    for _ in range(events):
        assert pythia.next()
    info = pythia.infoPython()
    return {code: (info.sigmaGen(code) * 1e9, info.sigmaErr(code) * 1e9) for code in info.codesHard()}


def test_a_mediator_that_is_a_z_has_pythias_z_plus_jet_cross_section() -> None:
    """Both channels against WeakBosonAndParton of Pythia, at the mass, width and couplings of the Z.

    Tolerance 5%: three standard deviations of 3000 events (0.9% each) and Pythia's running alpha_em, which is 1 to 2%
    above alpha_em(m_Z) at these scales.
    """
    reference = configured(
        "WeakBosonAndParton:qqbar2gmZg = on", "WeakBosonAndParton:qg2gmZq = on", "WeakZ0:gmZmode = 2"
    )
    expected = cross_sections(reference, 6000)
    sin2, alpha = reference.parm("StandardModel:sin2thetaW"), reference.parm("StandardModel:alphaEMmZ")
    coupling = math.sqrt(4 * math.pi * alpha / (16 * sin2 * (1 - sin2)))
    mediator = configured(
        f"55:m0 = {reference.particleData.m0(23)}",
        "52:m0 = 1.",
        "55:onMode = off",
        "55:onIfMatch = 52 -52",
        f"Zp:gZp = {coupling}",
        f"Zp:vu = {1 - 8 / 3 * sin2}",
        "Zp:au = 1.",
        f"Zp:vd = {1 - 4 / 3 * sin2}",
        "Zp:ad = 1.",
        "Zp:vX = 1.",
    )
    invisible = read_mediator(mediator).invisible_fraction
    _alive = attach_mediator(mediator)
    found = cross_sections(mediator, 6000)
    for ours, theirs in ((10001, 241), (10002, 242)):
        assert found[ours][0] / invisible == pytest.approx(expected[theirs][0], rel=0.05)


def test_the_width_agrees_with_the_closed_form_of_the_default_point() -> None:
    """1 TeV, axial couplings 0.25 and 1, dark matter of 100 GeV: sums of colours * g^2 M / (12 pi) * beta^3."""
    pythia = configured(*pythia_lines(load_process("monojet-dm"), {}))
    mediator = read_mediator(pythia)
    unit = 1000 / (12 * math.pi)
    light = 3 * 0.25**2 * unit
    dark = (1 - 4 * 0.1**2) ** 1.5 * unit
    top = light * (1 - 4 * (pythia.particleData.m0(6) / 1000) ** 2) ** 1.5
    assert mediator.width_gev == pytest.approx(dark + 5 * light + top, rel=1e-3)  # b and c masses are neglected
    assert mediator.invisible_fraction == pytest.approx(dark / mediator.width_gev)


def test_there_is_no_width_below_threshold() -> None:
    assert partial_width_gev(100.0, 50.0, 1.0, 1.0, 1) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mediator_mass": 150, "dm_mass": 100}, "does not decay to dark matter.*heavier than two"),
        ({"dm_axial": 0}, "does not decay to dark matter"),
        ({"quark_axial": 0}, "no quark couples"),
        ({"dm_axial": 3.5}, r"width of the mediator is \d+ GeV, \d+% of its mass.*Lower the couplings"),
    ],
)
def test_a_mediator_that_is_no_particle_is_refused(settings: dict[str, float | int | str], message: str) -> None:
    pythia = configured(*pythia_lines(load_process("monojet-dm"), settings))
    with pytest.raises(InputValueError, match=message):
        read_mediator(pythia)
