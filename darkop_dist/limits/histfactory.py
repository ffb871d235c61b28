"""Expected counts of a HistFactory model and their exact derivatives.

The rate of a sample in a bin is (nominal + sum of histosys shifts) x product of factors (Cranmer et al.,
CERN-OPEN-2012-016): normsys with interpolation code 4 (a polynomial of sixth degree between -1 and 1 standard
deviation, exponential outside), histosys with code 4p (sixth degree inside, linear outside), and the factors that are
parameters themselves. All samples, bins and parameters are flat arrays, so that one pass of a few dozen NumPy calls
gives the counts and all derivatives: pyhf's default backend would need a pass for each parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import StatisticsError
from darkop_dist.limits.parameters import KINDS, PER_BIN, Floats, Parameters, parameters_of

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class _Shifts:
    """Histosys: one entry per modifier, bin and sample; ``up`` and ``down`` are what +1 and -1 add and take away."""

    cell: Places
    parameter: Places
    up: Floats
    down: Floats


@dataclass(frozen=True, eq=False)
class _Norms:
    """Normsys: one entry per modifier and sample, sorted by sample; ``start`` is where a sample's entries begin."""

    row: Places
    parameter: Places
    log_up: Floats
    log_down: Floats
    coefficients: Floats  # shape (6, entries)
    start: Places
    cell: Places  # the entries repeated for each bin of the sample
    entry: Places


