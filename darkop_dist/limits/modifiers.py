"""The uncertainties of a sample in a region as HistFactory modifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from darkop_dist.errors import StatisticsError, UnknownNameError
from darkop_dist.limits.samples import FitSample, Template, Templates

LUMINOSITY = "luminosity"
SMALLEST_FACTOR = 0.01
"""A variation's normalisation is kept above this: HistFactory's interpolation needs positive factors."""

Modifier = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Uncertainties:
    """The sources of uncertainty; build it with `checked`.

    Attributes:
        templates: where the varied templates are.
        lumi_uncertainty: relative uncertainty of the luminosity.
        systematics: names of the systematics with variations.
        normalisation: sizes (down, up) per sample.
    """

    templates: Templates
    lumi_uncertainty: float | None
    systematics: tuple[str, ...]
    normalisation: Mapping[str, tuple[float, float]]

    @classmethod
    def checked(
        cls,
        templates: Templates,
        samples: Sequence[FitSample],
        lumi_uncertainty: float | None,
        systematics: Sequence[str],
        normalisation: Mapping[str, float | tuple[float, float]],
    ) -> Uncertainties:
        """Check names and sizes.

        Raises:
            UnknownNameError: a systematic without variations, or a sample that takes no part.
            StatisticsError: a size that is not positive, or would take a yield to zero.
        """
        if LUMINOSITY in systematics and lumi_uncertainty is None:
            raise StatisticsError("the systematic luminosity needs its relative uncertainty (limits.lumi_uncertainty)")
        known = templates.systematics()
        shapes = tuple(dict.fromkeys(name for name in systematics if name != LUMINOSITY))
        for name in shapes:
            if name not in known:
                what_to_do = f"The histogram has variations of {', '.join(known) or 'none'}."
                raise UnknownNameError("systematic", name, known, what_to_do)
        names = [sample.name for sample in samples]
        pairs = {name: (v[0], v[1]) if isinstance(v, Sequence) else (v, v) for name, v in normalisation.items()}
        for name, pair in pairs.items():
            if name not in names:
                raise UnknownNameError("sample", name, names, f"The fit's samples are {', '.join(names)}.")
            _require_sizes(f"the normalisation of {name}", pair)
        if lumi_uncertainty is not None:
            _require_sizes("the luminosity", (lumi_uncertainty, lumi_uncertainty))
        return cls(templates, lumi_uncertainty, shapes, pairs)

    def modifiers(self, sample: FitSample, region: str, nominal: Template, notes: list[str]) -> list[Modifier]:
        """All modifiers of a sample in a region but the statistical ones."""
        found: list[Modifier] = []
        if self.lumi_uncertainty is not None:
            up = 1.0 + self.lumi_uncertainty  # log-normal: exp(+-ln(1 + u))
            found.append(_normsys(LUMINOSITY, 1.0 / up, up))
        if sample.name in self.normalisation:
            down, up = self.normalisation[sample.name]
            found.append(_normsys(f"{sample.name}_normalisation", 1.0 - down, 1.0 + up))
        for systematic in self.systematics:
            if any(self.templates.has_systematic(dataset, systematic) for dataset in sample.datasets):
                found += self._split(sample, region, systematic, nominal, notes)
        return found

    def _split(
        self, sample: FitSample, region: str, systematic: str, nominal: Template, notes: list[str]
    ) -> list[Modifier]:
        """Normalisation and shape of a systematic; the shape keeps the nominal number of events."""
        factors, shapes = [], []
        for direction in ("down", "up"):
            varied = self.templates.read(sample, region, f"{systematic}_{direction}").values
            where = f"sample {sample.name}, region {region}, {systematic}_{direction}"
            if np.any(varied < 0):
                notes.append(f"{where}: {np.sum(varied < 0)} bins with negative sums of weights; set to 0")
                varied = np.where(varied < 0, 0.0, varied)
            factor = float(varied.sum() / nominal.values.sum())
            if factor < SMALLEST_FACTOR:
                notes.append(
                    f"{where}: it leaves {factor:.2g} of the events; taken as {SMALLEST_FACTOR} with the nominal shape"
                )
                factor, varied = SMALLEST_FACTOR, SMALLEST_FACTOR * nominal.values
            factors.append(factor)
            shapes.append((varied / factor).tolist())
        shape: Modifier = {
            "name": systematic,
            "type": "histosys",
            "data": {"lo_data": shapes[0], "hi_data": shapes[1]},
        }
        return [_normsys(systematic, *factors), shape]


def background_statistics(region: str, template: Template) -> Modifier:
    """One factor per bin for all backgrounds of a region together (Barlow-Beeston lite)."""
    return {"name": f"mc_statistics_{region}", "type": "staterror", "data": np.sqrt(template.variances).tolist()}


def signal_statistics(region: str, signal: str, template: Template) -> list[Modifier]:
    """The signal's simulation statistics as a normalisation: its template's shape is taken as known.

    It is kept apart from the backgrounds' factors, whose size would otherwise depend on the scale of the signal's
    cross section.
    """
    relative = float(np.sqrt(template.variances.sum()) / template.values.sum())
    return [_normsys(f"mc_statistics_{region}_{signal}", 1.0 / (1.0 + relative), 1.0 + relative)]


def _normsys(name: str, low: float, high: float) -> Modifier:
    return {"name": name, "type": "normsys", "data": {"lo": low, "hi": high}}


def _require_sizes(thing: str, sizes: tuple[float, float]) -> None:
    down, up = sizes
    if not (0.0 < down < 1.0 and 0.0 < up < float("inf")):
        raise StatisticsError(
            f"the relative uncertainty of {thing} is {sizes}; sizes must be positive, and below 1 downwards"
        )
