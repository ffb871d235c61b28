from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import pythia8mc

from darkop_dist.errors import RunError
from darkop_dist.generation.process import load_process, pythia_lines
from darkop_dist.generation.pythia_run import PartRequest
from darkop_dist.generation.truth import generate_truth

SEED, EVENTS = 5, 60
Z_TO_TAUS = (
    "Beams:eCM = 13000.",
    "PartonLevel:MPI = off",
    "WeakSingleBoson:ffbar2gmZ = on",
    "PhaseSpace:mHatMin = 60.",
    "23:onMode = off",
    "23:onIfAny = 15",
)


def request(lines: tuple[str, ...], process: str = "test", events: int = EVENTS) -> PartRequest:
    return PartRequest(process=process, lines=lines, own_matrix_elements=False, seed=SEED, events=events)


def same_pythia(lines: tuple[str, ...]) -> pythia8mc.Pythia:
    pythia = pythia8mc.Pythia("", False)
    for line in ("Print:quiet = on", "Random:setSeed = on", f"Random:seed = {SEED}", *lines):
        assert pythia.readString(line)
    assert pythia.init()
    return pythia


def test_invisible_momentum_is_the_sum_of_the_neutrinos() -> None:
    """The same events, read one particle at a time with Pythia's own interface."""
    lines = pythia_lines(load_process("z-nunu-jets"), {"mpi": "off"})
    truth = generate_truth(request(lines))
    pythia = same_pythia(lines)
    for event in range(EVENTS):
        assert pythia.next()
        final = [particle for particle in pythia.event if particle.isFinal()]
        neutrinos = [particle for particle in final if abs(particle.id()) in {12, 14, 16}]
        assert truth.invisible_px[event] == pytest.approx(sum(p.px() for p in neutrinos), abs=1e-6)
        assert truth.invisible_py[event] == pytest.approx(sum(p.py() for p in neutrinos), abs=1e-6)
        assert len(truth.particles[event]) == len(final) - len(neutrinos)
        total = float(ak.sum(truth.particles.px[event])) + truth.invisible_px[event]
        assert total == pytest.approx(0, abs=1e-2)  # Pythia conserves momentum to rounding in decays
    assert truth.cross_section.pb == pytest.approx(pythia.infoPython().sigmaGen() * 1e9, rel=1e-9)


def test_hadronic_taus_are_their_visible_daughters() -> None:
    truth = generate_truth(request(Z_TO_TAUS))
    pythia = same_pythia(Z_TO_TAUS)
    found = 0
    for event in range(EVENTS):
        assert pythia.next()
        record = pythia.event
        expected = []
        for index in range(record.size()):
            daughters = [record[d] for d in record[index].daughterList()]
            ids = [abs(d.id()) for d in daughters]
            if abs(record[index].id()) == 15 and 16 in ids and 11 not in ids and 13 not in ids:
                seen = [d for d in daughters if abs(d.id()) not in {12, 14, 16}]
                prongs, neutral = sum(d.charge() != 0 for d in seen), ids.count(111)
                expected.append((sum(d.px() for d in seen), sum(d.e() for d in seen), 5 * (prongs - 1) + neutral))
        taus = truth.taus[event]
        assert len(taus) == len(expected)
        for tau, (px, energy, mode) in zip(taus, expected, strict=True):
            assert (tau.px, tau.E, tau.decay_mode) == pytest.approx((px, energy, mode), abs=1e-6)
        found += len(expected)
    assert found > EVENTS / 2  # 65% of 2 taus per event are hadronic


def test_heavy_hadrons_come_from_heavy_quarks() -> None:
    lines = ("Beams:eCM = 13000.", "PartonLevel:MPI = off", "HardQCD:hardbbbar = on", "PhaseSpace:pTHatMin = 80.")
    truth = generate_truth(request(lines, events=20))
    assert ak.all(ak.sum(truth.heavy_hadrons.flavour == 5, axis=1) >= 1)
    assert set(np.unique(ak.to_numpy(ak.flatten(truth.heavy_hadrons.flavour)))) <= {4, 5}


def test_pythia_that_does_not_start_says_why() -> None:
    lines = (*pythia_lines(load_process("qcd-dijets"), {}), "PhaseSpace:pTHatMin = 7000.")
    with pytest.raises(RunError, match=r"qcd-dijets: Pythia does not start: .*vanishing cross sections"):
        generate_truth(request(lines, process="qcd-dijets"))


def test_an_unknown_line_is_named() -> None:
    with pytest.raises(RunError, match=r"test: Pythia does not know the setting 'Hard:nonsense = on'"):
        generate_truth(request(("Hard:nonsense = on",)))


def test_a_generator_that_fails_every_event_is_an_error() -> None:
    """Jets at the very edge of phase space leave no energy for the beam remnants: nextBatch returns nothing."""
    lines = (*pythia_lines(load_process("qcd-dijets"), {}), "PhaseSpace:pTHatMin = 6499.9999")
    with pytest.raises(RunError, match=r"test: Pythia fails its events \(3 of 3 missing"):
        generate_truth(request(lines, events=3))