@dataclass(frozen=True, eq=False)
class Model:
    """A workspace in the form in which it is evaluated. Build it with `model_of`.

    A row is a sample in a channel, a cell a bin of a row. Bins are those of all channels, one after the other, with
    channels in alphabetical order as in pyhf.

    Attributes:
        parameters: names, bounds and constraints.
        channels: names in order.
        spans: bins of each channel.
        rows: channel and sample of each row.
        row_of_cell: shape (cells,).
        bin_of_cell: shape (cells,).
        nominal: events before any modifier, shape (cells,).
        factors: parameters that multiply each cell, padded with the number of parameters, shape (cells, most).
        shifts: histosys modifiers.
        norms: normsys modifiers.
        parametric: which places of ``factors``, taken as one row, hold a parameter.
        places: where in the matrix of derivatives each contribution goes.
    """

    parameters: Parameters
    channels: tuple[str, ...]
    spans: Mapping[str, slice]
    rows: tuple[tuple[str, str], ...]
    row_of_cell: Places
    bin_of_cell: Places
    nominal: Floats
    factors: Places
    shifts: _Shifts
    norms: _Norms
    parametric: npt.NDArray[np.bool_]
    places: Places

    @property
    def bins(self) -> int:
        """Number of bins of all channels."""
        return int(max(span.stop for span in self.spans.values()))

    def bin_label(self, place: int) -> str:
        """Channel and number of a bin, for messages."""
        name, span = next((name, span) for name, span in self.spans.items() if span.start <= place < span.stop)
        return f"bin {place - span.start} of channel {name}"

    def cells(self, values: Floats) -> Floats:
        """Expected events of each sample in each bin, shape (cells,), at parameters of shape (parameters,)."""
        return self._cells(values)[0]

    def expected(self, values: Floats) -> Floats:
        """Expected events in each bin, shape (bins,)."""
        return _summed(self.bin_of_cell, self.cells(values), self.bins)

    def expected_and_slopes(self, values: Floats) -> tuple[Floats, Floats]:
        """Expected events in each bin and their derivatives, shapes (bins,) and (bins, parameters)."""
        rates, base, norm, multiplied = self._cells(values)
        pieces = []
        if len(self.shifts.cell):
            slope_up, slope_down = _shift_slopes(values)
            shifts = self.shifts
            slopes = shifts.up * slope_up[shifts.parameter] + shifts.down * slope_down[shifts.parameter]
            pieces.append(slopes * (norm * multiplied)[shifts.cell])
        if len(self.norms.row):
            relative = self._norm_factors(values, slopes=True)
            pieces.append(rates[self.norms.cell] * relative[self.norms.entry])
        if self.factors.shape[1]:
            pieces.append((self._others(values) * (base * norm)[:, None]).ravel()[self.parametric])
        size = (self.bins, len(self.parameters))
        matrix = _summed(self.places, np.concatenate([*pieces, np.zeros(0)]), size[0] * size[1]).reshape(size)
        return _summed(self.bin_of_cell, rates, self.bins), matrix

    def _cells(self, values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Events of each cell, and their parts: sum of shifts, product of normsys, product of parameters."""
        base = self.nominal
        if len(self.shifts.cell):
            up, down = _shift_sizes(values)
            sizes = self.shifts.up * up[self.shifts.parameter] + self.shifts.down * down[self.shifts.parameter]
            base = base + _summed(self.shifts.cell, sizes, len(base))
        by_row = np.ones(len(self.rows))
        if len(self.norms.row):
            factors = self._norm_factors(values, slopes=False)
            by_row[self.norms.row[self.norms.start]] = np.multiply.reduceat(factors, self.norms.start)
        norm = by_row[self.row_of_cell]
        multiplied = np.prod(np.append(values, 1.0)[self.factors], axis=1)
        return base * norm * multiplied, base, norm, multiplied

    def _norm_factors(self, values: Floats, *, slopes: bool) -> Floats:
        """Each normsys' factor, or its derivative divided by it, shape (entries,)."""
        norms = self.norms
        alpha = values[norms.parameter]
        inside = np.clip(alpha, -1.0, 1.0)
        a1, a2, a3, a4, a5, a6 = norms.coefficients
        factor = 1.0 + inside * (a1 + inside * (a2 + inside * (a3 + inside * (a4 + inside * (a5 + inside * a6)))))
        if slopes:
            slope = a1 + inside * (2 * a2 + inside * (3 * a3 + inside * (4 * a4 + inside * (5 * a5 + inside * 6 * a6))))
            relative = np.where(alpha > 1.0, norms.log_up, np.where(alpha < -1.0, -norms.log_down, slope / factor))
            return np.asarray(relative, dtype=np.float64)
        beyond = alpha - inside
        steepness = np.where(beyond > 0, norms.log_up, -norms.log_down)
        return np.asarray(factor * np.exp(steepness * beyond), dtype=np.float64)

    def _others(self, values: Floats) -> Floats:
        """For each factor of a cell the product of the cell's other ones, shape (cells, most)."""
        factors = np.append(values, 1.0)[self.factors]
        before, after = np.ones_like(factors), np.ones_like(factors)
        np.cumprod(factors[:, :-1], axis=1, out=before[:, 1:])
        after[:, :-1] = np.cumprod(factors[:, :0:-1], axis=1)[:, ::-1]
        return np.asarray(before * after, dtype=np.float64)


def model_of(channels: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]) -> Model:
    """Prepare a model for evaluation.

    Args:
        channels: the workspace's channels.
        settings: the measurement's ``parameters``.

    Raises:
        StatisticsError: modifiers that contradict each other, or whose size is not that of their sample.
    """
    ordered = sorted(channels, key=lambda channel: str(channel["name"]))
    _require_consistent(ordered)
    parameters = parameters_of(ordered, settings)
    spans, start = {}, 0
    for channel in ordered:
        bins = len(channel["samples"][0]["data"])
        spans[channel["name"]] = slice(start, start + bins)
        start += bins
    rows = [(channel, sample) for channel in ordered for sample in channel["samples"]]
    lengths = [len(sample["data"]) for _, sample in rows]
    row_of_cell = np.repeat(np.arange(len(rows)), lengths)
    bin_of_cell = np.concatenate([np.arange(start)[spans[channel["name"]]] for channel, _ in rows])
    first_cell = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.intp)
    shifts = _shifts(rows, parameters, first_cell)
    norms = _norms(rows, parameters, first_cell, lengths)
    factors = _factors(ordered, rows, parameters)
    count = len(parameters)
    pieces = [bin_of_cell[shifts.cell] * count + shifts.parameter]
    pieces.append(bin_of_cell[norms.cell] * count + norms.parameter[norms.entry])
    parametric = (factors < count).ravel()
    pieces.append((bin_of_cell[:, None] * count + factors).ravel()[parametric])
    return Model(
        parameters=parameters,
        channels=tuple(str(channel["name"]) for channel in ordered),
        spans=spans,
        rows=tuple((str(channel["name"]), str(sample["name"])) for channel, sample in rows),
        row_of_cell=row_of_cell,
        bin_of_cell=bin_of_cell,
        nominal=np.concatenate([np.asarray(sample["data"], dtype=np.float64) for _, sample in rows]),
        factors=factors,
        shifts=shifts,
        norms=norms,
        parametric=parametric,
        places=np.concatenate(pieces).astype(np.intp),
    )


