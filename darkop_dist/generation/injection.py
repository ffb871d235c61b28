"""Signal injection: events of a signal among those of a background or of collision data, in a stated number.

Every input file becomes one output file of the same branches, with the signal's events at random places and the column
``isInjectedSignal`` that says which they are. Run and luminosity block of a signal event are those of the event before
it, so that a list of good blocks keeps what it kept; event numbers go on above the largest of the file.

In simulation a signal event gets the weight that makes it count as one event at the luminosity L of the injection: sum
of weights / (cross section * L) of the background. ``Runs`` and the record are changed to fit, with
cross section / sum of weights as before, so that whatever normalises the background normalises both.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError, InputValueError, OutputError
from darkop_dist.events.read import translated_errors
from darkop_dist.events.remote import open_root
from darkop_dist.generation.layout import Layout, layout_of, missing_from
from darkop_dist.generation.unweighting import (
    WEIGHT,
    SignalWeights,
    distinct_places,
    draw_unweighted,
    normalisation_of,
    read_signal,
)

TRUTH = "isInjectedSignal"
TREE = "Events"
NUMBERS = ("run", "luminosityBlock", "event")
IFB_PER_PB = 1e-3  # 1 pb = 1000 fb, so events = pb / IFB_PER_PB * ifb


@dataclass(frozen=True)
class Strength:
    """How much signal is injected.

    Attributes:
        mu: the signal strength, 0 or above: the expected number of events is mu times ``events``, or else mu times
            cross section times luminosity.
        events: expected number of events at mu = 1; None to take cross section and luminosity.
        lumi_ifb: integrated luminosity in 1/fb; None for that which simulated background stands for.
        xsec_pb: cross section of the signal; None for that in its file.
        exact: inject the expected number, rounded, instead of a Poisson number around it.
    """

    mu: float
    events: float | None = None
    lumi_ifb: float | None = None
    xsec_pb: float | None = None
    exact: bool = False


@dataclass(frozen=True)
class Rules:
    """How branches that the signal lacks, and the result, are treated.

    Attributes:
        drop: patterns of branches that the result does not get.
        drop_missing: it does not get the branches that the signal lacks.
        fill: values of branches that the signal lacks, by pattern; for branches with one number per event.
        background_xsec_pb: cross section of simulated background; None for that in its files.
        as_data: simulated background of equal weights is recorded as collision data of the luminosity it stands for.
    """

    drop: tuple[str, ...] = ()
    drop_missing: bool = False
    fill: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    background_xsec_pb: float | None = None
    as_data: bool = False


@dataclass(frozen=True)
class Background:
    """The files that the signal goes into.

    Attributes:
        files: paths.
        events: number of events of each.
        layouts: of what each result gets from it.
        filled: branches of each that the signal lacks, with their values for the signal.
        left_out: branches that the results do not get.
        sum_weights: of all files; None for collision data, which has no weights.
        mean_weight: of the events that are there; 1 for data.
        equal_weights: all weights are the same.
        xsec_pb: cross section; None if unknown or data.
    """

    files: tuple[Path, ...]
    events: tuple[int, ...]
    layouts: tuple[Layout, ...]
    filled: tuple[Mapping[str, float], ...]
    left_out: tuple[str, ...]
    sum_weights: float | None
    mean_weight: float
    equal_weights: bool
    xsec_pb: float | None

    @property
    def is_data(self) -> bool:
        """It is collision data."""
        return self.sum_weights is None

    @property
    def lumi_ifb(self) -> float | None:
        """The luminosity at which the mean event of the simulation counts as one; None if it is unknown."""
        if self.sum_weights is None or self.xsec_pb is None:
            return None
        return self.sum_weights / self.mean_weight / self.xsec_pb * IFB_PER_PB


@dataclass(frozen=True)
class InjectionPlan:
    """Everything that is decided before a file is written.

    Attributes:
        signal: file of the signal.
        background: see there.
        strength: as it was asked for.
        expected: expected number of signal events.
        rows: entries of the signal file that are injected, ascending.
        places: their places among all events of all results, ascending.
        lumi_ifb: luminosity; None where the number of events was given and none is known.
        xsec_pb: cross section of the signal that was used; None where the number of events was given.
        signal_weight: generator weight of an injected event, for simulation.
        as_data: the result is recorded as collision data.
        seed: of all random numbers.
    """

    signal: Path
    background: Background
    strength: Strength
    expected: float
    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    lumi_ifb: float | None
    xsec_pb: float | None
    signal_weight: float
    as_data: bool
    seed: int


def plan_injection(
    signal: Path, backgrounds: Sequence[Path], strength: Strength, *, seed: int, rules: Rules | None = None
) -> InjectionPlan:
    """Look at all files and decide which events of the signal go where.

    Args:
        signal: its file.
        backgrounds: files of one dataset: collision data, or simulation of one process.
        strength: how much.
        seed: of all random numbers, 0 or above.
        rules: for branches that the signal lacks.

    Raises:
        InputValueError: the strength or the luminosity cannot be used, a cross section is missing, weights are
            negative, or the signal has too few events.
        InputFileError: a file cannot be used, or the signal lacks branches.
        OutputError: two files would have the same name.
    """
    rules = rules or Rules()
    _check(strength, seed)
    names = [path.name for path in backgrounds]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise OutputError(f"two background files are named {twice}, and so would the results. Rename one of them.")
    with translated_errors(str(signal), TREE), open_root(str(signal)) as file:
        tree = file[TREE]
        weights = read_signal(file, tree, str(signal))
        branches = tuple(tree.keys(recursive=False))
    background = look_at(backgrounds, signal, branches, rules)
    as_data = background.is_data or rules.as_data
    lumi = _luminosity(strength, background, as_data=as_data)
    expected, xsec = _expected(strength, weights, lumi, str(signal))
    rng = np.random.default_rng(seed)
    wanted = round(expected) if strength.exact else int(rng.poisson(expected))
    rows = draw_unweighted(weights, wanted, rng, str(signal))
    return InjectionPlan(
        signal=signal,
        background=background,
        strength=strength,
        expected=expected,
        rows=rows,
        places=distinct_places(wanted, wanted + sum(background.events), rng),
        lumi_ifb=lumi,
        xsec_pb=xsec,
        signal_weight=_weight(background, lumi),
        as_data=as_data,
        seed=seed,
    )


def look_at(backgrounds: Sequence[Path], signal: Path, branches: Sequence[str], rules: Rules) -> Background:
    """Layout and normalisation of the background files.

    Raises:
        InputFileError: see ``plan_injection``.
    """
    events, layouts, filled, sums, cross_sections = [], [], [], list[float | None](), list[tuple[float, float]]()
    left_out: set[str] = set()
    present, low, high = 0.0, math.inf, -math.inf
    for path in backgrounds:
        with translated_errors(str(path), TREE), open_root(str(path)) as file:
            tree = file[TREE]
            if tree.num_entries == 0:
                raise InputFileError(str(path), "holds no events", "Leave it out.")
            if TRUTH in tree:
                raise InputFileError(str(path), f"has {TRUTH} already", "Inject into the file that it was made from.")
            dropped = {name for name in tree.keys() if _matches(name, rules.drop)}  # noqa: SIM118  # not a mapping
            whole = layout_of(tree, str(path), dropped)
            layout, values = _fitting(whole, branches, str(path), str(signal), rules)
            left_out |= dropped | (set(whole.names) - set(layout.names))
            if WEIGHT in tree:
                here = tree[WEIGHT].array(library="np").astype(np.float64)
                present, low, high = present + float(here.sum()), min(low, here.min()), max(high, here.max())
                total, xsec = normalisation_of(file)
                sums.append(total or float(here.sum()))
                if xsec is not None:
                    cross_sections.append((tree.num_entries, xsec))
            else:
                sums.append(None)
            events.append(int(tree.num_entries))
            layouts.append(layout)
            filled.append(values)
    if len({total is None for total in sums}) > 1:
        raise InputFileError(
            str(backgrounds[0]), f"some of the background files have {WEIGHT} and some have not",
            "Inject into collision data and into simulation in two calls.",
        )  # fmt: skip
    known = [total for total in sums if total is not None]
    return Background(
        files=tuple(backgrounds),
        events=tuple(events),
        layouts=tuple(layouts),
        filled=tuple(filled),
        left_out=tuple(sorted(left_out)),
        sum_weights=math.fsum(known) if known else None,
        mean_weight=present / sum(events) if known else 1.0,
        equal_weights=low == high,
        xsec_pb=_common(cross_sections, rules, len(backgrounds)) if known else None,
    )


def _common(found: Sequence[tuple[float, float]], rules: Rules, files: int) -> float | None:
    """The cross section of files of one process: their mean, weighted by events."""
    if rules.background_xsec_pb is not None:
        return rules.background_xsec_pb
    if len(found) < files:
        return None
    mean = math.fsum(events * xsec for events, xsec in found) / math.fsum(events for events, _ in found)
    far = [xsec for _, xsec in found if abs(xsec / mean - 1) > 0.2]
    if far:
        raise InputValueError(
            "cross sections of the background files",
            f"they differ too much to be of one process ({far[0]:.4g} pb where the mean is {mean:.4g} pb)",
            "Inject into one process at a time, or give their common one with --background-xsec.",
        )
    return mean


def _fitting(
    layout: Layout, branches: Sequence[str], path: str, signal: str, rules: Rules
) -> tuple[Layout, dict[str, float]]:
    """What the result gets of a background file, and values for what the signal lacks."""
    own = {*NUMBERS, WEIGHT}
    missing = [name for name in missing_from(layout, branches) if name not in own]
    values = {
        name: next(value for pattern, value in rules.fill.items() if fnmatch.fnmatchcase(name, pattern))
        for name in missing
        if name in layout.flat and _matches(name, tuple(rules.fill))
    }
    missing = [name for name in missing if name not in values]
    if missing and not rules.drop_missing:
        some = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        raise InputFileError(
            signal,
            f"lacks {len(missing)} branches of {path}: {some}",
            "Leave them out of the result with --drop PATTERN or --drop-missing, or give the signal a value with "
            "--fill PATTERN=VALUE.",
        )
    return layout.without(missing), values


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _check(strength: Strength, seed: int) -> None:
    for thing, value in (
        ("strength", strength.mu), ("events", strength.events), ("lumi", strength.lumi_ifb), ("xsec", strength.xsec_pb),
    ):  # fmt: skip
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputValueError(thing, f"{value:g} is not a number of 0 or above", "Correct it.")
    if seed < 0:
        raise InputValueError("seed", f"{seed} is below 0", "Use a seed of 0 or above.")
    if strength.events is not None and strength.lumi_ifb is not None:
        raise InputValueError(
            "events and lumi", "both are given", "Give the expected number of events, or the luminosity."
        )


def _luminosity(strength: Strength, background: Background, *, as_data: bool) -> float | None:
    own = background.lumi_ifb
    if as_data and not background.is_data:
        if not background.equal_weights or own is None:
            why = "has weights that are not equal" if own is not None else "has no known cross section"
            raise InputValueError(
                str(background.files[0]),
                f"simulation that {why} cannot stand for collision data",
                "Leave out --as-data.",
            )
        if strength.lumi_ifb is not None and abs(strength.lumi_ifb / own - 1) > 1e-3:
            raise InputValueError(
                "lumi",
                f"{strength.lumi_ifb:g}/fb is not the {own:.6g}/fb that the background's events stand for",
                "As data they have no other: leave out --lumi or --as-data.",
            )
        return own
    return own if strength.lumi_ifb is None else strength.lumi_ifb


def _expected(
    strength: Strength, signal: SignalWeights, lumi_ifb: float | None, path: str
) -> tuple[float, float | None]:
    """The expected number of signal events, and the cross section that went into it."""
    if strength.events is not None:
        return strength.mu * strength.events, None
    xsec = strength.xsec_pb if strength.xsec_pb is not None else signal.xsec_pb
    if xsec is None:
        raise InputValueError(
            path, "its cross section is not known", "Give it in pb with --xsec, or a number of events with --events."
        )
    if lumi_ifb is None:
        raise InputValueError(
            "lumi",
            "the luminosity of the background is not known",
            "Give it in 1/fb with --lumi, or the expected number of signal events with --events.",
        )
    return strength.mu * xsec / IFB_PER_PB * lumi_ifb * signal.share, xsec


def _weight(background: Background, lumi_ifb: float | None) -> float:
    if background.sum_weights is None or lumi_ifb is None or lumi_ifb == background.lumi_ifb:
        return background.mean_weight
    if background.xsec_pb is None:
        raise InputValueError(
            str(background.files[0]),
            f"its cross section is not known, so a signal event cannot get the weight of one at {lumi_ifb:g}/fb",
            "Give it in pb with --background-xsec, or a number of events with --events.",
        )
    return background.sum_weights / (background.xsec_pb / IFB_PER_PB * lumi_ifb)
