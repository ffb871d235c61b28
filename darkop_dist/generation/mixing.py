"""Writing what `injection` has planned: one result for each background file, in portions, with an account."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

from darkop_dist.errors import InputValueError, OutputError
from darkop_dist.events.read import translated_errors
from darkop_dist.events.remote import open_root
from darkop_dist.generation.injection import NUMBERS, TREE, TRUTH, InjectionPlan
from darkop_dist.generation.layout import Layout, columns_to_write, joined, layout_of, new_tree, read_rows
from darkop_dist.generation.record import adler32, dataset_name, file_entry
from darkop_dist.generation.unweighting import WEIGHT
from darkop_dist.runs import write_atomically, write_json

SCHEMA = "darkop.injection/1"
COPIED = ("Runs", "LuminosityBlocks")
COUNTS, SUMS, SUMS2 = "genEventCount", "genEventSumw", "genEventSumw2"


@dataclass(frozen=True)
class InjectedFileset:
    """What was written.

    Attributes:
        directory: of all files.
        files: one for each background file.
        record: file with the dataset record that documents can name.
        account: file that says what was expected, drawn and used.
        expected: expected number of signal events.
        injected: number of signal events.
        events: number of all events.
    """

    directory: Path
    files: tuple[Path, ...]
    record: Path
    account: Path
    expected: float
    injected: int
    events: int


def write_injection(
    plan: InjectionPlan, directory: Path, *, force: bool = False, progress: Callable[[int], None] | None = None
) -> InjectedFileset:
    """Write the results into a directory that appears when all of them are whole.

    Args:
        plan: from `injection.plan_injection`.
        directory: to write; its name becomes the dataset's.
        force: replace an existing directory of an injection.
        progress: called with the number of events written so far.

    Raises:
        OutputError: the directory exists already or cannot be written.
        InputFileError: a file cannot be read.
        InputValueError: numbers of the signal do not fit into the types of the background's branches.
    """
    account = "injection.json"
    if directory.exists() and not (force and (directory / account).exists()):
        how = "Choose another directory" + ("." if force else ", or replace it with --force.")
        raise OutputError(f"{directory}: exists already. {how}")
    temporary = directory.with_name(f".{directory.name}.partial-{uuid.uuid4().hex[:8]}")
    record = f"{_name_of(directory)}.record.json"
    try:
        temporary.mkdir(parents=True)
        _write_files(plan, temporary, progress)
        names = [path.name for path in plan.background.files]
        write_json(temporary / account, SCHEMA, _account(plan))
        write_atomically(temporary / record, json.dumps(_record(plan, temporary, directory), indent=1) + "\n")
        if directory.exists():
            shutil.rmtree(directory)
        temporary.rename(directory)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written ({error.strerror or error}). Check the disk.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return InjectedFileset(
        directory=directory,
        files=tuple(directory / name for name in names),
        record=directory / record,
        account=directory / account,
        expected=plan.expected,
        injected=len(plan.rows),
        events=len(plan.rows) + sum(plan.background.events),
    )


def _write_files(plan: InjectionPlan, directory: Path, progress: Callable[[int], None] | None) -> None:
    ends = np.searchsorted(_file_of(plan), np.arange(len(plan.background.files)), side="right")
    first = used = 0
    with translated_errors(str(plan.signal), TREE), open_root(str(plan.signal)) as signal:
        for number, path in enumerate(plan.background.files):
            end = int(ends[number])
            places, rows = plan.places[used:end] - first, plan.rows[used:end]
            with translated_errors(str(path), TREE), open_root(str(path)) as file:
                mixed = _Mixed(plan, number, file, signal[TREE], places, rows)
                for written in mixed.write(directory / path.name):
                    if progress is not None:
                        progress(first + written)
            first, used = first + plan.background.events[number] + len(rows), end


class _Mixed:
    """One background file with the signal's events among its own."""

    def __init__(
        self,
        plan: InjectionPlan,
        number: int,
        file: Any,
        signal: Any,
        places: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
    ) -> None:
        self._plan, self._file, self._signal, self._places, self._rows = plan, file, signal, places, rows
        self._tree = file[TREE]
        self._layout, self._filled = plan.background.layouts[number], plan.background.filled[number]
        self._length = plan.background.events[number] + len(rows)
        self._next_number = self._largest_number() + 1
        self._last: dict[str, Any] = {}

    def write(self, target: Path) -> Any:
        """Write the file; yields the number of events written so far."""
        layout = Layout({**self._layout.flat, TRUTH: np.dtype(bool)}, self._layout.collections, 0.0)
        block = self._layout.chunk_events
        with uproot.recreate(target, compression=uproot.ZSTD(5)) as file:
            tree = new_tree(file, TREE, layout)
            for start in range(0, self._length, block):
                stop = min(start + block, self._length)
                tree.extend(columns_to_write(self._rows_between(start, stop), layout))
                yield stop
            for name in COPIED:
                if name in self._file and hasattr(self._file[name], "num_entries"):
                    self._copy(file, name)

    def _rows_between(self, start: int, stop: int) -> dict[str, ak.Array]:
        first, last = (int(place) for place in np.searchsorted(self._places, (start, stop)))
        is_signal = np.zeros(stop - start, dtype=bool)
        is_signal[self._places[first:last] - start] = True
        begin, end = start - first, stop - last
        names = list(self._layout.names)
        own = self._tree.arrays(names, entry_start=begin, entry_stop=end, library="ak", how=dict) if end > begin else {}
        behind = np.cumsum(~is_signal) - 1  # of each event, the last background event that is not after it
        arrays = own
        if last > first:
            injected = self._signal_rows(first, last, own, behind[is_signal])
            arrays = joined([own, injected]) if own else injected
            order = np.where(is_signal, (end - begin) + np.cumsum(is_signal) - 1, behind)
            arrays = {name: array[order] for name, array in arrays.items()}
        if own:
            self._last = {name: own[name][-1] for name in NUMBERS if name in own}
        return {**arrays, TRUTH: ak.Array(is_signal)}

    def _signal_rows(
        self, first: int, last: int, own: Mapping[str, ak.Array], behind: npt.NDArray[np.int64]
    ) -> dict[str, ak.Array]:
        """The signal's events with all branches of the background, in its types."""
        made = {*NUMBERS, WEIGHT, *self._filled}
        wanted = [name for name in self._layout.names if name not in made]
        found = read_rows(self._signal, wanted, self._rows[first:last], self._layout.chunk_events)
        kinds = {
            **self._layout.flat,
            **{n: k for fields in self._layout.collections.values() for n, k in fields.items()},
        }
        arrays = {name: _as_kind(name, found[name], kinds[name], name in self._layout.flat) for name in wanted}
        count = last - first
        for name, value in self._filled.items():
            arrays[name] = _as_kind(name, ak.Array(np.full(count, value)), kinds[name], flat=True)
        if WEIGHT in kinds:
            arrays[WEIGHT] = ak.Array(np.full(count, self._plan.signal_weight, dtype=kinds[WEIGHT]))
        for name in ("run", "luminosityBlock"):
            if name in kinds:
                arrays[name] = ak.Array(self._neighbours(name, own, behind).astype(kinds[name]))
        if "event" in kinds:
            numbers = np.arange(self._next_number, self._next_number + count)
            arrays["event"] = ak.Array(numbers.astype(kinds["event"]))
            self._next_number += count
        return arrays

    def _neighbours(self, name: str, own: Mapping[str, ak.Array], behind: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Run or block of the background event before each signal event; before the first of all, of that one."""
        if not own:
            return np.full(len(behind), self._last[name])
        values = ak.to_numpy(own[name])
        before = self._last.get(name, values[0])
        return np.asarray(np.where(behind < 0, before, values[np.maximum(behind, 0)]))

    def _largest_number(self) -> int:
        if "event" not in self._layout.flat:
            return 0
        steps = self._tree.iterate(["event"], step_size=1_000_000, library="np")
        return max(int(part["event"].max()) for part in steps)

    def _copy(self, file: Any, name: str) -> None:
        """Another tree of the background, with the sums of weights that the result has."""
        source = self._file[name]
        layout = layout_of(source, str(self._file.file_path))
        arrays = source.arrays(list(layout.names), library="ak", how=dict)
        count, weight = len(self._rows), self._plan.signal_weight
        added = {COUNTS: count, SUMS: count * weight, SUMS2: count * weight**2}
        for column, more in added.items():
            for branch in (column, f"{column}_"):
                if name == "Runs" and branch in layout.flat:
                    values = ak.to_numpy(arrays[branch]).copy()
                    values[0] += more
                    arrays[branch] = ak.Array(values)
        if name == "Runs" and "genXsec_pb" in layout.flat and _mixed_xsec(self._plan) is not None:
            arrays["genXsec_pb"] = ak.Array(np.full(source.num_entries, _mixed_xsec(self._plan)))
        new_tree(file, name, layout).extend(columns_to_write(arrays, layout))


def _as_kind(name: str, values: ak.Array, kind: np.dtype[Any], flat: bool) -> ak.Array:  # noqa: FBT001
    """Values in the type that the background's branch has; floating-point numbers are rounded, others must fit."""
    if (values.ndim == 1) != flat:
        mine, other = ("one number per event", "a list") if flat else ("a list", "one number per event")
        raise InputValueError(name, f"it is {mine} in the background and {other} in the signal", f"Use --drop {name}.")
    found = ak.values_astype(values, kind)
    if kind.kind != "f" and not ak.all(found == values, axis=None):
        raise InputValueError(name, f"numbers of the signal do not fit into its type {kind}", f"Use --drop {name}.")
    return found


def _mixed_xsec(plan: InjectionPlan) -> float | None:
    """Cross section over sum of weights is as before."""
    background = plan.background
    if background.xsec_pb is None or background.sum_weights is None:
        return None
    return background.xsec_pb * (1 + len(plan.rows) * plan.signal_weight / background.sum_weights)


def _name_of(directory: Path) -> str:
    return dataset_name(directory.name, otherwise="injected")


def _account(plan: InjectionPlan) -> dict[str, object]:
    counts = np.bincount(_file_of(plan), minlength=len(plan.background.files))
    return {
        "signal": {"file": plan.signal.name, "adler32": adler32(plan.signal)},
        "background": [
            {"file": path.name, "adler32": adler32(path), "events": events, "injected": int(injected)}
            for path, events, injected in zip(plan.background.files, plan.background.events, counts, strict=True)
        ],
        "strength": asdict(plan.strength),
        "seed": plan.seed,
        "expected": plan.expected,
        "injected": len(plan.rows),
        "signal_xsec_pb": plan.xsec_pb,
        "lumi_ifb": plan.lumi_ifb,
        "signal_weight": None if plan.background.is_data else plan.signal_weight,
        "truth_column": TRUTH,
        "filled": sorted({name for values in plan.background.filled for name in values}),
        "left_out": list(plan.background.left_out),
    }


def _file_of(plan: InjectionPlan) -> npt.NDArray[np.int64]:
    """The number of the file that each signal event is in."""
    before = plan.places - np.arange(len(plan.places))  # background events before it
    ends = np.cumsum(plan.background.events)
    found = np.searchsorted(ends, before, side="right")
    return np.minimum(found, len(ends) - 1)


def _record(plan: InjectionPlan, temporary: Path, directory: Path) -> Mapping[str, Any]:
    background = plan.background
    name, total = _name_of(directory), len(plan.rows) + sum(background.events)
    files = [temporary / path.name for path in background.files]
    counts = np.bincount(_file_of(plan), minlength=len(files))
    among = ", ".join(path.stem for path in background.files[:3])
    record: dict[str, Any] = {
        "name": name,
        "title": f"{len(plan.rows)} events of {plan.signal.stem} among {among}",
        "kind": "data" if plan.as_data else "simulation",
        "files": [
            file_entry(path, events + int(injected))
            for path, events, injected in zip(files, background.events, counts, strict=True)
        ],
        "events": total,
        "provenance": f"injected: {len(plan.rows)} signal events, {plan.expected:.6g} expected at strength "
        f"{plan.strength.mu:g}, seed {plan.seed}; see injection.json",
    }
    if not background.is_data:
        record["experiment"] = "simulation"
    if plan.as_data and plan.lumi_ifb:
        record["lumi_ifb"] = plan.lumi_ifb
    xsec = _mixed_xsec(plan)
    if not plan.as_data and xsec is not None:
        record["xsec_pb"] = xsec
    return {"schema_version": 1, "provenance": "darkop inject", "records": [record]}
