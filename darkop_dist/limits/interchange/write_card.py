"""From a HistFactory workspace to a Combine datacard with its templates.

Assumptions:
    As in `read_card`; in addition a Gaussian factor (lumi) becomes a log-normal one, and Poisson constraints of single
    bins become Gaussian shapes, except where ``gmN`` can say them: in channels of one bin with a whole number of
    auxiliary events. The card's header names each thing that is not exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darkop_dist.errors import StatisticsError
from darkop_dist.limits.interchange.effects import DROPPED, Effects, Row, effects_of
from darkop_dist.limits.interchange.files import Interchange
from darkop_dist.limits.interchange.templates import Histogram, root_file
from darkop_dist.limits.workspace import Workspace
from darkop_dist.runs import version

CARD, SHAPES = "datacard.txt", "shapes.root"


def datacard(workspace: Workspace) -> Interchange:
    """Write a workspace as ``datacard.txt`` and ``shapes.root`` (TH1 with errors) for ``combine``.

    Combine's ``r`` takes the place of the parameter of interest.

    Args:
        workspace: one signal against its backgrounds, or several that one strength multiplies.

    Returns:
        The two files; the notes are in the card's header too.

    Raises:
        StatisticsError: no signal, or a modifier that Combine cannot express; names channel, sample and modifier.
        MissingExtraError: uproot is not installed.
    """
    effects = effects_of(workspace)
    _require_signal(workspace, effects)
    return Interchange(
        {CARD: _text(workspace, effects).encode(), SHAPES: root_file(_templates(workspace, effects))}, effects.notes
    )


def _require_signal(workspace: Workspace, effects: Effects) -> None:
    if not any(row.is_signal for row in effects.rows):
        raise StatisticsError(
            f"the workspace has no signal: no sample carries its parameter of interest {workspace.poi!r}; "
            "apply a patch with a signal first, or export it as pyhf"
        )
    for row in effects.rows:
        if any(other.process == row.process and other.is_signal != row.is_signal for other in effects.rows):
            raise StatisticsError(
                f"the sample {row.sample} is a signal in one channel and none in another, which Combine refuses; "
                "give it two names"
            )


def _templates(workspace: Workspace, effects: Effects) -> dict[str, Histogram]:
    found: dict[str, Histogram] = {}
    observed = {entry["name"]: np.asarray(entry["data"], dtype=np.float64) for entry in workspace.spec["observations"]}
    for channel, label in effects.channels.items():
        counts = observed[channel]
        edges = np.asarray(workspace.edges.get(channel) or range(len(counts) + 1), dtype=np.float64)
        found[f"{label}/data_obs"] = Histogram(counts, np.sqrt(np.maximum(counts, 0.0)), edges)
        for row in (row for row in effects.rows if row.channel == channel):
            found[f"{label}/{row.process}"] = Histogram(row.nominal, row.errors, edges)
            for name, shape in row.shapes.items():
                found[f"{label}/{row.process}__{name}Up"] = Histogram(shape.up, np.zeros(len(counts)), edges)
                found[f"{label}/{row.process}__{name}Down"] = Histogram(shape.down, np.zeros(len(counts)), edges)
    return found


@dataclass(frozen=True)
class _Table:
    """Lines whose columns stand below each other."""

    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in self.rows
        )


def _text(workspace: Workspace, effects: Effects) -> str:
    labels = list(effects.channels.values())
    observed = {entry["name"]: float(np.sum(entry["data"])) for entry in workspace.spec["observations"]}
    data = _Table((("bin", *labels), ("observation", *(f"{observed[name]:.17g}" for name in effects.channels))))
    signals = list(dict.fromkeys(row.process for row in effects.rows if row.is_signal))
    backgrounds = list(dict.fromkeys(row.process for row in effects.rows if not row.is_signal))
    numbers = {name: 1 - len(signals) + place for place, name in enumerate([*signals, *backgrounds])}
    parts = [
        "\n".join(f"# {line}" for line in _header(workspace, effects)),
        f"imax {len(labels)}\njmax {len(signals) + len(backgrounds) - 1}\nkmax *",
        f"shapes * * {SHAPES} $CHANNEL/$PROCESS $CHANNEL/$PROCESS__$SYSTEMATIC",
        str(data),
        str(_Table(_columns(effects, numbers))),
        "\n".join(_free_lines(effects)),
    ]
    return f"\n{'-' * 80}\n".join(part for part in parts if part) + "\n"


def _header(workspace: Workspace, effects: Effects) -> list[str]:
    lines = [f"written by darkop-dist {version()} from the workspace {workspace.sha256}"]
    lines.append(f"r stands for {workspace.poi}; its range is 0 to 20 unless combine is told otherwise (--rMax)")
    lines += [f"not exact: {note}" if not note.startswith(DROPPED) else note for note in effects.notes]
    return [" ".join(line.split()) for line in lines]


def _columns(effects: Effects, numbers: dict[str, int]) -> tuple[tuple[str, ...], ...]:
    rows = effects.rows
    labels = effects.channels
    table: list[tuple[str, ...]] = [
        ("bin", "", *(labels[row.channel] for row in rows)),
        ("process", "", *(row.process for row in rows)),
        ("process", "", *(str(numbers[row.process]) for row in rows)),
        ("rate", "", *(f"{row.nominal.sum():.17g}" for row in rows)),
    ]
    for name in effects.nuisances:
        shapes = any(name in row.shapes for row in rows)
        factors = any(name in row.norms for row in rows)
        kind = "shape?" if shapes and factors else "shape" if shapes else "lnN"
        table.append((name, kind, *(_effect(row, name) for row in rows)))
    for name, count in effects.gammas.items():
        table.append((name, f"gmN {count}", *(_number(row.gammas.get(name)) for row in rows)))
    return tuple(table)


def _effect(row: Row, name: str) -> str:
    if name in row.shapes:
        return "1"
    if name not in row.norms:
        return "-"
    low, high = row.norms[name]
    return _number(high) if abs(low * high - 1.0) < 1e-15 else f"{_number(low)}/{_number(high)}"


def _number(value: float | None) -> str:
    return "-" if value is None else repr(float(value))


def _free_lines(effects: Effects) -> list[str]:
    lines = [
        f"{name} rateParam {effects.channels[row.channel]} {row.process} {start:.17g} [{low:.17g},{high:.17g}]"
        for row in effects.rows
        for name, (start, low, high) in row.factors.items()
    ]
    for channel, label in effects.channels.items():
        mode = 2 if channel in effects.additive else 1
        if channel in effects.with_statistics or mode == 2:
            lines.append(f"{label} autoMCStats {0 if channel in effects.with_statistics else -1} 0 {mode}")
    return lines
