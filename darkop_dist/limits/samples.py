"""What the fit calls a sample, and its templates in a histogram of raw weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import hist
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, StatisticsError, UnknownNameError, UserError

Floats = npt.NDArray[np.float64]
NOMINAL = "nominal"
FEW_EVENTS = 10.0
"""Effective events (sum of weights)^2 / sum of squares that a variation may have by chance and another may lack."""


@dataclass(frozen=True)
class FitSample:
    """A process of the fit: one or several datasets.

    Attributes:
        name: name in the workspace.
        datasets: datasets of the histogram that add up to the sample.
        scales: expected events per raw weight, one per dataset; 1 for data.
        role: data, background or signal.
        label: name in plots; LaTeX between dollar signs.
    """

    name: str
    datasets: tuple[str, ...]
    scales: tuple[float, ...]
    role: Literal["data", "background", "signal"]
    label: str

    def __post_init__(self) -> None:
        if len(self.datasets) != len(self.scales):
            raise StatisticsError(
                f"sample {self.name}: {len(self.datasets)} datasets and {len(self.scales)} scales; give one each"
            )
        bad = [scale for scale in self.scales if not (math.isfinite(scale) and scale >= 0)]
        if bad:
            raise InputValueError(
                f"sample {self.name}",
                f"scale {bad[0]} from raw weights to expected events cannot be used",
                "Check the cross section, the luminosity and the sum of weights of its datasets.",
            )


@dataclass(frozen=True, eq=False)
class Template:
    """Expected events of a sample in the bins of a region.

    Attributes:
        values: expected events, shape (bins,).
        variances: their variance from the finite number of simulated events (sum of squared weights), shape (bins,).
    """

    values: Floats
    variances: Floats


@dataclass(frozen=True, eq=False)
class Templates:
    """Reads templates from a histogram with the axes dataset, region, variation and one observable.

    Attributes:
        histogram: raw weights, Weight storage.
        edges: bin edges of the fit per region; None takes the histogram's own.
        include_overflow: add under- and overflow, and the bins outside the edges, to the first and last bin;
            otherwise leave them out.
    """

    histogram: hist.Hist
    edges: Mapping[str, Sequence[float]] | None
    include_overflow: bool

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.histogram.axes]
        if names[:3] != ["dataset", "region", "variation"] or len(names) != 4:
            raise UserError(
                f"a fit needs a histogram with the axes dataset, region, variation, observable; got {names}"
            )
        if not hasattr(self.histogram.view(), "variance"):
            raise UserError("a fit needs the sum of squared weights; book the histogram with Weight storage")

    def region_edges(self, region: str) -> Floats:
        """Bin edges of a region in the fit, shape (bins + 1,).

        Raises:
            UserError: an edge is none of the histogram's.
        """
        axis_edges = np.asarray(self.histogram.axes[3].edges, dtype=np.float64)
        wanted = None if self.edges is None else self.edges.get(region)
        if wanted is None:
            return axis_edges
        positions = self._edge_positions(np.asarray(wanted, dtype=np.float64), axis_edges)
        return np.asarray(axis_edges[positions], dtype=np.float64)

    def require_region(self, region: str) -> None:
        """Refuse a region that no dataset filled.

        Raises:
            UnknownNameError: the histogram has no such region.
        """
        known = list(self.histogram.axes[1])
        if region not in known:
            what_to_do = f"The histogram has events in {', '.join(known) or 'no region'}; fit those or loosen the cuts."
            raise UnknownNameError("region", region, known, what_to_do)

    def read(self, sample: FitSample, region: str, variation: str = NOMINAL) -> Template:
        """The template of a sample; a dataset without the variation enters with its nominal one.

        Args:
            sample: the sample.
            region: the region.
            variation: ``nominal``, or a systematic with the ending ``_up`` or ``_down``.

        Raises:
            InputValueError: the histogram holds NaN or infinite weights there.
        """
        bins = len(self.region_edges(region)) - 1
        values, variances = np.zeros(bins), np.zeros(bins)
        systematic = variation.removesuffix("_up").removesuffix("_down")
        for dataset, scale in zip(sample.datasets, sample.scales, strict=True):
            used = variation if self.has_systematic(dataset, systematic) else NOMINAL
            flow_values, flow_variances = self._flow(dataset, region, used)
            values += scale * self._merge(flow_values, region)
            variances += scale**2 * self._merge(flow_variances, region)
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(variances))):
            raise InputValueError(
                f"sample {sample.name} in region {region}{'' if variation == NOMINAL else f', {variation}'}",
                "the sum of weights is not finite",
                "Look for NaN or infinite weights in its datasets.",
            )
        return Template(values, variances)

    def systematics(self) -> tuple[str, ...]:
        """Names of the systematics that have an upward and a downward variation."""
        names = list(self.histogram.axes[2])
        return tuple(name[:-3] for name in names if name.endswith("_up") and f"{name[:-3]}_down" in names)

    def has_systematic(self, dataset: str, systematic: str) -> bool:
        """Whether a dataset was filled with a systematic's upward or downward variation in any region."""
        datasets, _, variations = (list(axis) for axis in self.histogram.axes[:3])
        pair = [variations.index(name) for name in (f"{systematic}_up", f"{systematic}_down") if name in variations]
        if dataset not in datasets or not pair:
            return False
        filled = self.histogram.view(flow=True).variance[datasets.index(dataset)][:, pair]
        return bool(np.any(filled != 0))

    def require_both_directions(self, systematic: str) -> None:
        """Refuse a systematic of which the histogram has one direction alone.

        Raises:
            StatisticsError: names the variation that is there and the one that is not.
        """
        names = list(self.histogram.axes[2])
        up, down = f"{systematic}_up", f"{systematic}_down"
        if (up in names) != (down in names):
            there, absent = (up, down) if up in names else (down, up)
            raise StatisticsError(
                f"the histogram has the variation {there} and no {absent}; fill both, or leave {systematic} out"
            )

    def require_pair(self, sample: FitSample, systematic: str) -> None:
        """Refuse a dataset with one direction of a systematic and not the other; see `require_nominal`.

        Raises:
            StatisticsError: names the dataset, what it has and what it lacks.
        """
        up, down = f"{systematic}_up", f"{systematic}_down"
        for dataset in sample.datasets:
            self._require_beside(sample, dataset, up, down)
            self._require_beside(sample, dataset, down, up)

    def require_nominal(self, sample: FitSample) -> None:
        """Refuse a dataset with varied events and no nominal ones.

        Up to `FEW_EVENTS` effective events may be absent elsewhere by chance: they pass.

        Raises:
            StatisticsError: names the dataset and what it has.
        """
        for dataset in sample.datasets:
            for variation in self.histogram.axes[2]:
                self._require_beside(sample, dataset, variation, NOMINAL)

    def _require_beside(self, sample: FitSample, dataset: str, there: str, absent: str) -> None:
        if self._effective_events(dataset, there) > FEW_EVENTS and self._effective_events(dataset, absent) == 0:
            raise StatisticsError(
                f"sample {sample.name}: the dataset {dataset} has events with the variation {there} and none with "
                f"{absent}, in any region; fill both, or leave them out"
            )

    def _effective_events(self, dataset: str, variation: str) -> float:
        datasets, _, variations = (list(axis) for axis in self.histogram.axes[:3])
        if dataset not in datasets or variation not in variations:
            return 0.0
        view = self.histogram.view(flow=True)[datasets.index(dataset), :, variations.index(variation)]
        squares = float(np.sum(view.variance))
        if not math.isfinite(squares):
            return math.inf  # `read` refuses it by name
        return float(np.sum(np.abs(view.value))) ** 2 / squares if squares > 0 else 0.0

    def _flow(self, dataset: str, region: str, variation: str) -> tuple[Floats, Floats]:
        """Sums of weights and of squared weights with under- and overflow, shape (bins + 2,); zeros if never filled."""
        axis = self.histogram.axes[3]
        names = [list(category) for category in self.histogram.axes[:3]]
        padding = (0 if axis.traits.underflow else 1, 0 if axis.traits.overflow else 1)
        empty = np.zeros(len(axis) + 2)
        if any(name not in known for name, known in zip((dataset, region, variation), names, strict=True)):
            return empty, empty
        where = tuple(known.index(name) for name, known in zip((dataset, region, variation), names, strict=True))
        view = self.histogram.view(flow=True)[where]
        return np.pad(np.asarray(view.value), padding), np.pad(np.asarray(view.variance), padding)

    def _merge(self, flow: Floats, region: str) -> Floats:
        axis_edges = np.asarray(self.histogram.axes[3].edges, dtype=np.float64)
        positions = self._edge_positions(self.region_edges(region), axis_edges)
        # flow bin i + 1 starts at edge i
        inside = np.add.reduceat(flow[: positions[-1] + 1], positions[:-1] + 1)
        if self.include_overflow:
            inside[0] += flow[: positions[0] + 1].sum()
            inside[-1] += flow[positions[-1] + 1 :].sum()
        return np.asarray(inside, dtype=np.float64)

    def _edge_positions(self, wanted: Floats, axis_edges: Floats) -> npt.NDArray[np.intp]:
        nearest = np.argmin(np.abs(axis_edges[None, :] - wanted[:, None]), axis=1)
        width = float(np.min(np.diff(axis_edges)))
        foreign = wanted[np.abs(axis_edges[nearest] - wanted) > 1e-9 * width]
        if len(wanted) < 2 or np.any(np.diff(nearest) <= 0) or len(foreign):
            axis = self.histogram.axes[3]
            shown = ", ".join(f"{edge:g}" for edge in axis_edges)
            problem = f"{foreign[0]:g} is no edge of it" if len(foreign) else "they must be two or more and increase"
            raise UserError(
                f"the bins of {axis.name} cannot be merged to the edges {wanted.tolist()}: {problem}. "
                f"Choose from its edges {shown}."
            )
        return np.asarray(nearest, dtype=np.intp)
