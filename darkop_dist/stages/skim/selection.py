"""Which events a skim keeps: an expression over columns, or a function of the user's."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError
from darkop_dist.events.expression import Expression, parse_expression
from darkop_dist.stages.search import load_module
from darkop_dist.stages.skim.input_file import InputFile

Function = Callable[[ak.Array], Any]
_FUNCTION = re.compile(r"(?P<place>[^\s:]+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class EventSelection:
    """Which events are kept.

    Attributes:
        text: as the user wrote it; empty for all events.
        expression: over columns; None where a function decides or all events are kept.
        function: takes NanoEvents and gives a truth per event.
    """

    text: str = ""
    expression: Expression | None = None
    function: Function | None = None

    def mask(self, events: ak.Array, file: InputFile, start: int, stop: int) -> npt.NDArray[np.bool_]:
        """Which entries of a range are kept, shape (stop - start,).

        Raises:
            UnknownNameError: the file lacks a column of the expression.
            InputValueError: the selection gives no truth per event.
        """
        if self.function is not None:
            return _checked(self.function(events), self.text, stop - start)
        if self.expression is None:
            return np.ones(stop - start, np.bool_)
        branches = self.expression.branches(frozenset(file.names), file.path)
        layout = file.layout(branches)
        groups = {name: group for group, fields in layout.collections.items() for name in fields}
        return self.expression.evaluate(file.read(branches, start, stop), groups, stop - start)


def event_selection(given: str | Function | None) -> EventSelection:
    """A selection from what the user gave: an expression, ``module.py:function``, a function; nothing for all events.

    Raises:
        InputValueError: the expression cannot be read.
        InputFileError: the module cannot be imported.
        UnknownNameError: it has no such function.
    """
    if given is None or given == "":
        return EventSelection()
    if callable(given):
        name = f"{getattr(given, '__module__', '')}:{getattr(given, '__qualname__', type(given).__name__)}"
        return EventSelection(name, function=given)
    named = _FUNCTION.fullmatch(given.strip())
    if named is None:
        return EventSelection(given, expression=parse_expression(given))
    return EventSelection(given, function=_loaded(named["place"], named["name"]))


def _loaded(place: str, name: str) -> Function:
    try:
        module = load_module(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise InputFileError(place, f"cannot be imported ({type(error).__name__}: {error})", "Correct it.") from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UnknownNameError("function", name, known, f"Name a function of {place}.")
    function: Function = found
    return function


def _checked(given: Any, text: str, events: int) -> npt.NDArray[np.bool_]:
    try:
        mask = np.asarray(ak.to_numpy(given, allow_missing=False))
    except (TypeError, ValueError) as error:
        raise InputValueError(f"selection {text}", f"gives no truth per event ({error})", "Return a mask") from error
    if mask.dtype != np.bool_ or mask.shape != (events,):
        told = f"gives {mask.dtype} of shape {mask.shape}, not a truth for each of the {events} events"
        raise InputValueError(f"selection {text}", told, "Return a mask such as events.MET.pt > 200")
    return mask
