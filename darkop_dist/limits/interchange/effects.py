"""What a workspace's modifiers are in Combine's words, sample by sample."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darkop_dist.errors import StatisticsError
from darkop_dist.limits.histfactory import model_of
from darkop_dist.limits.samples import Floats
from darkop_dist.limits.workspace import Workspace

DROPPED = "left out: "
SHOWN = 5
NO_CHANGE = 1e-9
LOWEST = 0.01
"""A bin's Gaussian shape is kept above this at -1 standard deviation: Combine needs templates with events."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Events at 1 and -1 standard deviations, shape (bins,) each."""

    up: Floats
    down: Floats


@dataclass(frozen=True, eq=False)
class Row:
    """A sample in a channel.

    Attributes:
        channel: the channel's name in the workspace.
        sample: the sample's name in the workspace.
        process: its name in the card.
        is_signal: the parameter of interest multiplies it.
        nominal: events, shape (bins,).
        errors: statistical errors for ``autoMCStats``, shape (bins,).
        norms: factors at -1 and 1 standard deviations, by nuisance parameter.
        shapes: templates, by nuisance parameter.
        gammas: events per auxiliary event, by nuisance parameter.
        factors: start and range of free factors.
    """

    channel: str
    sample: str
    process: str
    is_signal: bool
    nominal: Floats
    errors: Floats
    norms: dict[str, tuple[float, float]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    gammas: dict[str, float] = field(default_factory=dict)
    factors: dict[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Effects:
    """A workspace in Combine's words.

    Attributes:
        channels: names in the card by name in the workspace.
        rows: all samples with events.
        gammas: auxiliary events of each ``gmN``.
        with_statistics: channels with ``autoMCStats``.
        additive: channels whose shapes hold their normalisation (histogram mode 2).
        notes: what is not exact or was left out.
    """

    channels: Mapping[str, str]
    rows: tuple[Row, ...]
    gammas: Mapping[str, int]
    with_statistics: frozenset[str]
    additive: frozenset[str]
    notes: tuple[str, ...]

    @property
    def nuisances(self) -> tuple[str, ...]:
        """All constrained parameters but those of ``gmN``."""
        return tuple(dict.fromkeys(name for row in self.rows for name in (*row.norms, *row.shapes)))


def effects_of(workspace: Workspace) -> Effects:
    """Say a workspace in Combine's words.

    Raises:
        StatisticsError: a modifier or setting that Combine cannot express; names channel, sample and modifier.
    """
    settings = workspace.spec["measurements"][0]["config"]["parameters"]
    model_of(workspace.spec["channels"], settings)  # refuses what contradicts itself
    translation = _Translation(workspace, {str(setting["name"]): setting for setting in settings})
    for channel in workspace.spec["channels"]:
        translation.add(channel)
    return translation.finished()


class _Translation:
    """Collects rows; one per workspace."""

    def __init__(self, workspace: Workspace, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.workspace = workspace
        self.settings = settings
        self.notes: list[str] = []
        self.rows: list[Row] = []
        self.gammas: dict[str, int] = {}
        self.with_statistics: set[str] = set()
        spec = workspace.spec
        samples = [sample for channel in spec["channels"] for sample in channel["samples"]]
        modifiers = [modifier for sample in samples for modifier in sample["modifiers"]]
        self.channels = self._names("channel", (channel["name"] for channel in spec["channels"]))
        self.processes = self._names("sample", (sample["name"] for sample in samples))
        self.parameters = self._names("parameter", (modifier["name"] for modifier in modifiers))

    def _names(self, kind: str, names: Iterable[str]) -> dict[str, str]:
        """Names that Combine takes: letters, digits and underscores, beginning with a letter."""
        found: dict[str, str] = {}
        for name in dict.fromkeys(names):
            safe = re.sub(r"\W", "_", name, flags=re.ASCII)
            found[name] = safe if re.match(r"[A-Za-z]", safe) else f"n{safe}"
            if list(found.values()).count(found[name]) > 1:
                raise StatisticsError(f"two {kind}s would have the name {found[name]} in the card; rename {name!r}")
        return found

    def add(self, channel: Mapping[str, Any]) -> None:
        """Take a channel."""
        for sample in channel["samples"]:
            where = f"sample {sample['name']} in channel {channel['name']}"
            nominal = np.asarray(sample["data"], dtype=np.float64)
            if not np.any(nominal > 0):
                self.notes.append(f"{DROPPED}{where} has no events")
                continue
            if np.any(nominal < 0):
                raise StatisticsError(f"{where} has negative bins, which Combine cannot express; merge or clip them")
            errors = [m["data"] for m in sample["modifiers"] if m["type"] == "staterror"]
            row = Row(
                channel=str(channel["name"]),
                sample=str(sample["name"]),
                process=self.processes[sample["name"]],
                is_signal=(channel["name"], sample["name"]) in self.workspace.signal_rows,
                nominal=nominal,
                errors=np.sqrt(np.sum(np.square([*errors, np.zeros(len(nominal))]), axis=0)),
            )
            if errors:
                self._note_statistics(row, where)
            for modifier in sample["modifiers"]:
                self._modifier(row, modifier, where)
            self.rows.append(row)

    def _note_statistics(self, row: Row, where: str) -> None:
        self.with_statistics.add(row.channel)
        self.notes.append(f"autoMCStats of {row.channel}: its errors scale with the fitted yields, staterror's do not")
        if row.is_signal:
            self.notes.append(f"{where}: its statistical errors scale with r, and enter apart from the backgrounds'")

    def _modifier(self, row: Row, modifier: Mapping[str, Any], where: str) -> None:
        kind, name = modifier["type"], str(modifier["name"])
        where = f"{where}, {kind} {name}"
        if name == self.workspace.poi:
            if kind != "normfactor":
                raise StatisticsError(f"{where}: Combine's r multiplies yields; only a normfactor can be the signal's")
            return
        if kind in ("normfactor", "shapefactor"):
            self._factor(row, name, kind, where)
            return
        if self._is_held(name, kind, where):
            return
        safe = self.parameters[name]
        if kind == "normsys":
            row.norms[safe] = (float(modifier["data"]["lo"]), float(modifier["data"]["hi"]))
        elif kind == "histosys":
            up, down = (np.asarray(modifier["data"][key], dtype=np.float64) for key in ("hi_data", "lo_data"))
            row.shapes[safe] = Shape(up, down)
        elif kind == "lumi":
            width = float(self.settings[name]["sigmas"][0])
            row.norms[safe] = (1.0 / (1.0 + width), 1.0 + width)
            self.notes.append(f"{name}: a Gaussian factor of width {width:g}, here log-normal")
        elif kind == "shapesys":
            self._bin_by_bin(row, name, np.asarray(modifier["data"], dtype=np.float64), where)

    def _factor(self, row: Row, name: str, kind: str, where: str) -> None:
        if kind == "shapefactor" and len(row.nominal) > 1:
            raise StatisticsError(
                f"{where}: Combine has no free factor for each bin of a template; give each bin a channel of its own, "
                "or export as pyhf"
            )
        setting = self.settings.get(name, {})
        start = float(setting.get("inits", [1.0])[0])
        low, high = setting.get("bounds", [[0.0, 10.0]])[0]
        if setting.get("fixed", False):
            if start != 1.0:
                raise StatisticsError(f"{where} is held at {start:g}; multiply the template by it")
            self.notes.append(f"{DROPPED}{name}, which is held at 1")
            return
        row.factors[self.parameters[name]] = (start, float(low), float(high))

    def _is_held(self, name: str, kind: str, where: str) -> bool:
        """Whether a constrained parameter is held where it changes nothing; refuses settings that Combine has not."""
        setting = self.settings.get(name, {})
        neutral = 0.0 if kind in ("normsys", "histosys") else 1.0
        usual = {"inits": neutral, "auxdata": neutral, "sigmas": 1.0 if neutral == 0.0 else None, "factors": None}
        if kind == "lumi":
            del usual["sigmas"]
        odd = [key for key, value in usual.items() if any(given != value for given in np.ravel(setting.get(key, [])))]
        if odd:
            raise StatisticsError(f"{where}: the measurement sets its {', '.join(odd)}, which a card cannot")
        if not np.all(setting.get("fixed", False)):
            return False
        self.notes.append(f"{DROPPED}{name}, which is held")
        return True

    def _bin_by_bin(self, row: Row, name: str, errors: Floats, where: str) -> None:
        """Poisson constraints bin by bin: a ``gmN`` where it says the same, else shapes."""
        relative = np.divide(errors, row.nominal, out=np.zeros(len(errors)), where=row.nominal > 0)
        events = np.divide(1.0, relative**2, out=np.zeros(len(errors)), where=relative > 0)
        count = round(events[0])
        if len(events) == 1 and count > 0 and abs(events[0] - count) < 1e-6 * count:
            self.gammas[self.parameters[name]] = count
            row.gammas[self.parameters[name]] = float(row.nominal[0] / count)
            return
        for bin_ in np.flatnonzero(relative):
            up, down = row.nominal.copy(), row.nominal.copy()
            up[bin_] *= 1.0 + relative[bin_]
            down[bin_] *= max(1.0 - relative[bin_], LOWEST)
            row.shapes[f"{self.parameters[name]}_{self.channels[row.channel]}_bin{bin_}"] = Shape(up, down)
        self.notes.append(f"{where}: one Poisson factor per bin, here one Gaussian shape per bin")

    def finished(self) -> Effects:
        """What was collected."""
        additive = frozenset(name for name in self.channels if self._is_additive(name))
        for row in self.rows:
            for name in sorted(row.shapes.keys() & row.norms.keys()):
                low, high = row.norms.pop(name)
                row.shapes[name] = Shape(row.shapes[name].up * high, row.shapes[name].down * low)
            self._require_usable(row)
        return Effects(
            self.channels,
            tuple(self.rows),
            self.gammas,
            frozenset(self.with_statistics),
            additive,
            tuple(dict.fromkeys(self.notes)),
        )

    def _is_additive(self, channel: str) -> bool:
        """Whether the yield changes of a channel's shapes are better added (mode 2) than multiplied (mode 1).

        Those of a histosys alone are added, those of a normsys beside it multiply. A card has one mode for a channel;
        the other kind is off by half its change squared.
        """
        added: dict[str, float] = {}
        multiplied: dict[str, float] = {}
        for row in (row for row in self.rows if row.channel == channel):
            for name in row.shapes:
                has_factor = name in row.norms
                change = max(abs(factor - 1.0) for factor in row.norms[name]) if has_factor else _change(row, name)
                kind = multiplied if has_factor else added
                kind[name] = kind.get(name, 0.0) + row.nominal.sum() * change**2
        is_additive = sum(added.values()) > sum(multiplied.values())
        wrong = {name for name, size in (multiplied if is_additive else added).items() if size > 0}
        if wrong:
            how = ("linearly, not exponentially", "exponentially, not linearly")[not is_additive]
            self.notes.append(f"channel {channel}: the yield changes of {_listed(wrong)} go {how}")
        return is_additive

    def _require_usable(self, row: Row) -> None:
        where = f"sample {row.sample} in channel {row.channel}"
        for name, shape in row.shapes.items():
            if min(shape.up.sum(), shape.down.sum()) <= 0:
                raise StatisticsError(f"{where}: a template of {name} has no events, which Combine cannot express")
        negative = {name for name, shape in row.shapes.items() if min(shape.up.min(), shape.down.min()) < 0}
        if negative:
            self.notes.append(f"{where}: negative bins in templates of {_listed(negative)}, which Combine takes as 0")


def _change(row: Row, name: str) -> float:
    """The larger relative change of the number of events by a shape; 0 where it is rounding."""
    total, shape = row.nominal.sum(), row.shapes[name]
    change = float(max(abs(shape.up.sum() / total - 1.0), abs(shape.down.sum() / total - 1.0)))
    return change if change > NO_CHANGE else 0.0


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
