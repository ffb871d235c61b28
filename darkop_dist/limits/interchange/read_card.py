"""From a Combine datacard with its templates to a HistFactory workspace.

Assumptions:
    Combine's and HistFactory's models agree in what they do at -1, 0 and 1 standard deviations (Combine's manual,
    "Observation Models and Likelihoods"; CERN-OPEN-2012-016). Shapes are interpolated by the same polynomial (code 4p).
    Normalisations differ between: Combine smooths the logarithm within half a standard deviation, HistFactory's code 4
    the factor within one; with symmetric factors up to 1.3 the difference is below 1e-8 of the factor.
    Combine scales a bin's statistical error with the yields of a fit; here it stays relative to the sum of the
    backgrounds, and each signal has errors of its own, as in Combine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkop_dist.errors import InputFileError
from darkop_dist.limits.interchange.asimov import observed_in
from darkop_dist.limits.interchange.card import NO_EFFECT, Card, Column, Nuisance, read_card
from darkop_dist.limits.interchange.statistics import Process, statistics_modifiers
from darkop_dist.limits.interchange.templates import Histogram, HistogramFiles
from darkop_dist.limits.samples import Floats
from darkop_dist.limits.workspace import Workspace, require_schema

SIGNAL_STRENGTH = "r"
HIGHEST_STRENGTH = 20.0
"""Upper end of Combine's default range of r."""
LARGEST_MISMATCH = 0.01
LARGEST_GAMMA_MISMATCH = 0.05
"""Combine's own example has 0.63 where 4 x 0.16 is 0.64."""
NO_CHANGE = 1e-12
DATA = "data_obs"

Modifier = dict[str, Any]


def read_datacard(path: Path) -> Workspace:
    """Read a card as a workspace whose parameter of interest is Combine's ``r``.

    Understood are templates (TH1) and counting experiments with ``lnN``, ``shape``, ``shape?``, ``gmN`` (on one bin),
    free ``rateParam`` and ``autoMCStats``. What has another meaning in HistFactory stands in the workspace's notes.

    Args:
        path: the card; its ROOT files are relative to it.

    Raises:
        InputFileError: the card is malformed or uses what HistFactory cannot express, a template is missing, or the
            templates of a channel have different bins; names line, file and histogram.
    """
    card = read_card(path)
    reader = _Reader(card, HistogramFiles(path.parent), [])
    try:
        channels = [reader.channel(name) for name in card.observed]
    finally:
        reader.files.close()
    starts = {parameter.name: parameter for parameter in card.rate_parameters}
    settings: list[dict[str, Any]] = [
        {"name": name, "inits": [one.value], "bounds": [list(one.bounds or (0.0, 10.0 * max(one.value, 1.0)))]}
        for name, one in starts.items()
    ]
    settings.append({"name": SIGNAL_STRENGTH, "inits": [1.0], "bounds": [[0.0, HIGHEST_STRENGTH]]})
    spec = {
        "channels": [channel.spec for channel in channels],
        "observations": [{"name": channel.name, "data": channel.observed.tolist()} for channel in channels],
        "measurements": [{"name": path.stem, "config": {"poi": SIGNAL_STRENGTH, "parameters": settings}}],
        "version": "1.0.0",
    }
    require_schema(spec, str(path))
    signals = {column.process for column in card.columns if column.is_signal}
    return Workspace(
        signal=signals.pop() if len(signals) == 1 else "",
        spec=spec,
        observed=observed_in(spec),
        edges={channel.name: tuple(channel.edges.tolist()) for channel in channels},
        notes=tuple(dict.fromkeys(reader.notes)),
    )


