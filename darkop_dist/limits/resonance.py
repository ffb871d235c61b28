"""A resonance on a smooth spectrum: the background is a function fitted to the data, the signal a Gaussian peak.

Assumptions:
    The background's density is the function that dijet searches fit (CMS, arXiv:1911.03947, equation 1),

        dN/dm = p0 (1 - x)^p1 / x^(p2 + p3 ln x + ...),  x = m / sqrt(s),

    with three to five parameters, integrated over each bin; that it can describe the background is an assumption,
    which its goodness of fit can refute and not prove. Counts are independent Poisson numbers. The peak is a Gaussian
    of known width. No systematic uncertainty but the function's parameters enters. Significances and limits are
    asymptotic (arXiv:1007.1727).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from darkop_dist.conformal.look_elsewhere import LookElsewhere, look_elsewhere
from darkop_dist.errors import FitError, InputValueError, StatisticsError
from darkop_dist.limits.fit import GoodnessOfFit, goodness_of
from darkop_dist.limits.likelihood import Data, Likelihood, Minimum
from darkop_dist.limits.parameters import Floats, Parameters
from darkop_dist.limits.profile import Profile

NODES = 8  # of Gauss and Legendre's rule in each bin
FEWEST, MOST = 3, 5  # parameters of the function
LEVEL = 0.5  # of q, at which crossings are counted
HIGHEST = 1e3  # bound of the parameters of the orthogonal basis


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A mass spectrum.

    Attributes:
        edges: bin edges, increasing and below ``sqrt_s``, shape (bins + 1,).
        counts: events per bin, shape (bins,); they need not be whole numbers.
        sqrt_s: centre-of-mass energy in the unit of the edges.
    """

    edges: Floats
    counts: Floats
    sqrt_s: float

    def __post_init__(self) -> None:
        edges, counts = (np.asarray(values, dtype=np.float64) for values in (self.edges, self.counts))
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "counts", counts)
        if len(edges) != len(counts) + 1 or not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
            raise StatisticsError(
                f"a spectrum of {len(counts)} bins needs {len(counts) + 1} edges that increase; got {len(edges)}"
            )
        if not 0 < edges[0] < edges[-1] < self.sqrt_s:
            raise StatisticsError(
                f"the edges {edges[0]:g} to {edges[-1]:g} must lie between zero and the centre-of-mass energy "
                f"{self.sqrt_s:g}, in one unit"
            )
        if not np.all(np.isfinite(counts)) or np.any(counts < 0):
            raise InputValueError("the spectrum", "counts are negative or NaN", "Fill it with unweighted events.")


@dataclass(frozen=True, eq=False)
class SmoothModel:
    """Smooth background and a peak: counts and derivatives, in the place of a HistFactory model.

    Attributes:
        parameters: the signal strength ``mu``, then the background's ``shape[k]`` in an orthogonal basis of the
            logarithm of its density.
        signal: events of the peak per unit of strength, shape (bins,).
        basis: the basis at the nodes of each bin, shape (bins, nodes, shapes).
        weights: the nodes' weights times the bin's width, shape (bins, nodes).
    """

    parameters: Parameters
    signal: Floats
    basis: Floats
    weights: Floats

    def bin_label(self, place: int) -> str:
        """Number of a bin, for messages."""
        return f"bin {place} of the spectrum"

    def expected(self, values: Floats) -> Floats:
        """Expected events, shape (bins,), at parameters of shape (parameters,)."""
        return np.asarray(self._density(values).sum(axis=1) + values[0] * self.signal, dtype=np.float64)

    def expected_and_slopes(self, values: Floats) -> tuple[Floats, Floats]:
        """Expected events and their derivatives, shapes (bins,) and (bins, parameters)."""
        density = self._density(values)
        slopes = np.einsum("bn,bnk->bk", density, self.basis)
        expected = density.sum(axis=1) + values[0] * self.signal
        return np.asarray(expected), np.column_stack([self.signal, slopes])

    def _density(self, values: Floats) -> Floats:
        exponent = np.minimum(self.basis @ values[1:], 700.0)  # far from any minimum the likelihood is just large
        return np.asarray(self.weights * np.exp(exponent), dtype=np.float64)


@dataclass(frozen=True)
class MassPoint:
    """The local excess at one mass.

    Attributes:
        mass: of the resonance.
        events: fitted events of the peak, not below zero.
        z_local: significance sqrt(q0) in standard deviations, 0 without an excess.
        p_local: p-value of the background alone at this mass (arXiv:1007.1727, equation 52).
    """

    mass: float
    events: float
    z_local: float
    p_local: float


