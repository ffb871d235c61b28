"""The uncertainties of a sample in a region as HistFactory modifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from darkop_dist.errors import StatisticsError, UnknownNameError
from darkop_dist.limits.channels import Modifier, Parameter
from darkop_dist.limits.samples import FitSample, Floats, Template, Templates
from darkop_dist.limits.smoothing import Smoothing, smooth_variation
from darkop_dist.limits.yields import BinUncertainty, FreeNormalisation

LUMINOSITY = "luminosity"
SMALLEST_FACTOR = 0.01
"""A variation's normalisation is kept above this: HistFactory's interpolation needs positive factors."""

LumiModifier = Literal["normsys", "lumi"]
LUMI_SIGMAS = 5.0
"""Bounds of HistFactory's luminosity, in its uncertainty."""


@dataclass(frozen=True, eq=False)
class Uncertainties:
    """The sources of uncertainty; build it with `checked`.

    Attributes:
        templates: where the varied templates are.
        lumi_uncertainty: relative uncertainty of the luminosity.
        systematics: names of the systematics with variations.
        normalisation: sizes (down, up) per sample.
        lumi_modifier: ``normsys``, a log-normal factor, or ``lumi``, HistFactory's Gaussian one.
        free: free normalisations by sample.
        bins: uncertainties bin by bin, by sample and region.
        smoothing: of the varied templates.
    """

    templates: Templates
    lumi_uncertainty: float | None
    systematics: tuple[str, ...]
    normalisation: Mapping[str, tuple[float, float]]
    lumi_modifier: LumiModifier
    free: Mapping[str, FreeNormalisation]
    bins: Mapping[tuple[str, str], BinUncertainty]
    smoothing: Smoothing | None

    @classmethod
    def checked(
        cls,
        templates: Templates,
        samples: Sequence[FitSample],
        lumi_uncertainty: float | None,
        systematics: Sequence[str],
        normalisation: Mapping[str, float | tuple[float, float]],
        *,
        lumi_modifier: LumiModifier = "normsys",
        free: Sequence[FreeNormalisation] = (),
        bins: Sequence[BinUncertainty] = (),
        smoothing: Smoothing | None = None,
    ) -> Uncertainties:
        """Check names and sizes.

        Raises:
            UnknownNameError: a systematic without variations, or a sample that takes no part.
            StatisticsError: a size that is not positive or would take a yield to zero, a variation without its
                opposite, or a sample that is given twice or is both free and constrained.
        """
        if LUMINOSITY in systematics and lumi_uncertainty is None:
            raise StatisticsError("the systematic luminosity needs its relative uncertainty (limits.lumi_uncertainty)")
        known = templates.systematics()
        shapes = tuple(dict.fromkeys(name for name in systematics if name != LUMINOSITY))
        for name in shapes:
            if name not in known:
                templates.require_both_directions(name)
                what_to_do = f"The histogram has variations of {', '.join(known) or 'none'}."
                raise UnknownNameError("systematic", name, known, what_to_do)
            for sample in samples:
                templates.require_pair(sample, name)
        names = [sample.name for sample in samples]
        for sample_name in [f.sample for f in free] + [b.sample for b in bins]:
            if sample_name not in names:
                raise UnknownNameError("sample", sample_name, names, f"The fit's samples are {', '.join(names)}.")
        _require_free(samples, free, normalisation)
        by_bin = {(found.sample, found.region): found for found in bins}
        if len(by_bin) != len(bins):
            raise StatisticsError("a sample has two bin uncertainties in one region; give one for each")
        pairs = {name: (v[0], v[1]) if isinstance(v, Sequence) else (v, v) for name, v in normalisation.items()}
        for name, pair in pairs.items():
            if name not in names:
                raise UnknownNameError("sample", name, names, f"The fit's samples are {', '.join(names)}.")
            require_sizes(f"the normalisation of {name}", pair)
        if lumi_uncertainty is not None:
            require_sizes("the luminosity", (lumi_uncertainty, lumi_uncertainty))
        return cls(
            templates,
            lumi_uncertainty,
            shapes,
            pairs,
            lumi_modifier,
            {found.sample: found for found in free},
            by_bin,
            smoothing,
        )

    def modifiers(self, sample: FitSample, region: str, nominal: Template, notes: list[str]) -> list[Modifier]:
        """All modifiers of a sample in a region but the statistical ones."""
        found: list[Modifier] = []
        if self.lumi_uncertainty is not None:
            up = 1.0 + self.lumi_uncertainty  # log-normal: exp(+-ln(1 + u))
            lumi: Modifier = {"name": "lumi", "type": "lumi", "data": None}
            found.append(lumi if self.lumi_modifier == "lumi" else normsys(LUMINOSITY, 1.0 / up, up))
        if sample.name in self.normalisation:
            down, up = self.normalisation[sample.name]
            found.append(normsys(f"{sample.name}_normalisation", 1.0 - down, 1.0 + up))
        if sample.name in self.free:
            found.append(self.free[sample.name].modifier)
        if (sample.name, region) in self.bins:
            found.append(self.bins[sample.name, region].modifier(nominal, notes))
        for systematic in self.systematics:
            if any(self.templates.has_systematic(dataset, systematic) for dataset in sample.datasets):
                found += self._split(sample, region, systematic, nominal, notes)
        return found

    def parameters(self) -> tuple[Parameter, ...]:
        """Settings of the parameters that have some: HistFactory's luminosity and the free normalisations."""
        settings: list[Parameter] = [free.settings for free in self.free.values()]
        if self.lumi_uncertainty is not None and self.lumi_modifier == "lumi":
            size = self.lumi_uncertainty
            bounds = [max(0.0, 1.0 - LUMI_SIGMAS * size), 1.0 + LUMI_SIGMAS * size]
            settings.append({"name": "lumi", "auxdata": [1.0], "sigmas": [size], "bounds": [bounds], "inits": [1.0]})
        return tuple(settings)

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
            shapes.append((self._smooth(nominal.values, varied, where, notes) / factor).tolist())
        shape: Modifier = {
            "name": systematic,
            "type": "histosys",
            "data": {"lo_data": shapes[0], "hi_data": shapes[1]},
        }
        return [normsys(systematic, *factors), shape]

    def _smooth(self, nominal: Floats, varied: Floats, where: str, notes: list[str]) -> Floats:
        if self.smoothing is None:
            return varied
        smooth = smooth_variation(nominal, varied)
        if smooth is None:
            notes.append(f"{where}: too few bins with events to smooth; left as it is")
            return varied
        notes.append(f"{where}: smoothed ({self.smoothing}, twice)")
        return smooth