@dataclass(frozen=True, eq=False)
class _Channel:
    name: str
    edges: Floats
    observed: Floats
    spec: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Reader:
    card: Card
    files: HistogramFiles
    notes: list[str]

    def channel(self, name: str) -> _Channel:
        """A channel with all that acts on it."""
        templates = {}
        for place, column in enumerate(self.card.columns):
            if column.channel == name:
                template = self._nominal(column)
                if template is not None:
                    templates[place] = template
        observed = self._data(name, len(next(iter(templates.values())).values) if templates else 1)
        self._require_same_bins(name, [observed, *templates.values()])
        samples = [
            {
                "name": self.card.columns[place].process,
                "data": t.values.tolist(),
                "modifiers": self._modifiers(place, t),
            }
            for place, t in templates.items()
        ]
        if not samples:
            raise InputFileError(str(self.card.path), f"no process has events in {name}", "Leave the channel out.")
        statistics = self.card.statistics.get(name)
        if statistics is not None:
            columns = {self.card.columns[place]: t for place, t in templates.items()}
            processes = [Process(c.process, c.is_signal, t.values, t.errors) for c, t in columns.items()]
            found = statistics_modifiers(name, processes, statistics, self.notes)
            for sample in samples:
                sample["modifiers"] += found[sample["name"]]
        return _Channel(name, observed.edges, observed.values, {"name": name, "samples": samples})

    def _nominal(self, column: Column) -> Histogram | None:
        """The template with the card's rate, without negative bins; None if it has no events."""
        where = f"process {column.process} in channel {column.channel}"
        rule = self.card.rule(column.process, column.channel)
        if column.rate == 0:
            self.notes.append(f"{where}: its rate is 0; left out")
            return None
        if rule is None or rule.file is None:
            if column.rate < 0:
                raise InputFileError(str(self.card.path), f"{where} has neither rate nor template", "Add one.")
            return Histogram(np.array([column.rate]), np.zeros(1), np.array([0.0, 1.0]))
        template = self.files.read(rule.file, _named(rule.nominal, column), where)
        if np.any(template.values < 0):
            self.notes.append(f"{where}: {np.sum(template.values < 0)} bins are negative; set to 0, as Combine does")
            template = Histogram(np.maximum(template.values, 0.0), template.errors, template.edges)
        total = float(template.values.sum())
        if total <= 0:
            self.notes.append(f"{where}: its template has no events; left out")
            return None
        if column.rate < 0 or abs(column.rate / total - 1.0) < NO_CHANGE:
            return template
        if abs(column.rate / total - 1.0) > LARGEST_MISMATCH:
            problem = f"{where}: the rate is {column.rate:g}, the template has {total:g} events"
            raise InputFileError(str(self.card.path), problem, "Use -1 as rate, or scale the template.")
        scale = column.rate / total
        return Histogram(template.values * scale, template.errors * scale, template.edges)

    def _data(self, channel: str, bins: int) -> Histogram:
        count = self.card.observed[channel]
        rule = self.card.rule(DATA, channel)
        if rule is None or rule.file is None:
            if count < 0 or bins != 1:
                raise InputFileError(str(self.card.path), f"there are no data in {channel}", "Add data_obs or counts.")
            return Histogram(np.array([count]), np.zeros(1), np.array([0.0, 1.0]))
        data = self.files.read(
            rule.file, _named(rule.nominal, Column(channel, DATA, False, -1.0)), f"data in {channel}"
        )
        if np.any(data.values < 0):
            raise InputFileError(
                str(self.card.path), f"the data in {channel} have negative counts", "Fill with weight 1."
            )
        total = float(data.values.sum())
        if count >= 0 and abs(count - total) > LARGEST_MISMATCH * max(1.0, total):
            problem = f"{channel}: the observation is {count:g}, the histogram has {total:g} events"
            raise InputFileError(str(self.card.path), problem, "Use -1 as observation, or correct the histogram.")
        return data

    def _require_same_bins(self, channel: str, histograms: list[Histogram]) -> None:
        first = histograms[0].edges
        for other in histograms:
            if len(other.edges) != len(first) or not np.allclose(other.edges, first):
                problem = f"the templates of {channel} have {len(first) - 1} and {len(other.edges) - 1} bins, or others"
                raise InputFileError(str(self.card.path), problem, "Give all of a channel the same bins.")

    def _modifiers(self, place: int, template: Histogram) -> list[Modifier]:
        column = self.card.columns[place]
        found: list[Modifier] = []
        if column.is_signal:
            found.append({"name": SIGNAL_STRENGTH, "type": "normfactor", "data": None})
        for nuisance in self.card.nuisances:
            if nuisance.effects[place] not in NO_EFFECT:
                found += self._effect(nuisance, column, nuisance.effects[place], template)
        names = (parameter.name for parameter in self.card.rate_parameters if parameter.column == place)
        found += [{"name": name, "type": "normfactor", "data": None} for name in dict.fromkeys(names)]
        return found

    def _effect(self, nuisance: Nuisance, column: Column, effect: str, template: Histogram) -> list[Modifier]:
        if nuisance.kind == "gmN":
            return [self._gamma(nuisance, column, float(effect), template)]
        if nuisance.kind == "lnN":
            return _log_normal(nuisance.name, effect)
        rule = self.card.rule(column.process, column.channel)
        names = {} if rule is None or rule.varied is None else _varied(rule.varied, column, nuisance.name)
        if nuisance.kind == "shape?" and not (names and rule and self._has(rule.file, names.values())):
            return _log_normal(nuisance.name, effect)
        where = f"{nuisance.name} of process {column.process} in channel {column.channel}"
        if not names or rule is None or rule.file is None:
            problem = f"{where} is a shape, but no rule names its templates"
            raise InputFileError(str(self.card.path), problem, "Add a name with $SYSTEMATIC to the rule 'shapes'.")
        up, down = (self.files.read(rule.file, names[way], where) for way in ("Up", "Down"))
        self._require_same_bins(column.channel, [template, up, down])
        mode = self.card.statistics[column.channel].histogram_mode if column.channel in self.card.statistics else 1
        shape = _Shape(nuisance.name, template.values, np.maximum(up.values, 0.0), np.maximum(down.values, 0.0))
        if min(shape.up.sum(), shape.down.sum()) <= 0:
            raise InputFileError(str(self.card.path), f"a template of {where} has no events", "Drop the shape there.")
        if float(effect) != 1.0:
            self.notes.append(
                f"{where}: scaled by {effect}; templates are interpolated to {effect} standard deviations"
            )
        scale = float(column.rate / self._integral(rule.file, rule.nominal, column)) if column.rate > 0 else 1.0
        return shape.scaled(scale).modifiers(float(effect), additive=mode == 2)

    def _integral(self, file: str, name: str, column: Column) -> float:
        return float(np.maximum(self.files.read(file, _named(name, column), column.process).values, 0.0).sum())

    def _has(self, file: str | None, names: Any) -> bool:
        try:
            return file is not None and all(bool(self.files.read(file, name, "")) for name in names)
        except InputFileError:
            return False

    def _gamma(self, nuisance: Nuisance, column: Column, ratio: float, template: Histogram) -> Modifier:
        where = f"{self.card.path}, line {nuisance.line}"
        users = [effect for effect in nuisance.effects if effect not in NO_EFFECT]
        if len(template.values) > 1 or len(users) > 1 or nuisance.count is None:
            problem = f"the gmN {nuisance.name} acts on several bins or processes at once"
            raise InputFileError(where, problem, "HistFactory has Poisson constraints for one bin; use an lnN.")
        if abs(nuisance.count * ratio / template.values[0] - 1.0) > LARGEST_GAMMA_MISMATCH:
            problem = (
                f"the gmN {nuisance.name} stands for {nuisance.count * ratio:g} events, the rate is {column.rate:g}"
            )
            raise InputFileError(where, problem, "Write events x ratio as rate.")
        error = float(template.values[0] / np.sqrt(nuisance.count))
        return {"name": nuisance.name, "type": "shapesys", "data": [error]}