@dataclass(frozen=True)
class ResonanceScan:
    """The local excesses over all masses and the global significance of the largest.

    Attributes:
        points: one for each mass that could be fitted.
        best: the one with the largest excess.
        elsewhere: its global p-value by Gross and Vitells (asymptotic); None if nothing rises above 0.7 standard
            deviations, where the global p-value is near 1.
        toys: background-only pseudo-experiments that were scanned.
        p_toys: share of them with an excess as large anywhere, (1 + reached)/(1 + toys); None without toys.
        problems: masses and toys that were left out, and why.
    """

    points: tuple[MassPoint, ...]
    best: MassPoint
    elsewhere: LookElsewhere | None
    toys: int
    p_toys: float | None
    problems: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ResonanceSearch:
    """The smooth background fitted to a spectrum; build it with `resonance_search`.

    Attributes:
        spectrum: the data.
        shapes: parameters of the function.
        relative_width: standard deviation of the peak over its mass.
        background: the fit without peak.
        goodness: its comparison with the saturated model.
        model: counts and derivatives, without peak.
    """

    spectrum: Spectrum
    shapes: int
    relative_width: float
    background: Minimum
    goodness: GoodnessOfFit
    model: SmoothModel

    @property
    def expected_background(self) -> Floats:
        """The fitted background, shape (bins,)."""
        return self.model.expected(self.background.parameters)

    @property
    def _data(self) -> Data:
        return Data(self.spectrum.counts, np.zeros(0))

    def likelihood(self, mass: float) -> Likelihood:
        """The likelihood of a peak at a mass; a strength of 1 is one event.

        Raises:
            StatisticsError: the mass lies outside the spectrum.
        """
        signal = peak(self.spectrum.edges, mass, self.relative_width * mass)
        unit = 1.0 / float(np.sqrt(np.sum(signal**2 / (1.0 + self.expected_background))))
        return Likelihood(replace(self.model, signal=signal), self._data, 0, unit, 0.0)

    def profile(self, mass: float, data: Data | None = None, background: Minimum | None = None) -> Profile:
        """The profile likelihood of a peak at a mass; the fit without peak is the same for all masses.

        Args:
            mass: of the resonance.
            data: counts; None for the spectrum's.
            background: the minimum without peak of these counts; None for the spectrum's.
        """
        likelihood = self.likelihood(mass)
        without = self.background if background is None else background
        used = likelihood.data if data is None else data
        found = Profile.of_data(likelihood, used, without.parameters)
        found.conditional[0.0] = without
        return found

    def point(self, mass: float, data: Data | None = None, background: Minimum | None = None) -> MassPoint:
        """The local excess at a mass."""
        profile = self.profile(mass, data, background)
        z_local = float(np.sqrt(profile.q0()))
        return MassPoint(mass, profile.best_strength, z_local, float(special.ndtr(-z_local)))

    def toy(self, masses: Sequence[float], rng: np.random.Generator) -> list[MassPoint]:
        """The local excesses of one pseudo-experiment drawn from the fitted background."""
        data = Data(rng.poisson(self.expected_background).astype(np.float64), np.zeros(0))
        without = Likelihood(self.model, data, 0, 1.0, 0.0)
        background = without.fit(data, 0.0, self.background.parameters)
        return [self.point(mass, data, background) for mass in masses]


def resonance_search(spectrum: Spectrum, *, shapes: int = 4, relative_width: float) -> ResonanceSearch:
    """Fit the smooth background to a spectrum.

    Args:
        spectrum: the data.
        shapes: parameters of the function, its normalisation among them, 3 to 5.
        relative_width: standard deviation of the peak over its mass.

    Raises:
        StatisticsError: fewer bins with events than parameters, or a number of parameters or width out of range.
        FitError: the fit did not converge.
    """
    if not FEWEST <= shapes <= MOST:
        raise StatisticsError(f"the function has {FEWEST} to {MOST} parameters, not {shapes}")
    if not 0.0 < relative_width < 1.0:
        raise StatisticsError(f"a relative width of {relative_width:g} is not between 0 and 1")
    filled = int(np.sum(spectrum.counts > 0))
    if filled <= shapes:
        raise StatisticsError(f"{filled} bins with events cannot fix the {shapes} parameters of the background")
    model = _smooth_model(spectrum, shapes)
    likelihood = Likelihood(model, Data(spectrum.counts, np.zeros(0)), 0, 1.0, 0.0)
    background = likelihood.fit(likelihood.data, 0.0)
    held = np.zeros(1 + shapes, dtype=bool)
    held[0] = True
    goodness = goodness_of(likelihood, background, held)
    return ResonanceSearch(spectrum, shapes, relative_width, background, goodness, model)


