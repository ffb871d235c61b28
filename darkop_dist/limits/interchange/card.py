"""The text of a Combine datacard as plain values.

The grammar is that of Combine's documentation ("Preparing the datacard", "Automatic statistical uncertainties") and of
its DatacardParser. No Python package reads it outside Combine itself, which needs ROOT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from darkop_dist.errors import InputFileError, nearest_names

Kind = Literal["lnN", "shape", "shape?", "gmN"]
KINDS: dict[str, Kind] = {"lnN": "lnN", "shape": "shape", "shape?": "shape?", "gmN": "gmN"}
OTHER_KINDS = ("rateParam", "autoMCStats", "group")
NO_EFFECT = ("-", "0", "0.0")


@dataclass(frozen=True)
class Column:
    """A process in a channel.

    Attributes:
        channel: the channel, which Combine calls bin.
        process: the process.
        is_signal: its number is not positive: the signal strength r multiplies it.
        rate: expected events; -1 stands for the sum of the template.
    """

    channel: str
    process: str
    is_signal: bool
    rate: float


@dataclass(frozen=True)
class ShapeRule:
    """Where templates are; ``*`` stands for all processes or channels.

    Attributes:
        process: the process, or ``data_obs``.
        channel: the channel.
        file: ROOT file relative to the card; None for a counting experiment (``FAKE``).
        nominal: name of the template with ``$PROCESS`` and ``$CHANNEL``.
        varied: name of the varied templates, also with ``$SYSTEMATIC``.
    """

    process: str
    channel: str
    file: str | None
    nominal: str
    varied: str | None


@dataclass(frozen=True)
class Nuisance:
    """A line of uncertainties.

    Attributes:
        name: the nuisance parameter.
        kind: how it acts.
        count: events in the control region of a ``gmN``.
        effects: one entry per column, as written.
        line: number of the line.
    """

    name: str
    kind: Kind
    count: int | None
    effects: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class RateParameter:
    """A free factor on one column.

    Attributes:
        name: the parameter.
        column: position of the column.
        value: where it starts.
        bounds: its range, if one is given.
    """

    name: str
    column: int
    value: float
    bounds: tuple[float, float] | None


@dataclass(frozen=True)
class BinStatistics:
    """What ``autoMCStats`` says on a channel.

    Attributes:
        threshold: effective number of events up to which each process has a parameter of its own; negative for none.
        include_signal: whether signals count for the threshold.
        histogram_mode: 1 for normalisation apart from shape, 2 for both together.
    """

    threshold: float
    include_signal: bool
    histogram_mode: int


@dataclass(frozen=True)
class Card:
    """A datacard.

    Attributes:
        path: the file.
        columns: processes in channels.
        observed: data events by channel; -1 stands for the sum of the data's histogram.
        shapes: where the templates are; empty for a counting experiment.
        nuisances: the constrained uncertainties.
        rate_parameters: the free factors.
        statistics: bin-by-bin uncertainties by channel.
    """

    path: Path
    columns: tuple[Column, ...]
    observed: Mapping[str, float]
    shapes: tuple[ShapeRule, ...]
    nuisances: tuple[Nuisance, ...]
    rate_parameters: tuple[RateParameter, ...]
    statistics: Mapping[str, BinStatistics]

    def rule(self, process: str, channel: str) -> ShapeRule | None:
        """The rule that Combine takes: that of the channel before that of all, then that of the process."""
        wanted = [(process, channel), ("*", channel), (process, "*"), ("*", "*")]
        found = {(rule.process, rule.channel): rule for rule in self.shapes}
        return next((found[key] for key in wanted if key in found), None)


@dataclass(frozen=True)
class _Line:
    path: Path
    number: int
    words: tuple[str, ...]

    def error(self, problem: str, what_to_do: str) -> InputFileError:
        return InputFileError(f"{self.path}, line {self.number}", problem, what_to_do)

    def number_of(self, word: str) -> float:
        try:
            return float(word)
        except ValueError:
            raise self.error(f"{word!r} is no number", "Put a number there.") from None


def read_card(path: Path) -> Card:
    """Read the text of a card; its templates stay where they are.

    Raises:
        InputFileError: the file cannot be read, lacks a line, has rows of different lengths, or uses what HistFactory
            cannot express; names the line.
    """
    lines = _lines(path)
    head = {"shapes", "bin", "observation", "process", "rate", "imax", "jmax", "kmax"}
    rate_at = next((place for place, line in enumerate(lines) if line.words[0] == "rate"), None)
    if rate_at is None:
        raise InputFileError(str(path), "is no datacard: it has no line 'rate'", "Give a datacard of Combine.")
    columns = _columns(path, lines[: rate_at + 1])
    channels = tuple(dict.fromkeys(column.channel for column in columns))
    body = [line for line in lines[rate_at + 1 :] if line.words[0] not in head]
    nuisances: list[Nuisance] = []
    parameters: list[RateParameter] = []
    statistics: dict[str, BinStatistics] = {}
    for line in body:
        kind = _kind(line)
        if kind == "rateParam":
            parameters += _rate_parameters(line, columns)
        elif kind == "autoMCStats":
            statistics |= _statistics(line, channels)
        elif kind in KINDS:
            nuisances.append(_nuisance(line, KINDS[kind], columns))
    names = [nuisance.name for nuisance in nuisances]
    twice = [nuisance for place, nuisance in enumerate(nuisances) if nuisance.name in names[:place]]
    if twice:
        where = f"{path}, line {twice[0].line}"
        raise InputFileError(where, f"{twice[0].name} has a line already", "Merge the lines.")
    return Card(
        path=path,
        columns=columns,
        observed=_observed(path, lines[:rate_at], channels),
        shapes=tuple(_shape_rule(line) for line in lines if line.words[0] == "shapes"),
        nuisances=tuple(nuisances),
        rate_parameters=tuple(parameters),
        statistics=statistics,
    )


def _lines(path: Path) -> list[_Line]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputFileError(str(path), f"cannot be read ({reason})", "Give a datacard of Combine.") from error
    split = [
        _Line(path, number, tuple(text.partition("#")[0].split())) for number, text in enumerate(text.splitlines(), 1)
    ]
    return [line for line in split if line.words and not line.words[0].startswith("--")]


def _columns(path: Path, head: Sequence[_Line]) -> tuple[Column, ...]:
    rows = {
        "bin": [line for line in head if line.words[0] == "bin"][-1:],
        "process": [line for line in head if line.words[0] == "process"],
    }
    if len(rows["bin"]) != 1 or len(rows["process"]) != 2:
        problem = "needs a line 'bin' and two lines 'process' before 'rate'"
        raise InputFileError(str(path), problem, "Give names and numbers of the processes.")
    first, second = rows["process"]
    names, ids = (second, first) if _all_integers(first) and not _all_integers(second) else (first, second)
    rates = head[-1]
    for line in (names, ids, rates):
        _require_length(line, len(rows["bin"][0].words) - 1, 1)
    signal = [ids.number_of(word) <= 0 for word in ids.words[1:]]
    if not any(signal):
        raise ids.error("no process is a signal", "Give the signal a number that is not positive.")
    cells = zip(rows["bin"][0].words[1:], names.words[1:], signal, rates.words[1:], strict=True)
    columns = tuple(Column(channel, process, is_it, rates.number_of(rate)) for channel, process, is_it, rate in cells)
    if len({(column.channel, column.process) for column in columns}) != len(columns):
        raise names.error("a process stands twice in a channel", "Merge the columns, or rename one.")
    for column in columns:
        if any(other.process == column.process and other.is_signal != column.is_signal for other in columns):
            raise ids.error(f"{column.process} is a signal in one channel and none in another", "Rename one.")
    return columns


def _all_integers(line: _Line) -> bool:
    return all(word.lstrip("+-").isdigit() for word in line.words[1:])


def _require_length(line: _Line, columns: int, before: int) -> None:
    found = len(line.words) - before
    if found < columns or (found > columns and line.words[0] in ("process", "rate")):
        what = f"has {found} entries where the line 'bin' has {columns}"
        raise line.error(what, "Give one entry per column.")


def _observed(path: Path, head: Sequence[_Line], channels: Sequence[str]) -> dict[str, float]:
    lines = [line for line in head if line.words[0] == "observation"]
    if len(lines) != 1:
        raise InputFileError(str(path), "needs one line 'observation'", "Use -1 where a histogram has the data.")
    bins = [line for line in head if line.words[0] == "bin"]
    named = bins[0].words[1:] if len(bins) > 1 else channels
    _require_length(lines[0], len(named), 1)
    observed = {name: lines[0].number_of(word) for name, word in zip(named, lines[0].words[1:], strict=False)}
    absent = [channel for channel in channels if channel not in observed]
    if absent:
        raise lines[0].error(f"there is no observation in {', '.join(absent)}", "Name the same bins in both lines.")
    return {channel: observed[channel] for channel in channels}


def _shape_rule(line: _Line) -> ShapeRule:
    _, *words = line.words
    if words[2:3] == ["FAKE"]:
        return ShapeRule(words[0], words[1], None, "", None)
    if len(words) not in (4, 5):
        raise line.error("is no rule for templates", "Write: shapes PROCESS CHANNEL FILE HISTOGRAM [VARIED].")
    if ":" in words[3]:
        raise line.error(f"{words[3]} is in a RooFit workspace", "Only templates (TH1) can be read.")
    return ShapeRule(words[0], words[1], words[2], words[3], words[4] if len(words) == 5 else None)


def _kind(line: _Line) -> str:
    kind = line.words[1] if len(line.words) > 1 else ""
    if kind not in KINDS and kind not in OTHER_KINDS:
        known = [*KINDS, *OTHER_KINDS]
        nearest = nearest_names(kind, known)
        hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
        problem = f"{line.words[0]} is of the kind {kind!r}, which HistFactory cannot express"
        raise line.error(problem, f"{hint}Readable are {', '.join(known)}.".capitalize())
    return kind


def _nuisance(line: _Line, kind: Kind, columns: Sequence[Column]) -> Nuisance:
    before = 3 if kind == "gmN" else 2
    _require_length(line, len(columns), before)
    effects = line.words[before : before + len(columns)]
    for effect in effects:
        numbers = [line.number_of(word) for word in effect.split("/")] if effect != "-" else []
        if any(number < 0 for number in numbers) or (len(numbers) == 2 and 0 in numbers) or len(numbers) > 2:
            raise line.error(f"the effect {effect} of {line.words[0]} is impossible", "Effects are positive factors.")
    count = None
    if kind == "gmN":
        number = line.number_of(line.words[2])
        if number != int(number) or number < 1:
            raise line.error(f"gmN with {line.words[2]} events cannot be expressed", "Use an lnN instead.")
        count = int(number)
    return Nuisance(line.words[0], kind, count, effects, line.number)


def _rate_parameters(line: _Line, columns: Sequence[Column]) -> list[RateParameter]:
    name, _, *words = line.words
    if len(words) not in (3, 4) or "@" in words[2] or ":" in words[2]:
        problem = f"the rateParam {name} depends on others, or has no value"
        raise line.error(problem, "Only free factors can be read: NAME rateParam CHANNEL PROCESS VALUE [LOW,HIGH].")
    bounds = None
    if len(words) == 4:
        ends = [line.number_of(word) for word in words[3].strip("[]").split(",")]
        if len(ends) != 2 or ends[0] >= ends[1]:
            raise line.error(f"{words[3]} is no range", "Write [LOW,HIGH].")
        bounds = (ends[0], ends[1])
    places = [
        place
        for place, column in enumerate(columns)
        if fnmatchcase(column.channel, words[0]) and fnmatchcase(column.process, words[1])
    ]
    if not places:
        raise line.error(f"{words[1]} in {words[0]} is no process of the card", "Name a column, or use *.")
    return [RateParameter(name, place, line.number_of(words[2]), bounds) for place in places]


def _statistics(line: _Line, channels: Sequence[str]) -> dict[str, BinStatistics]:
    words = line.words[2:]
    chosen = [channel for channel in channels if fnmatchcase(channel, line.words[0])]
    if not chosen or not 1 <= len(words) <= 3:
        raise line.error("autoMCStats without its channel or threshold", "Write: CHANNEL autoMCStats THRESHOLD.")
    threshold, include_signal, mode = [line.number_of(word) for word in words] + [0.0, 1.0][len(words) - 1 :]
    return dict.fromkeys(chosen, BinStatistics(threshold, bool(include_signal), int(mode)))
