"""What is drawn to validate the processes of dark sectors, supersymmetry and black holes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from scipy.stats import binom

from darkop_dist.generation.black_hole import black_hole_of, expected_multiplicity, production
from darkop_dist.generation.flat_particles import ENERGY_GEV, Floats, Particles, pair_masses
from darkop_dist.generation.leading_order import annihilation_luminosity
from darkop_dist.generation.spectrum import Spectrum, compared, expecting, histogram
from darkop_dist.generation.suep import MEDIATOR, mean_energy, suep_of, thermal_decay
from darkop_dist.generation.validation_standard import peak
from darkop_dist.generation.virtual_boson import pair_density

DARK_HADRONS, DARK_PIONS = (4900111, 4900211, 4900113, 4900213), (4900111, 4900211)
N2, C1, LEPTONS = 1000023, 1000024, (11, 12, 13, 14, 15, 16)


def _semivisible(particles: Particles) -> Iterator[Spectrum]:
    grid = np.geomspace(0.5, 1.5, 41) * particles.number("zprime_mass")
    meetings = annihilation_luminosity(grid, ENERGY_GEV, particles.made.pythia.getPDFPtr(2212).xf)

    def luminosity(m: Floats) -> Floats:
        return np.asarray(np.exp(np.interp(m, grid, np.log(meetings))))

    yield peak(particles, 4900023, "Z'", times=luminosity, what="Breit-Wigner times quark luminosity")
    asked = particles.number("r_inv")
    dark = np.isin(particles.kind, DARK_HADRONS)
    invisible = np.unique(particles.mother[np.isin(particles.kind, (51, 53)) & dark[particles.mother]])
    number = particles.per_event(dark)
    gone = np.bincount(particles.event[invisible], minlength=particles.events)
    edges = np.arange(-0.5, max(int(gone.max()), 4) + 1.5)
    spectrum = histogram(
        "invisible", "Invisible dark hadrons of an event", "Number of invisible dark hadrons", gone, edges
    )
    expected = binom.pmf(np.arange(len(edges) - 1)[:, None], number[None, :], asked).sum(axis=1)
    found, error = gone.sum() / number.sum(), float(np.sqrt(max(asked * (1 - asked), 1e-12) / number.sum()))
    verdict = f"r_inv = {found:.4f} +- {error:.4f}, asked for {asked:g}"
    label = "binomial for the numbers of dark hadrons in these events"
    yield compared(replace(spectrum, expected=expected, expected_label=label, verdict=verdict), fixed=False)
    yield _transverse_mass(particles)


def _transverse_mass(particles: Particles) -> Spectrum:
    """Of what the Z' becomes, seen and unseen: it cannot exceed the mass, with the width and what showers add."""
    zprime = particles.number("zprime_mass")
    final = particles.status > 0
    dark = np.isin(particles.kind, (51, 53)) & final
    seen = particles.summed(_descends(particles, DARK_HADRONS) & final & ~dark)
    unseen = particles.summed(dark)
    met = np.hypot(unseen[:, 0], unseen[:, 1])
    mass2 = pair_masses(seen) ** 2
    transverse = np.hypot(np.sqrt(mass2), np.hypot(seen[:, 0], seen[:, 1])) + met
    total = np.hypot(seen[:, 0] + unseen[:, 0], seen[:, 1] + unseen[:, 1])
    values = np.sqrt(np.maximum(transverse**2 - total**2, 0))
    label = "$m_T$ [GeV]"
    spectrum = histogram(
        "m_t",
        "Transverse mass of visible and invisible decay products",
        label,
        values,
        np.linspace(0, 1.3 * zprime, 53),
    )
    beyond = float(np.mean(values > 1.05 * zprime))
    return replace(
        spectrum, marks=((zprime, "m(Z')"),), verdict=f"{beyond:.2%} above 1.05 m(Z'), the edge with its width"
    )


def _descends(particles: Particles, kinds: tuple[int, ...]) -> np.ndarray:
    """Particles with one of some kinds among their ancestors by first mothers."""
    found = np.isin(particles.kind, kinds)
    for _ in range(100):
        more = found | found[particles.mother]
        if (more == found).all():
            break
        found = more
    return found