_Row = tuple[Mapping[str, Any], Mapping[str, Any]]


def _require_consistent(channels: Sequence[Mapping[str, Any]]) -> None:
    _require_once([str(channel["name"]) for channel in channels], "the workspace", "channel")
    for channel in channels:
        bins = len(channel["samples"][0]["data"])
        _require_once([str(s["name"]) for s in channel["samples"]], f"channel {channel['name']}", "sample")
        for sample in channel["samples"]:
            where = f"channel {channel['name']}, sample {sample['name']}"
            if len(sample["data"]) != bins:
                raise StatisticsError(f"{where}: {len(sample['data'])} bins where the channel has {bins}")
            if not np.all(np.isfinite(sample["data"])):
                raise StatisticsError(f"{where}: the expected events {sample['data']} are not finite")
            uses = [f"{modifier['name']} ({modifier['type']})" for modifier in sample["modifiers"]]
            _require_once(uses, where, "modifier")
            for modifier in sample["modifiers"]:
                _require_modifier(modifier, bins, where)


def _require_once(names: Sequence[str], where: str, what: str) -> None:
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise StatisticsError(f"{where} has the {what} {twice[0]} twice; keep one, or give them names of their own")


def _require_modifier(modifier: Mapping[str, Any], bins: int, where: str) -> None:
    kind, name, data = modifier["type"], modifier["name"], modifier["data"]
    if kind not in KINDS:
        raise StatisticsError(f"{where}: the modifier {name} is of the unknown kind {kind}; HistFactory has {KINDS}")
    if kind == "normsys" and not (0 < data["lo"] < np.inf and 0 < data["hi"] < np.inf):
        raise StatisticsError(f"{where}: the normsys {name} has factors {data}; its interpolation needs positive ones")
    shapes = {"histosys": ("lo_data", "hi_data")}.get(kind, ())
    for values in (data,) if kind in ("shapesys", "staterror") else tuple(data[key] for key in shapes):
        if len(values) != bins:
            raise StatisticsError(f"{where}: the {kind} {name} has {len(values)} bins where the sample has {bins}")
        if not np.all(np.isfinite(values)):
            raise StatisticsError(f"{where}: the {kind} {name} has values that are not finite: {values}")
        if kind in ("shapesys", "staterror") and np.any(np.asarray(values) < 0):
            raise StatisticsError(f"{where}: the {kind} {name} has negative uncertainties: {values}")


def _shifts(rows: Sequence[_Row], parameters: Parameters, first_cell: Places) -> _Shifts:
    cell, parameter, up, down = [], [], [], []
    for row, (_, sample) in enumerate(rows):
        nominal = np.asarray(sample["data"], dtype=np.float64)
        for modifier in sample["modifiers"]:
            if modifier["type"] == "histosys":
                cell.append(first_cell[row] + np.arange(len(nominal)))
                parameter.append(np.full(len(nominal), parameters.spans[modifier["name"]].start))
                up.append(np.asarray(modifier["data"]["hi_data"], dtype=np.float64) - nominal)
                down.append(nominal - np.asarray(modifier["data"]["lo_data"], dtype=np.float64))
    none = np.zeros(0)
    return _Shifts(
        cell=np.concatenate([*cell, none]).astype(np.intp),
        parameter=np.concatenate([*parameter, none]).astype(np.intp),
        up=np.concatenate([*up, none]),
        down=np.concatenate([*down, none]),
    )


