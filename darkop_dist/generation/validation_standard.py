"""What is drawn to validate the processes of the Standard Model, and those of dark matter with a jet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.generation.flat_particles import ENERGY_GEV, Floats, Particles, pair_masses
from darkop_dist.generation.leading_order import Parton, boson_and_jet, dijets, scalar_and_gluon
from darkop_dist.generation.spectrum import Reference, Spectrum, breit_wigner, expecting, histogram

LEADING_ORDER = "leading order, integrated independently"
MEDIATOR = 55
UP, DOWN = (2, 4), (1, 3, 5)
CABIBBO2 = {(2, -1): 0.9496, (4, -3): 0.9474, (2, -3): 0.0506, (4, -1): 0.0505, (4, -5): 0.0017}


def _density(particles: Particles) -> Parton:
    xf: Parton = particles.made.pythia.getPDFPtr(2212).xf
    return xf


def peak(
    particles: Particles, kind: int, symbol: str, *, window: float = 8.0, narrowest: float = 4.0, least: float = 0.0,
    running: bool = False, times: Callable[[Floats], Floats] = np.ones_like, what: str = "relativistic Breit-Wigner",
) -> Spectrum:  # fmt: skip
    """Mass of a resonance of the hard process with the Breit-Wigner of Pythia's mass and width.

    Args:
        particles: of the process.
        kind: PDG number of the resonance.
        symbol: its name.
        window: half of the axis in units of the width.
        narrowest: smallest half in GeV.
        least: where phase space begins, in GeV.
        running: the width grows with the mass.
        times: factor to the Breit-Wigner.
        what: name of the expectation.
    """
    data = particles.made.pythia.particleData
    mass, width = data.m0(kind), data.mWidth(kind)
    half = max(window * width, narrowest)
    edges = np.linspace(max(mass - half, least), mass + half, 41)
    found = particles.mass[(particles.kind == kind) & np.isin(np.abs(particles.status), (22,))]
    spectrum = histogram(f"m_{kind}", f"Mass of {symbol}", f"m({symbol}) [GeV]", found, edges)
    name = f"{what} of running width" if running else what
    label = f"{name}, M = {mass:.5g} GeV, width {width:.3g} GeV"
    shape = breit_wigner(mass, width, running=running)
    return expecting(replace(spectrum, log=True), lambda m: shape(m) * times(m), label)


def _momentum(particles: Particles, kind: int, symbol: str, expected: Callable[[Floats], Floats]) -> Spectrum:
    """Transverse momentum in the hard process, at leading order."""
    low = particles.number("pthat_min")
    edges = np.geomspace(low, 5 * low, 21)
    chosen = particles.hard(kind)
    title, label = f"Transverse momentum of {symbol} in the hard process", f"$p_T$({symbol}) [GeV]"
    grid = np.geomspace(low, 5 * low, 40)
    values = np.log(expected(grid))
    spectrum = histogram(f"pt_{kind}", title, label, particles.pt[chosen], edges)
    return expecting(
        replace(spectrum, log=True), lambda x: np.asarray(np.exp(np.interp(np.log(x), np.log(grid), values))),
        LEADING_ORDER,
    )  # fmt: skip


def _dijets(particles: Particles) -> Iterator[Spectrum]:
    low, high = particles.number("pthat_min"), particles.number("pthat_max")
    top = min(5 * low, high)
    grid, edges = np.geomspace(low, top, 40), np.geomspace(low, top, 21)
    values = np.log(dijets(grid, ENERGY_GEV, _density(particles)))

    def density(x: Floats) -> Floats:
        return np.asarray(np.exp(np.interp(np.log(x), np.log(grid), values)))

    outgoing = np.flatnonzero(np.abs(particles.status) == 23)[::2]
    fine = np.linspace(low, top, 4000)
    expected_pb = float(np.trapezoid(density(fine), fine))
    total = particles.events * expected_pb / particles.made.cross_section.pb
    label = "$p_T$ of the partons [GeV]"
    parton = histogram("pthat", "Transverse momentum in the hard process", label, particles.pt[outgoing], edges)
    yield expecting(replace(parton, log=True), density, f"{LEADING_ORDER}, with its cross section", total=total)
    final = (particles.status > 0) & particles.visible()
    jets = _jets(particles, final)
    leading = ak.to_numpy(ak.fill_none(ak.firsts(jets.pt), 0.0))
    jet = histogram("pt_jet", "Leading AK4 jet of stable particles", "$p_T$(jet) [GeV]", leading, edges)
    jet = replace(jet, log=True, expected=parton.values, expected_label="partons of the hard process in these events")
    yield replace(
        jet,
        verdict="jets lose energy out of the cone and gain from radiation: no agreement is expected at the threshold",
    )
    two = jets[ak.num(jets) > 1]
    sums = [ak.to_numpy(two[axis][:, 0] + two[axis][:, 1]) for axis in ("px", "py", "pz", "E")]
    partons = particles.summed(np.abs(particles.status) == 23)
    mass_edges = np.geomspace(2 * low, 12 * low, 21)
    found = histogram(
        "m_jj", "Mass of the two leading jets", "$m_{jj}$ [GeV]", pair_masses(np.column_stack(sums)), mass_edges
    )
    of_partons = np.histogram(pair_masses(partons), mass_edges)[0].astype(float)
    yield replace(found, log=True, expected=of_partons, expected_label="partons of the hard process in these events")


def _jets(particles: Particles, chosen: np.ndarray) -> ak.Array:
    from darkop_dist.generation.clustering import cluster

    counts = particles.per_event(chosen)
    momenta = ak.zip({axis: particles.p[chosen, place] for place, axis in enumerate(("px", "py", "pz", "E"))})
    jets, _ = cluster(ak.unflatten(momenta, counts), radius=0.4, pt_min=20.0)
    px, py, pz = jets.pt * np.cos(jets.phi), jets.pt * np.sin(jets.phi), jets.pt * np.sinh(jets.eta)
    return ak.zip({"pt": jets.pt, "eta": jets.eta, "px": px, "py": py, "pz": pz, "E": jets.E})


def _ttbar(particles: Particles) -> Iterator[Spectrum]:
    yield peak(particles, 6, "t")
    yield peak(particles, 24, "W", running=True)
    pairs = pair_masses(particles.summed(particles.hard(6)))
    threshold = 2 * particles.number("top_mass")
    spectrum = histogram("m_tt", "Mass of the pair", "$m_{t\\bar{t}}$ [GeV]", pairs, np.linspace(300, 1000, 36))
    below = float(np.mean(pairs < threshold - 10))
    yield replace(
        spectrum, marks=((threshold, "2 m(t)"),), verdict=f"{below:.2%} more than 10 GeV below twice the mass"
    )


def _z_and_jet(particles: Particles) -> Iterator[Spectrum]:
    yield peak(particles, 23, "Z", running=True)
    sw2 = 0.2312
    up, down = ((0.5 - 4 / 3 * sw2) ** 2 + 0.25, (0.5 - 2 / 3 * sw2) ** 2 + 0.25)
    flavours = {(quark, -quark): (up if quark in UP else down) for quark in (*UP, *DOWN)}
    xf = _density(particles)
    yield _momentum(particles, 23, "Z", lambda pt: boson_and_jet(pt, 91.19, ENERGY_GEV, flavours, xf))


def _invisible_z_and_jet(particles: Particles) -> Iterator[Spectrum]:
    yield from _z_and_jet(particles)
    seen = particles.child_of(23) & (particles.status > 0)
    missing = particles.summed(seen & np.isin(particles.kind, (12, 14, 16)))
    edges = np.geomspace(0.5 * particles.number("pthat_min"), 5 * particles.number("pthat_min"), 25)
    met = histogram(
        "met",
        "Sum of the neutrinos after the shower",
        "$p_T$($\\nu\\nu$) [GeV]",
        np.hypot(missing[:, 0], missing[:, 1]),
        edges,
    )
    hard = np.histogram(particles.pt[particles.hard(23)], edges)[0].astype(float)
    yield replace(met, log=True, expected=hard, expected_label="Z of the hard process, before the shower recoils")


def _w_jets(particles: Particles) -> Iterator[Spectrum]:
    yield peak(particles, 24, "W", running=True)
    flavours = {**CABIBBO2, **{(-anti, -quark): value for (quark, anti), value in CABIBBO2.items()}}
    xf = _density(particles)
    yield _momentum(particles, 24, "W", lambda pt: boson_and_jet(pt, 80.4, ENERGY_GEV, flavours, xf))


def _diboson(particles: Particles) -> Iterator[Spectrum]:
    for kind, symbol in ((24, "W"), (23, "Z")):
        if particles.hard(kind).any():
            yield peak(particles, kind, symbol)
    pairs = pair_masses(particles.summed(particles.hard(23, 24)))
    spectrum = histogram("m_vv", "Mass of the pair", "m(VV) [GeV]", pairs, np.linspace(140, 800, 34))
    yield replace(spectrum, log=True, marks=((160.8, "2 m(W)"), (182.4, "2 m(Z)")))


def _minimum_bias(particles: Particles) -> Iterator[Spectrum]:
    charged = (particles.status > 0) & (particles.charges() != 0)
    hadrons = charged & ~np.isin(particles.kind, (11, 13))
    eta = np.arcsinh(particles.p[:, 2] / np.maximum(particles.pt, 1e-9))
    references = (
        Reference(-0.05, 5.49, 0.17, "CMS, |eta| < 0.5, arXiv:1507.05915"),
        Reference(0.05, 5.31, 0.18, "ALICE, |eta| < 0.5, arXiv:1509.08734"),
    )
    title = "Charged hadrons of inelastic events"
    yield _densities(particles, "all", title, hadrons, eta, particles.events, references)
    strange_baryon = np.isin(particles.kind, (3112, 3222, 3312, 3334))
    fiducial = charged & (particles.pt > 0.5) & (np.abs(eta) < 2.5) & ~strange_baryon
    selected = int(np.sum(particles.per_event(fiducial) > 0))
    atlas = (Reference(0.0, 2.874, 0.033, "ATLAS, |eta| < 0.2, arXiv:1602.01633"),)
    title = "Above 0.5 GeV, in events with one such particle"
    yield _densities(particles, "fiducial", title, fiducial, eta, selected, atlas)
    mean = float(particles.pt[fiducial].mean())
    spectrum = histogram(
        "pt", "Charged particles above 0.5 GeV", "$p_T$ [GeV]", particles.pt[fiducial], np.geomspace(0.5, 20, 26)
    )
    yield replace(spectrum, log=True, verdict=f"mean {mean:.3f} GeV")


def _densities(
    particles: Particles, name: str, title: str, chosen: npt.NDArray[np.bool_], eta: Floats, events: int,
    references: tuple[Reference, ...],
) -> Spectrum:  # fmt: skip
    """Charged particles per event and unit of pseudorapidity; errors from the spread of the events."""
    edges = np.linspace(-2.4, 2.4, 25)
    spectrum = histogram(f"eta_{name}", title, "$\\eta$", eta[chosen], edges)
    every = np.arange(particles.events + 1) - 0.5
    each = np.histogram2d(particles.event[chosen], eta[chosen], bins=(every, edges))[0]
    width = edges[1] - edges[0]
    middle = particles.per_event(chosen & (np.abs(eta) < 0.5))
    found, error = (middle.sum() / events, middle.std() * np.sqrt(particles.events) / events)
    told = "; ".join(f"{reference.value:g} +- {reference.error:g} {reference.label}" for reference in references)
    return replace(
        spectrum, values=spectrum.values / events / width, references=references,
        errors=each.std(axis=0) * np.sqrt(particles.events) / events / width,
        y_label="Charged particles / event / unit of $\\eta$",
        verdict=f"{found:.2f} +- {error:.2f} within |eta| < 0.5; measured: {told}",
    )  # fmt: skip


def _dark_matter(particles: Particles, *, with_gluons: bool = True) -> Iterator[Spectrum]:
    mass = particles.number("mediator_mass")
    least = 2 * particles.number("dm_mass")
    yield peak(particles, 55, "mediator", window=5.0, least=least)
    coupling2 = {(quark, -quark): 1.0 for quark in (*UP, *DOWN)}
    xf = _density(particles)
    yield _momentum(
        particles, 55, "mediator",
        lambda pt: boson_and_jet(pt, mass, ENERGY_GEV, coupling2, xf, with_gluons=with_gluons),
    )  # fmt: skip
    yield _missing(particles, 55)


def _native(particles: Particles) -> Iterator[Spectrum]:
    """Pythia multiplies the peak by a propagator once more, which the expectation does too."""
    data = particles.made.pythia.particleData
    once_more = breit_wigner(data.m0(MEDIATOR), data.mWidth(MEDIATOR))
    what = "Breit-Wigner times propagator, as Pythia has it"
    first, *others = _dark_matter(particles, with_gluons=False)
    least = float(first.edges[0])
    yield peak(particles, MEDIATOR, "mediator", window=4.0, least=least, times=lambda m: once_more(m) / m, what=what)
    yield from others


def _missing(particles: Particles, mediator: int) -> Spectrum:
    dark = particles.summed((particles.status > 0) & (particles.kind == 52))
    low = particles.number("pthat_min")
    edges = np.geomspace(0.5 * low, 8 * low, 25)
    met = histogram(
        "met", "Sum of the dark matter after the shower", "$p_T^{miss}$ [GeV]", np.hypot(dark[:, 0], dark[:, 1]), edges
    )
    hard = np.histogram(particles.pt[particles.hard(mediator)], edges)[0].astype(float)
    return replace(
        met, log=True, expected=hard, expected_label="mediator of the hard process, before the shower recoils"
    )


def _scalar(particles: Particles) -> Iterator[Spectrum]:
    mass, xf = particles.number("mediator_mass"), _density(particles)
    yield peak(particles, 54, "mediator", window=8.0, narrowest=2.0, least=2 * particles.number("dm_mass"))
    yield _momentum(particles, 54, "mediator", lambda pt: scalar_and_gluon(pt, mass, ENERGY_GEV, xf))
    yield _missing(particles, 54)


STANDARD: Mapping[str, Callable[[Particles], Iterator[Spectrum]]] = MappingProxyType(
    {
        "qcd-dijets": _dijets,
        "ttbar": _ttbar,
        "z-jets": _z_and_jet,
        "z-nunu-jets": _invisible_z_and_jet,
        "w-jets": _w_jets,
        "diboson": _diboson,
        "minimum-bias": _minimum_bias,
        "monojet-dm": _dark_matter,
        "monojet-dm-native": _native,
        "monojet-dm-scalar": _scalar,
    }
)
