"""The physics of each process, not only that it runs; particles are read as Pythia gives them."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import pytest
import pythia8mc

from darkop_dist.errors import InputValueError
from darkop_dist.generation.process import Process, list_processes, load_process, pythia_lines
from darkop_dist.generation.pythia_run import PartRequest
from darkop_dist.generation.truth import generate_truth

DARK_HADRONS = (4900111, 4900211, 4900113, 4900213)
DARK_PIONS = (4900111, 4900211)


class Sample:
    """Particles of all events one after another, and what Pythia says of the cross section."""

    def __init__(self, process: str, events: int, seed: int = 7, **settings: float | str) -> None:
        pythia = pythia8mc.Pythia("", False)
        own = {} if process == "minimum-bias" else {"mpi": "off"}
        lines = pythia_lines(load_process(process), own | settings)
        for line in ("Print:quiet = on", "Random:setSeed = on", f"Random:seed = {seed}", *lines):
            assert pythia.readString(line), line
        assert pythia.init()
        record = pythia.nextBatch(events).prt
        counts = ak.to_numpy(ak.num(record.id))
        assert len(counts) == events, "Pythia failed some events"
        self.events = events
        self.first = np.repeat(np.cumsum(counts) - counts, counts)
        self.event = np.repeat(np.arange(events), counts)
        self.columns = {name: ak.to_numpy(ak.flatten(record[name])) for name in ("id", "status", "mother1", "m", "tau")}
        self.kind = np.abs(self.columns["id"])
        self.mother = self.columns["mother1"] + self.first
        info = pythia.infoPython()
        self.pb, self.error_pb = info.sigmaGen() * 1e9, info.sigmaErr() * 1e9

    def per_event(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.bincount(self.event[chosen], minlength=self.events)


def shortened(process: Process) -> dict[str, float | str]:
    return {"mpi": "off"} if "mpi" in process.parameters else {}


@pytest.mark.parametrize("process", list_processes(), ids=lambda process: process.name)
def test_every_process_gives_all_events_and_conserves_momentum(process: Process) -> None:
    lines = pythia_lines(process, shortened(process))
    own = process.matrix_elements != "pythia"
    truth = generate_truth(PartRequest(process.name, lines, own_matrix_elements=own, seed=3, events=20))
    assert truth.cross_section.pb > 0
    for axis, invisible in (("px", truth.invisible_px), ("py", truth.invisible_py)):
        assert ak.to_numpy(ak.sum(truth.particles[axis], axis=1)) + invisible == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("r_inv", [0.0, 0.3, 0.7, 1.0])
def test_semivisible_jets_have_the_invisible_fraction_that_was_asked_for(r_inv: float) -> None:
    sample = Sample("semivisible-jets", 300, r_inv=r_inv)
    dark = np.isin(sample.kind, DARK_HADRONS)
    assert not (dark & (sample.columns["status"] > 0)).any(), "a dark hadron did not decay"
    invisible = np.isin(sample.kind, (51, 53)) & dark[sample.mother]
    number, gone = int(dark.sum()), len(np.unique(sample.mother[invisible]))
    assert number > 8 * sample.events
    assert abs(gone - r_inv * number) <= 4 * np.sqrt(r_inv * (1 - r_inv) * number)


def test_semivisible_jets_come_from_a_z_prime_of_the_mass_that_was_asked_for() -> None:
    sample = Sample("semivisible-jets", 200, zprime_mass=1500.0, dark_mass=30.0)
    assert np.median(sample.columns["m"][sample.kind == 4900023]) == pytest.approx(1500.0, rel=0.01)
    assert np.unique(sample.columns["m"][sample.kind == 4900111]) == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("process", "kinds"), [("emerging-jets", DARK_PIONS), ("displaced-vertices", (4900111,))], ids=["emerging", "higgs"]
)
@pytest.mark.parametrize("lifetime", [1.0, 100.0])
def test_decay_lengths_are_exponential_with_the_mean_that_was_asked_for(
    process: str, kinds: tuple[int, ...], lifetime: float
) -> None:
    """Mean and standard deviation of an exponential distribution are both c tau."""
    lengths = Sample(process, 300, seed=11, lifetime=lifetime).columns
    chosen = np.isin(np.abs(lengths["id"]), kinds)
    taus = lengths["tau"][chosen]
    assert abs(taus.mean() - lifetime) < 4 * lifetime / np.sqrt(len(taus))
    assert taus.std() == pytest.approx(lifetime, rel=0.25)


def test_what_leaves_the_tracker_before_it_decays_is_invisible() -> None:
    process = load_process("displaced-vertices")
    lines = pythia_lines(process, {"lifetime": 100_000.0, "mpi": "off"})
    truth = generate_truth(PartRequest(process.name, lines, own_matrix_elements=False, seed=3, events=100))
    assert not np.isin(4900111, ak.to_numpy(ak.flatten(truth.particles.id)))
    assert np.median(np.hypot(truth.invisible_px, truth.invisible_py)) > 1.0


def test_emerging_jets_have_two_mediators_and_many_dark_pions() -> None:
    sample = Sample("emerging-jets", 100, mediator_mass=800.0)
    hard = (sample.kind == 4900001) & (np.abs(sample.columns["status"]) == 22)
    assert sample.per_event(hard).tolist() == [2] * sample.events
    assert sample.columns["m"][hard].mean() == pytest.approx(800.0, rel=0.02)
    assert sample.per_event(np.isin(sample.kind, DARK_PIONS)).mean() > 8


def test_displaced_scalars_come_in_pairs_from_the_higgs_boson() -> None:
    sample = Sample("displaced-vertices", 200)
    scalars = sample.kind == 4900111
    assert sample.per_event(scalars).tolist() == [2] * sample.events
    assert set(sample.kind[sample.mother[scalars]]) == {25}
    assert set(sample.kind[scalars[sample.mother] & (sample.kind == 5)]) == {5}


def test_top_pairs_at_leading_order() -> None:
    """Pythia's LO with NNPDF2.3 LO; next-to-next-to-leading order is 832 pb, the k factor 1.6 to 1.8."""
    sample = Sample("ttbar", 2000)
    assert 440 < sample.pb < 520
    assert (sample.per_event((sample.kind == 6) & (np.abs(sample.columns["status"]) == 22)) == 2).all()


