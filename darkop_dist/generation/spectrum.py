"""A distribution of generated events beside what it is expected to be; plain numbers for a figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

Floats = npt.NDArray[np.float64]
FEWEST = 5.0
POINTS_PER_BIN = 16


@dataclass(frozen=True)
class Reference:
    """A published measurement.

    Attributes:
        x: where it is drawn.
        value: in the units of the distribution.
        error: its uncertainty.
        label: whose it is, with the source.
    """

    x: float
    value: float
    error: float
    label: str


@dataclass(frozen=True)
class Spectrum:
    """A histogram with its expectation.

    Attributes:
        name: short name, for files.
        title: what it is.
        label: of the axis, with the unit in square brackets.
        edges: shape (bins + 1,).
        values: number of entries of each bin, or what ``unit_label`` says, shape (bins,).
        errors: statistical uncertainties, shape (bins,).
        expected: in the same units, shape (bins,); empty for none.
        expected_label: where the expectation comes from.
        entries: number of entries in all bins.
        y_label: of the vertical axis.
        log: logarithmic vertical axis.
        marks: positions of vertical lines with their labels.
        references: published measurements.
        verdict: number that compares both, for people.
    """

    name: str
    title: str
    label: str
    edges: Floats
    values: Floats
    errors: Floats
    entries: int
    expected: Floats
    expected_label: str = ""
    y_label: str = "Entries"
    log: bool = False
    marks: tuple[tuple[float, str], ...] = ()
    references: tuple[Reference, ...] = ()
    verdict: str = ""


def histogram(name: str, title: str, label: str, values: npt.ArrayLike, edges: npt.ArrayLike) -> Spectrum:
    """Count entries; those outside the edges are left out.

    Args:
        name: see `Spectrum`.
        title: see `Spectrum`.
        label: see `Spectrum`.
        values: the entries.
        edges: of the bins.
    """
    bounds = np.asarray(edges, dtype=np.float64)
    counts = np.histogram(np.asarray(values, dtype=np.float64), bounds)[0].astype(np.float64)
    return Spectrum(name, title, label, bounds, counts, np.sqrt(counts), int(counts.sum()), np.empty(0))


def expecting(
    spectrum: Spectrum, density: Callable[[Floats], Floats], label: str, *, total: float | None = None
) -> Spectrum:
    """Add an expectation given as a density, and how well the entries fit.

    Args:
        spectrum: counted entries.
        density: not normalised.
        label: where it comes from.
        total: expected number of entries; by default as many as there are.
    """
    fine = np.linspace(spectrum.edges[:-1], spectrum.edges[1:], POINTS_PER_BIN, axis=1)
    bins = np.trapezoid(density(fine.ravel()).reshape(fine.shape), fine, axis=1)
    scale = (spectrum.values.sum() if total is None else total) / bins.sum()
    return compared(replace(spectrum, expected=bins * scale, expected_label=label), fixed=total is None)


def compared(spectrum: Spectrum, *, fixed: bool = True) -> Spectrum:
    """Write the chi-square of entries and expectation into the verdict; bins of few entries are joined first.

    Args:
        spectrum: with an expectation.
        fixed: the expectation has as many entries as there are, which costs a degree of freedom.
    """
    joined: list[list[float]] = [[0.0, 0.0]]
    for value, expected in zip(spectrum.values, spectrum.expected, strict=True):
        joined[-1] = [joined[-1][0] + value, joined[-1][1] + expected]
        if joined[-1][1] >= FEWEST:
            joined.append([0.0, 0.0])
    if len(joined) > 1:
        last = joined.pop()
        joined[-1] = [joined[-1][0] + last[0], joined[-1][1] + last[1]]
    square = sum((value - expected) ** 2 / expected for value, expected in joined if expected > 0)
    freedom = len(joined) - int(fixed)
    if freedom < 1:
        return spectrum
    text = f"chi-square {square:.1f} for {freedom} bins, p = {float(chi2.sf(square, freedom)):.2g}"
    return replace(spectrum, verdict=f"{spectrum.verdict}; {text}" if spectrum.verdict else text)


def breit_wigner(mass: float, width: float, *, running: bool = False) -> Callable[[Floats], Floats]:
    """Relativistic Breit-Wigner as a density in the mass m: 2 m g / ((m^2 - M^2)^2 + g^2).

    Args:
        mass: M in GeV.
        width: Gamma in GeV.
        running: g = Gamma m^2 / M, of a boson that decays to massless fermions, instead of the fixed g = M Gamma.
    """

    def density(values: Floats) -> Floats:
        scaled = width * values**2 / mass if running else mass * width * np.ones_like(values)
        return np.asarray(2 * values * scaled / ((values**2 - mass**2) ** 2 + scaled**2))

    return density
