"""Section ``signal_region``: cuts written as physicists write them, such as ``MET > 250 GeV and jet_pt > 100 GeV``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, PlainSerializer

from darkop_dist.config.section import rejected
from darkop_dist.errors import UnknownNameError

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_UNITS = {"": ("", 1.0), "GeV": ("GeV", 1.0), "TeV": ("GeV", 1000.0), "MeV": ("GeV", 0.001), "rad": ("rad", 1.0)}
_TERM = re.compile(
    r"\s*(?P<name>[A-Za-z_]\w*)\s*(?P<op>>=|<=|==|>|<)\s*"
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>[A-Za-z]*)\s*"
)


@dataclass(frozen=True)
class Term:
    """One cut.

    Attributes:
        observable: name of a column.
        comparison: one of ``>``, ``>=``, ``<``, ``<=``, ``==``.
        value: threshold, energies in GeV and angles in rad.
        unit: ``GeV``, ``rad`` or empty for a pure number.
    """

    observable: str
    comparison: str
    value: float
    unit: str


@dataclass(frozen=True)
class Selection:
    """Cuts that an event must all pass.

    Attributes:
        text: the selection as it was written.
        terms: the cuts, in the order written.
    """

    text: str
    terms: tuple[Term, ...]

    @property
    def observables(self) -> tuple[str, ...]:
        """The columns that the cuts need, each once, in the order written."""
        return tuple(dict.fromkeys(term.observable for term in self.terms))

    def evaluate(self, columns: Mapping[str, npt.ArrayLike]) -> npt.NDArray[np.bool_]:
        """Which events pass all cuts.

        Args:
            columns: one array of shape (events,) per observable, energies in GeV and angles in rad. A name that is
                absent is looked up once more without regard to case, so ``MET`` finds ``met``.

        Returns:
            Mask of shape (events,). An event whose observable is NaN does not pass.

        Raises:
            UnknownNameError: an observable is not among the columns.
        """
        masks = [_COMPARE[term.comparison](np.asarray(_column(term, columns)), term.value) for term in self.terms]
        return np.asarray(np.logical_and.reduce(masks), dtype=np.bool_)


def _column(term: Term, columns: Mapping[str, npt.ArrayLike]) -> npt.ArrayLike:
    if term.observable in columns:
        return columns[term.observable]
    folded = [name for name in columns if name.casefold() == term.observable.casefold()]
    if len(folded) == 1:
        return columns[folded[0]]
    what_to_do = f"Observables that exist here: {', '.join(columns) or 'none'}."
    raise UnknownNameError("observable", term.observable, columns, what_to_do)


def parse_selection(text: str) -> Selection:
    """Parse cuts joined by ``and``.

    Args:
        text: terms ``NAME OP NUMBER [UNIT]`` with OP among ``> >= < <= ==`` and UNIT among GeV, TeV, MeV and rad.

    Returns:
        The selection, with energies converted to GeV.

    Raises:
        ValueError: the text does not follow this grammar; the message names the term and what would be accepted.

    >>> parse_selection("mtt > 0.6 TeV").terms
    (Term(observable='mtt', comparison='>', value=600.0, unit='GeV'),)
    """
    return Selection(text, tuple(_parse_term(part) for part in re.split(r"\band\b", text)))


def _parse_term(text: str) -> Term:
    match = _TERM.fullmatch(text)
    if match is None:
        raise rejected(
            f"cannot read the cut {text.strip()!r}: write 'NAME OP NUMBER UNIT', such as 'MET > 250 GeV', with OP "
            "among > >= < <= ==, and join cuts by 'and'"
        )
    unit = match["unit"]
    if unit not in _UNITS:
        accepted = ", ".join(filter(None, _UNITS))
        raise rejected(
            f"unknown unit {unit!r} in the cut {text.strip()!r}: must be one of {accepted}, or none",
            value=unit,
            choices=filter(None, _UNITS),
        )
    canonical, factor = _UNITS[unit]
    value = float(match["number"]) * factor
    if not math.isfinite(value):
        raise rejected(f"the threshold of the cut {text.strip()!r} is too large for a number")
    return Term(match["name"], match["op"], value, canonical)


def _from_document(value: object) -> Selection:
    if isinstance(value, Selection):
        return value
    if not isinstance(value, str):
        raise rejected("must be text such as 'MET > 250 GeV'")
    return parse_selection(value)


def _to_document(selection: Selection) -> str:
    return selection.text


SelectionField = Annotated[
    Selection,
    BeforeValidator(_from_document, json_schema_input_type=str),
    PlainSerializer(_to_document, return_type=str),
]
"""A selection that documents hold as text."""