def _lengths(particles: Particles, kinds: tuple[int, ...], what: str) -> Spectrum:
    mean = particles.number("lifetime")
    decayed = np.isin(particles.kind, kinds)
    lengths = particles.tau[decayed]
    spectrum = histogram(
        "ctau", f"Proper decay length of {what}", "$c\\tau$ [mm]", lengths, np.linspace(0, 7 * max(mean, 1e-6), 36)
    )
    error = lengths.mean() / np.sqrt(len(lengths))
    verdict = f"mean {lengths.mean():.4g} +- {error:.2g} mm, asked for {mean:g} mm"
    total = float(len(lengths) * (1 - np.exp(-7)))
    return expecting(
        replace(spectrum, log=True, verdict=verdict),
        lambda x: np.asarray(np.exp(-x / mean)),
        "exponential",
        total=total,
    )


def _emerging(particles: Particles) -> Iterator[Spectrum]:
    yield peak(particles, 4900001, "mediator", window=6.0)
    yield _lengths(particles, DARK_PIONS, "dark pions")
    numbers = particles.per_event(np.isin(particles.kind, DARK_PIONS))
    spectrum = histogram(
        "pions", "Dark pions of an event", "Number of dark pions", numbers, np.arange(-0.5, numbers.max() + 2.5, 2.0)
    )
    yield replace(spectrum, verdict=f"mean {numbers.mean():.1f}")


def _displaced(particles: Particles) -> Iterator[Spectrum]:
    yield peak(particles, 25, "H", window=6.0)
    yield _lengths(particles, (4900111,), "S")
    energy = particles.p[(particles.kind == 4900111)]
    gamma = energy[:, 3] / particles.number("scalar_mass")
    spectrum = histogram("boost", "Boost of S", "$\\gamma$(S)", gamma, np.linspace(1, 8, 36))
    rest = 125.0 / 2 / particles.number("scalar_mass")
    yield replace(spectrum, log=True, marks=((rest, "H at rest"),))


def _suep(particles: Particles) -> Iterator[Spectrum]:
    suep = suep_of(particles.request.lines)
    if suep is None:
        return
    momenta = particles.p[(particles.kind == MEDIATOR) & (particles.status > 0)]
    mass, temperature = suep.meson_mass, suep.temperature
    rest = np.column_stack([np.zeros((len(momenta), 3)), pair_masses(momenta)])
    mesons, numbers = thermal_decay(rest, mass, temperature, np.random.default_rng(particles.request.seed))
    absolute = np.sqrt(np.sum(mesons[:, :3] ** 2, axis=1))
    edges = np.linspace(0, 14 * temperature + mass, 41)
    title = "Momentum of dark mesons in the frame of the mediator"
    spectrum = histogram("p_meson", title, "|p| [GeV]", absolute, edges)

    def boltzmann(p: Floats) -> Floats:
        return np.asarray(p**2 * np.exp(-(np.hypot(p, mass) - mass) / temperature))

    told = "conserving energy bends the spectrum by some percent, which large samples show"
    yield expecting(
        replace(spectrum, log=True, verdict=told),
        boltzmann,
        f"$p^2$ exp(-E/T), T = {temperature:g} GeV, m = {mass:g} GeV",
    )
    expected = particles.number("mediator_mass") / mean_energy(mass, temperature)
    counted = histogram(
        "mesons",
        "Dark mesons of an event",
        "Number of dark mesons",
        numbers,
        np.arange(numbers.min() - 0.5, numbers.max() + 2.5, 2.0),
    )
    error = numbers.std() / np.sqrt(len(numbers))
    verdict = f"mean {numbers.mean():.2f} +- {error:.2f}, mass over mean energy {expected:.2f}"
    yield replace(counted, marks=((expected, "M / <E>"),), verdict=verdict)


def _compressed(particles: Particles) -> Iterator[Spectrum]:
    if particles.settings["produced"] == "higgsinos":
        heavy, splitting = particles.number("mass"), particles.number("splitting")
        for parent, mass, boson, symbol in (
            (N2, heavy, 91.1876, "$\\chi_2^0$"),
            (C1, heavy - splitting / 2, 80.379, "$\\chi_1^\\pm$"),
        ):
            yield _pair(particles, parent, mass, heavy - splitting, boson, symbol)
    stable = particles.summed((particles.status > 0) & (particles.kind == 1000022))
    met = np.hypot(stable[:, 0], stable[:, 1])
    spectrum = histogram(
        "recoil", "Sum of the neutralinos, against the shower", "$p_T^{miss}$ [GeV]", met, np.linspace(0, 600, 31)
    )
    cut = particles.number("recoil_min")
    marks = ((cut, "recoil_min"),) if cut > 0 else ()
    above = float(np.mean(met > 200))
    yield replace(spectrum, log=True, marks=marks, verdict=f"{above:.1%} above 200 GeV")