def test_w_bosons_decay_as_they_were_told_and_the_cross_section_is_that_of_the_decays() -> None:
    found = {decay: Sample("w-jets", 1500, decay=decay) for decay in ("leptons", "hadrons", "all")}
    leptons, hadrons, everything = (found[decay] for decay in ("leptons", "hadrons", "all"))
    error = np.hypot(np.hypot(leptons.error_pb, hadrons.error_pb), everything.error_pb)
    assert abs(leptons.pb + hadrons.pb - everything.pb) < 4 * error
    assert leptons.pb / everything.pb == pytest.approx(0.325, abs=0.05)  # 3 x 10.8%, PDG
    assert {11, 13, 15} <= set(leptons.kind[leptons.kind[leptons.mother] == 24])
    assert not {11, 13, 15} & set(hadrons.kind[hadrons.kind[hadrons.mother] == 24])


def test_z_bosons_decay_as_they_were_told_and_the_cross_section_is_that_of_the_decays() -> None:
    found = {decay: Sample("z-jets", 1500, decay=decay) for decay in ("leptons", "neutrinos", "hadrons", "all")}
    parts = [found[decay] for decay in ("leptons", "neutrinos", "hadrons")]
    everything, error = found["all"], np.sqrt(sum(sample.error_pb**2 for sample in found.values()))
    assert abs(sum(sample.pb for sample in parts) - everything.pb) < 4 * error
    for sample, share in zip(parts, (0.101, 0.200, 0.699), strict=True):  # PDG
        assert sample.pb / everything.pb == pytest.approx(share, abs=0.03)
    leptons = parts[0]
    assert {11, 13, 15} <= set(np.abs(leptons.kind[leptons.kind[leptons.mother] == 23]))
    assert not set(range(1, 6)) & set(np.abs(leptons.kind[leptons.kind[leptons.mother] == 23]))


@pytest.mark.parametrize(("pair", "bosons"), [("WW", [24, 24]), ("WZ", [23, 24]), ("ZZ", [23, 23])])
def test_pairs_of_bosons(pair: str, bosons: list[int]) -> None:
    sample = Sample("diboson", 50, pair=pair)
    hard = np.isin(sample.kind, (23, 24)) & (np.abs(sample.columns["status"]) == 22)
    for event in range(sample.events):
        assert sorted(sample.kind[hard & (sample.event == event)]) == bosons


def test_soft_collisions_have_the_inelastic_cross_section_and_multiplicity() -> None:
    """13 TeV: 78.1 mb in ATLAS, arXiv:1606.02625, 79.5 mb in TOTEM, arXiv:1712.06153."""
    sample = Sample("minimum-bias", 200)
    assert sample.pb / 1e9 == pytest.approx(79.0, rel=0.03)
    assert sample.per_event(sample.columns["status"] > 0).mean() > 100


def test_numbers_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(InputValueError, match=r"scalar_mass: 70 GeV is out of range\. Use a number between 12 and 60"):
        pythia_lines(load_process("displaced-vertices"), {"scalar_mass": 70})
    with pytest.raises(InputValueError, match=r"r_inv: 1\.2 is out of range"):
        pythia_lines(load_process("semivisible-jets"), {"r_inv": 1.2})


def test_lines_are_worked_out_from_parameters() -> None:
    lines: Any = pythia_lines(load_process("semivisible-jets"), {"dark_mass": 40.0, "r_inv": 0.5, "pion_quark": "c"})
    assert {"4900101:m0 = 20.0", "4900113:addChannel = 1 0.1 91 1 -1", "4900111:addChannel = 1 0.5 91 4 -4"} <= set(
        lines
    )