def _norms(rows: Sequence[_Row], parameters: Parameters, first_cell: Places, lengths: Sequence[int]) -> _Norms:
    found = [
        (row, parameters.spans[modifier["name"]].start, modifier["data"]["hi"], modifier["data"]["lo"])
        for row, (_, sample) in enumerate(rows)
        for modifier in sample["modifiers"]
        if modifier["type"] == "normsys"
    ]
    row, parameter = (np.array([entry[i] for entry in found], dtype=np.intp) for i in (0, 1))
    up, down = (np.array([entry[i] for entry in found], dtype=np.float64) for i in (2, 3))
    sizes = np.asarray(lengths, dtype=np.intp)[row]
    entry = np.repeat(np.arange(len(found)), sizes)
    within = np.arange(len(entry)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return _Norms(
        row=row,
        parameter=parameter,
        log_up=np.log(up),
        log_down=np.log(down),
        coefficients=_code4(up, down),
        start=np.flatnonzero(np.diff(row, prepend=-1)),
        cell=first_cell[row[entry]] + within if found else np.zeros(0, dtype=np.intp),
        entry=entry,
    )


def _factors(channels: Sequence[Mapping[str, Any]], rows: Sequence[_Row], parameters: Parameters) -> Places:
    """Positions of the parameters that multiply each cell, padded with the number of parameters."""
    offsets = _staterror_offsets(channels)
    columns: list[list[Places]] = []
    for channel, sample in rows:
        bins = len(sample["data"])
        here = []
        for modifier in sample["modifiers"]:
            kind, name = modifier["type"], modifier["name"]
            if kind in ("normfactor", "lumi"):
                here.append(np.full(bins, parameters.spans[name].start))
            elif kind in PER_BIN:
                offset = offsets[name, channel["name"]] if kind == "staterror" else 0
                here.append(parameters.spans[name].start + offset + np.arange(bins))
        columns.append(here)
    most = max(len(here) for here in columns)
    cells = sum(len(sample["data"]) for _, sample in rows)
    table, start = np.full((cells, most), len(parameters), dtype=np.intp), 0
    for (_, sample), here in zip(rows, columns, strict=True):
        bins = len(sample["data"])
        for column, places in enumerate(here):
            table[start : start + bins, column] = places
        start += bins
    return table


def _staterror_offsets(channels: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """Where the bins of a channel begin in a staterror that stands in several channels."""
    offsets: dict[tuple[str, str], int] = {}
    sizes: dict[str, int] = {}
    for channel in channels:
        names = {m["name"] for s in channel["samples"] for m in s["modifiers"] if m["type"] == "staterror"}
        for name in names:
            offsets[name, channel["name"]] = sizes.get(name, 0)
            sizes[name] = sizes.get(name, 0) + len(channel["samples"][0]["data"])
    return offsets


def _summed(places: Places, weights: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(places, weights=weights, minlength=size), dtype=np.float64)


def _code4(up: Floats, down: Floats) -> Floats:
    """Coefficients a_1 ... a_6 of 1 + sum a_i x^i that meets up^x at 1 and down^-x at -1 with two derivatives."""
    powers = np.arange(1, 7)
    value, first, second = np.ones(6), powers, powers * (powers - 1)
    sign = (-1.0) ** powers
    conditions = np.array([value, sign, first, -sign * first, second, sign * second], dtype=np.float64)
    log_up, log_down = np.log(up), np.log(down)
    wanted = np.array(
        [up - 1.0, down - 1.0, log_up * up, -log_down * down, log_up**2 * up, log_down**2 * down], dtype=np.float64
    )
    return np.asarray(np.linalg.solve(conditions, wanted), dtype=np.float64)


def _shift_sizes(values: Floats) -> tuple[Floats, Floats]:
    """How much of the upward and of the downward shift code 4p takes at each parameter."""
    square = values * values
    blend = square * (15.0 + square * (3.0 * square - 10.0)) / 16.0
    up = np.where(values > 1.0, values, np.where(values < -1.0, 0.0, 0.5 * values + blend))
    return up, values - up


def _shift_slopes(values: Floats) -> tuple[Floats, Floats]:
    """The derivatives of `_shift_sizes`."""
    square = values * values
    blend = values * (30.0 + square * (18.0 * square - 40.0)) / 16.0
    up = np.where(values > 1.0, 1.0, np.where(values < -1.0, 0.0, 0.5 + blend))
    return up, 1.0 - up