def _pair(particles: Particles, parent: int, heavy: float, light: float, boson: float, symbol: str) -> Spectrum:
    leptons = (11, 12, 13, 14, 16) if parent == N2 else (11, 13)
    chosen = np.isin(particles.kind, leptons) & particles.child_of(parent)
    first = np.flatnonzero(chosen & ((particles.id > 0) if parent == N2 else True))
    masses = pair_masses(particles.p[first] + particles.p[first + 1])
    end = heavy - light
    pair = "$\\ell\\ell, \\nu\\nu$" if parent == N2 else "$\\ell\\nu$"
    title = f"Pairs {pair} from {symbol}"
    spectrum = histogram(f"m_{parent}", title, f"m({pair}) [GeV]", masses, np.linspace(0, 1.15 * end, 24))
    verdict = f"largest {masses.max():.2f} GeV, splitting {end:g} GeV" if len(masses) else "no pairs"
    return expecting(
        replace(spectrum, marks=((end, "splitting"),), verdict=verdict),
        lambda q: pair_density(q, heavy, light, boson),
        "virtual boson with a vector coupling",
    )


def _black_holes(particles: Particles) -> Iterator[Spectrum]:
    hole = black_hole_of(particles.request.lines)
    if hole is None:
        return
    hard = particles.out_of_partons()
    masses = pair_masses(particles.summed(hard))
    made = production(hole, particles.made.pythia.getPDFPtr(2212).xf)
    per_mass = np.trapezoid(made.density, made.rapidities, axis=1) / made.masses
    edges = np.linspace(hole.minimum_mass, min(hole.minimum_mass * 1.6, hole.energy), 25)
    spectrum = histogram("mass", "Mass of the hole", "M [GeV]", masses, edges)

    def falling(m: Floats) -> Floats:
        return np.asarray(np.exp(np.interp(m, made.masses, np.log(np.maximum(per_mass, 1e-300)))))

    yield expecting(replace(spectrum, log=True), falling, "$\\pi r_s^2$ times parton luminosity")
    numbers = particles.per_event(hard)
    expected = expected_multiplicity(hole, float(masses.mean()))
    counted = histogram(
        "multiplicity",
        "Particles that a hole emits",
        "Number of particles",
        numbers,
        np.arange(-0.5, numbers.max() + 1.5),
    )
    verdict = f"mean {numbers.mean():.2f}; {expected:.2f} if each took the mean energy, in the limit of many"
    yield replace(counted, marks=((expected, "limit of many"),), verdict=verdict)
    momenta = particles.p[hard]
    transverse = np.bincount(particles.event[hard], np.hypot(momenta[:, 0], momenta[:, 1]), minlength=particles.events)
    sums = histogram(
        "s_t",
        "Scalar sum of transverse momenta",
        "$S_T$ [GeV]",
        transverse,
        np.linspace(0, 1.5 * hole.minimum_mass, 31),
    )
    yield replace(sums, marks=((hole.minimum_mass, "smallest mass"),))
    yield _sphericity(particles, hard)


def _sphericity(particles: Particles, chosen: np.ndarray) -> Spectrum:
    """Sphericity in the frame of the hole along the beam: 3/2 of the sum of the two smaller eigenvalues."""
    total = particles.summed(chosen)
    beta = (total[:, 2] / total[:, 3])[particles.event]
    gamma = 1 / np.sqrt(1 - beta**2)
    p = particles.p.copy()
    p[:, 2] = gamma * (particles.p[:, 2] - beta * particles.p[:, 3])
    tensor = np.array(
        [
            [
                np.bincount(particles.event[chosen], (p[:, i] * p[:, j])[chosen], minlength=particles.events)
                for i in range(3)
            ]
            for j in range(3)
        ]
    ).transpose(2, 0, 1)
    eigen = np.linalg.eigvalsh(tensor / np.trace(tensor, axis1=1, axis2=2)[:, None, None])
    values = 1.5 * eigen[:, :2].sum(axis=1)
    spectrum = histogram(
        "sphericity",
        "Sphericity of the particles in the frame of the hole",
        "Sphericity",
        values,
        np.linspace(0, 1, 26),
    )
    return replace(spectrum, verdict=f"mean {values.mean():.2f}; 0 for two jets, 1 for a sphere")


DARK: Mapping[str, Callable[[Particles], Iterator[Spectrum]]] = MappingProxyType(
    {
        "semivisible-jets": _semivisible,
        "emerging-jets": _emerging,
        "displaced-vertices": _displaced,
        "suep": _suep,
        "compressed-susy": _compressed,
        "black-holes": _black_holes,
    }
)