def background_statistics(region: str, template: Template) -> Modifier:
    """One factor per bin for all backgrounds of a region together (Barlow-Beeston lite)."""
    return {"name": f"mc_statistics_{region}", "type": "staterror", "data": np.sqrt(template.variances).tolist()}


def signal_statistics(region: str, signal: str, template: Template) -> list[Modifier]:
    """The signal's simulation statistics as a normalisation: its template's shape is taken as known.

    It is kept apart from the backgrounds' factors, whose size would otherwise depend on the scale of the signal's
    cross section.
    """
    relative = float(np.sqrt(template.variances.sum()) / template.values.sum())
    return [normsys(f"mc_statistics_{region}_{signal}", 1.0 / (1.0 + relative), 1.0 + relative)]


def normsys(name: str, low: float, high: float) -> Modifier:
    """A log-normal factor on a yield: ``low`` and ``high`` at -1 and +1 standard deviations."""
    return {"name": name, "type": "normsys", "data": {"lo": low, "hi": high}}


def _require_free(
    samples: Sequence[FitSample],
    free: Sequence[FreeNormalisation],
    normalisation: Mapping[str, float | tuple[float, float]],
) -> None:
    names = [found.sample for found in free]
    signals = [sample.name for sample in samples if sample.role == "signal"]
    for name in names:
        if name in signals:
            raise StatisticsError(f"the signal {name} is free already: its strength is the parameter of interest")
        if name in normalisation:
            raise StatisticsError(
                f"the normalisation of {name} is both free and constrained; keep one of free_normalisation and "
                "normalisation"
            )
        if names.count(name) > 1:
            raise StatisticsError(f"the sample {name} has two free normalisations; give one")


def require_sizes(thing: str, sizes: tuple[float, float]) -> None:
    """Refuse sizes (down, up) of a relative uncertainty that are no factors.

    Raises:
        StatisticsError: a size that is not positive, or one that would take a yield to zero.
    """
    down, up = sizes
    if not (0.0 < down < 1.0 and 0.0 < up < float("inf")):
        raise StatisticsError(
            f"the relative uncertainty of {thing} is {sizes}; sizes must be positive, and below 1 downwards"
        )