def peak(edges: Floats, mass: float, width: float) -> Floats:
    """The share of a Gaussian peak in each bin, shape (bins,); what lies outside the edges is lost.

    Args:
        edges: bin edges, shape (bins + 1,).
        mass: mean of the peak.
        width: its standard deviation, in the unit of the edges.

    Raises:
        StatisticsError: the mass lies outside the edges.
    """
    if not edges[0] <= mass <= edges[-1]:
        raise StatisticsError(f"a peak at {mass:g} lies outside the spectrum, {edges[0]:g} to {edges[-1]:g}")
    return np.asarray(np.diff(special.ndtr((np.asarray(edges) - mass) / width)), dtype=np.float64)


def scan_masses(search: ResonanceSearch, masses: Sequence[float], *, toys: int = 0, seed: int = 1) -> ResonanceScan:
    """The local excesses over several masses, and the global significance of the largest.

    Args:
        search: the fitted background.
        masses: increasing, at least 3, and so close that no excess falls between them.
        toys: background-only pseudo-experiments that count the crossings of Gross and Vitells and the maxima
            themselves; 0 counts the crossings of the scan itself.
        seed: of the toys.

    Raises:
        FitError: fewer than 3 masses could be fitted.
        StatisticsError: a mass lies outside the spectrum, or they do not increase.
    """
    points, problems = [], []
    for mass in masses:
        try:
            points.append(search.point(float(mass)))
        except FitError as error:
            problems.append(f"the mass {mass:g} is left out: {error}")
    if len(points) < 3:
        raise FitError(f"{len(points)} of {len(masses)} masses could be fitted. {' '.join(problems)}")
    grid, local = [point.mass for point in points], np.array([point.z_local for point in points])
    rng = np.random.default_rng(seed)
    drawn = []
    for number in range(toys):
        try:
            drawn.append([point.z_local for point in search.toy(grid, rng)])
        except FitError as error:
            problems.append(f"toy {number} is left out: {error}")
    maxima = np.max(drawn, axis=1) if drawn else np.zeros(0)
    reached = int(np.sum(maxima >= local.max()))
    elsewhere = None
    if local.max() ** 2 > LEVEL:
        elsewhere = look_elsewhere(grid, local, level=LEVEL, toys=np.array(drawn) if len(drawn) > 1 else None)
    return ResonanceScan(
        points=tuple(points),
        best=points[int(np.argmax(local))],
        elsewhere=elsewhere,
        toys=len(drawn),
        p_toys=(1 + reached) / (1 + len(drawn)) if drawn else None,
        problems=tuple(problems),
    )


def _smooth_model(spectrum: Spectrum, shapes: int) -> SmoothModel:
    """The function in a basis that is orthogonal under the spectrum's own counts, started at a weighted line fit."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    widths, centres = np.diff(spectrum.edges), 0.5 * (spectrum.edges[1:] + spectrum.edges[:-1])
    points = centres[:, None] + 0.5 * widths[:, None] * nodes

    def functions(mass: Floats) -> Floats:
        x = mass / spectrum.sqrt_s
        return np.stack([np.ones_like(x), np.log1p(-x), *(np.log(x) ** k for k in range(1, shapes - 1))], axis=-1)

    used = np.sqrt(spectrum.counts + 0.1)
    _, triangle = np.linalg.qr(used[:, None] * functions(centres))
    inverse = np.linalg.inv(triangle) * np.sqrt(spectrum.counts.sum())
    density = np.log((spectrum.counts + 0.1) / widths)
    start = np.linalg.lstsq(used[:, None] * (functions(centres) @ inverse), used * density, rcond=None)[0]
    return SmoothModel(
        parameters=_free(("mu", *(f"shape[{k}]" for k in range(shapes))), np.concatenate([[0.0], start])),
        signal=np.zeros(len(widths)),
        basis=functions(points) @ inverse,
        weights=0.5 * widths[:, None] * weights,
    )


def _free(names: tuple[str, ...], initial: Floats) -> Parameters:
    none: npt.NDArray[np.intp] = np.zeros(0, dtype=np.intp)
    return Parameters(
        names=names,
        initial=initial,
        low=np.full(len(names), -HIGHEST),
        high=np.full(len(names), HIGHEST),
        held=np.zeros(len(names), dtype=bool),
        normal=none,
        sigma=np.zeros(0),
        poisson=none,
        tau=np.zeros(0),
        auxiliary=np.zeros(0),
        spans={name: slice(place, place + 1) for place, name in enumerate(names)},
    )