@dataclass(frozen=True, eq=False)
class _Shape:
    """Templates of a process at 0, 1 and -1 standard deviations, shape (bins,) each."""

    name: str
    nominal: Floats
    up: Floats
    down: Floats

    def scaled(self, factor: float) -> _Shape:
        return _Shape(self.name, self.nominal, self.up * factor, self.down * factor)

    def modifiers(self, effect: float, *, additive: bool) -> list[Modifier]:
        """Normalisation apart from shape, or (``additive``) both in one."""
        ratios = [1.0, 1.0] if additive else [float(t.sum() / self.nominal.sum()) for t in (self.up, self.down)]
        up, down = self.up / ratios[0] - self.nominal, self.down / ratios[1] - self.nominal
        if effect != 1.0:
            up, down = _morphed(up, down, effect), _morphed(up, down, -effect)
            ratios = [ratio**effect for ratio in ratios]
        found = _norm(self.name, ratios[1], ratios[0])
        largest = NO_CHANGE * self.nominal.max()
        if np.max(np.abs([up, down])) > largest:
            data = {"lo_data": (self.nominal + down).tolist(), "hi_data": (self.nominal + up).tolist()}
            found.append({"name": self.name, "type": "histosys", "data": data})
        return found


def _morphed(up: Floats, down: Floats, alpha: float) -> Floats:
    """What is added at ``alpha`` standard deviations, with changes ``up`` and ``down`` at 1 and -1 (code 4p)."""
    if abs(alpha) >= 1:
        return up * alpha if alpha > 0 else -down * alpha
    even = (3 * alpha**6 - 10 * alpha**4 + 15 * alpha**2) / 8
    return 0.5 * ((up - down) * alpha + (up + down) * even)


def _log_normal(name: str, effect: str) -> list[Modifier]:
    low, _, high = effect.partition("/")
    return _norm(name, float(low), float(high)) if high else _norm(name, 1.0 / float(low), float(low))


def _norm(name: str, low: float, high: float) -> list[Modifier]:
    if max(abs(low - 1.0), abs(high - 1.0)) < NO_CHANGE:
        return []
    return [{"name": name, "type": "normsys", "data": {"lo": low, "hi": high}}]


def _named(pattern: str, column: Column) -> str:
    return pattern.replace("$PROCESS", column.process).replace("$CHANNEL", column.channel)


def _varied(pattern: str, column: Column, systematic: str) -> Mapping[str, str]:
    name = _named(pattern, column)
    return {way: name.replace("$SYSTEMATIC", f"{systematic}{way}") for way in ("Up", "Down")}
