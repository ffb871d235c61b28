"""Selections of events written over columns, such as ``MET.pt > 200 and count(Jet.pt > 30) >= 1``.

The text is Python's grammar of expressions, read by Python's parser and never run: only what stands below is accepted.

    columns     ``MET.pt`` or ``MET_pt``; a column of a collection, such as ``Jet.pt``, has one value per object
    numbers     ``200``, ``0.5``, and with a unit ``200 GeV``, ``1.5 TeV`` (energies are in GeV, angles in rad)
    logic       ``and or not``, comparisons, also chained: ``60 < mass < 120``
    arithmetic  ``+ - * / % **``; of integers and bits ``& | ^ ~ << >>``
    objects     ``count`` (of true values, else of objects), ``any``, ``all``, ``sum``, ``max``, ``min``; ``Jet.pt[0]``
    functions   ``abs sqrt exp log sin cos tan sinh cosh tanh hypot delta_phi``

The greatest of no objects, and an object that an event does not have, are NaN, which passes no comparison but ``!=``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, UnknownNameError

UNITS = {"GeV": "1.0", "TeV": "1000.0", "MeV": "0.001", "rad": "1.0"}
_UNIT = re.compile(rf"(?<![\w.])((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*({'|'.join(UNITS)})\b")
LONGEST = 4000
EXAMPLE = "Write such as 'MET.pt > 200 and count(Jet.pt > 30) >= 1'"


@dataclass(frozen=True)
class _Value:
    """Numbers or truths, one per event, or one per object of a collection."""

    array: Any
    collection: str | None


def _delta_phi(first: Any, second: Any) -> Any:
    return (first - second + np.pi) % (2 * np.pi) - np.pi


ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("abs", "sqrt", "exp", "log", "hypot")},
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "delta_phi": _delta_phi,
}
TWO_ARGUMENTS = ("hypot", "delta_phi")
REDUCERS = ("count", "any", "all", "sum", "max", "min")
BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: np.float_power,  # integers would overflow
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
    ast.BitXor: lambda a, b: a ^ b,
    ast.LShift: lambda a, b: a << b,
    ast.RShift: lambda a, b: a >> b,
}
COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}


@dataclass(frozen=True)
class Expression:
    """A selection over columns.

    Attributes:
        text: as it was written.
        names: the columns that it needs, as they were written, each once.
    """

    text: str
    names: tuple[str, ...]

    def branches(self, known: Mapping[str, Any] | frozenset[str], path: str) -> tuple[str, ...]:
        """The branches of a file that the selection reads, in the order of ``names``.

        Raises:
            UnknownNameError: the file has no such branch; gives the nearest.
        """
        return tuple(_branch(name, known, path) for name in self.names)

    def evaluate(
        self, columns: Mapping[str, Any], collections: Mapping[str, str], events: int
    ) -> npt.NDArray[np.bool_]:
        """Which events pass.

        Args:
            columns: by branch, one number per event or a list per event.
            collections: the collection that a branch with lists belongs to.
            events: number of events.

        Returns:
            Mask of shape (events,).

        Raises:
            InputValueError: the selection mixes objects of two collections, gives a value per object, or no truth.
        """

        def value_of(name: str) -> _Value:
            branch = _branch(name, columns, "the events")
            return _Value(columns[branch], collections.get(branch))

        with np.errstate(all="ignore"):
            found = _evaluate(_parsed(self.text), value_of, self.text)
        if found.collection is not None:
            told = f"gives one value per object of {found.collection}, not one per event"
            raise InputValueError(f"selection {self.text!r}", told, "Use any(...), all(...) or count(...) >= 1")
        mask = np.asarray(found.array)
        if mask.dtype != np.bool_:
            raise InputValueError(
                f"selection {self.text!r}", f"gives numbers ({mask.dtype}), not true or false", "Compare them"
            )
        return np.broadcast_to(mask, (events,))


def parse_expression(text: str) -> Expression:
    """Read a selection.

    Raises:
        InputValueError: the text is not of this grammar; says what stands there and what would be accepted.

    >>> parse_expression("MET.pt > 200 GeV and count(Jet.pt > 30) >= 1").names
    ('MET.pt', 'Jet.pt')
    """
    names: dict[str, None] = {}

    def noted(name: str) -> _Value:
        names[name] = None
        return _Value(np.zeros(0), None)

    _visit(_parsed(text), noted, text)
    return Expression(text, tuple(names))


def _branch(name: str, known: Any, path: str) -> str:
    written = name.replace(".", "_")
    if written not in known:
        told = f"{path} has no such branch."
        raise UnknownNameError("column", name, known, told)
    return written


def _parsed(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise InputValueError("the selection", f"is longer than {LONGEST} characters", "Give a function instead")
    with_factors = _UNIT.sub(lambda match: f"({match[1]}*{UNITS[match[2]]})", text)
    try:
        return ast.parse(with_factors.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputValueError(f"selection {text!r}", "cannot be read", EXAMPLE) from error


def _refused(node: ast.AST, text: str, what: str = "") -> InputValueError:
    shown = what or f"{ast.unparse(node)!r} is not part of a selection"
    functions = ", ".join((*REDUCERS, *ELEMENTWISE))
    return InputValueError(f"selection {text!r}", shown, f"{EXAMPLE}; functions are {functions}")


def _visit(node: ast.expr, value_of: Callable[[str], _Value], text: str) -> None:
    """Refuse whatever is not part of the grammar, and ask for each column."""
    match node:
        case ast.Constant(value=bool() | int() | float()):
            return
        case ast.Name(id=name):
            value_of(name)
        case ast.Attribute(value=ast.Name(id=first), attr=second):
            value_of(f"{first}.{second}")
        case ast.BoolOp(values=values):
            _visit_all(values, value_of, text)
        case ast.UnaryOp(operand=operand):
            _visit(operand, value_of, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            _visit_all([left, right], value_of, text)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARE for op in ops):
            _visit_all([left, *others], value_of, text)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            _check_call(node, name, len(arguments), text)
            _visit_all(arguments, value_of, text)
        case ast.Subscript(value=inner, slice=ast.Constant(value=int(position))) if 0 <= position < 1000:
            _visit(inner, value_of, text)
        case _:
            raise _refused(node, text)


def _visit_all(nodes: list[ast.expr], value_of: Callable[[str], _Value], text: str) -> None:
    for node in nodes:
        _visit(node, value_of, text)


def _check_call(node: ast.expr, name: str, arguments: int, text: str) -> None:
    if name not in REDUCERS and name not in ELEMENTWISE:
        raise _refused(node, text, f"{name!r} is no function here")
    wanted = 2 if name in TWO_ARGUMENTS else 1
    if arguments != wanted:
        raise _refused(node, text, f"{name} takes {wanted} argument{'s' if wanted > 1 else ''}, not {arguments}")


def _evaluate(node: ast.expr, value_of: Callable[[str], _Value], text: str) -> _Value:
    """The value of an expression that ``_visit`` has accepted."""

    def of(inner: ast.expr) -> _Value:
        return _evaluate(inner, value_of, text)

    match node:
        case ast.Constant(value=constant):
            return _Value(np.asarray(constant)[()], None)
        case ast.Name(id=name):
            return value_of(name)
        case ast.Attribute(value=ast.Name(id=first), attr=second):
            return value_of(f"{first}.{second}")
        case ast.BoolOp(op=op, values=values):
            together = (lambda a, b: a & b) if isinstance(op, ast.And) else (lambda a, b: a | b)
            total = _truth(of(values[0]), values[0], text)
            for inner in values[1:]:
                total = _joined(together, total, _truth(of(inner), inner, text), node, text)
            return total
        case ast.UnaryOp(op=op, operand=operand):
            return _unary(op, of(operand), operand, text)
        case ast.BinOp(left=left, op=op, right=right):
            return _joined(BINARY[type(op)], of(left), of(right), node, text)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared([of(inner) for inner in (left, *others)], ops, node, text)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            values_of = [of(inner) for inner in arguments]
            if name in REDUCERS:
                return _reduced(name, values_of[0], node, text)
            if len(values_of) == 2:
                return _joined(ELEMENTWISE[name], values_of[0], values_of[1], node, text)
            return _applied(ELEMENTWISE[name], values_of[0], node, text)
        case ast.Subscript(value=inner, slice=ast.Constant(value=int(position))):
            return _at(of(inner), position, node, text)
    raise _refused(node, text)


def _unary(op: ast.unaryop, value: _Value, operand: ast.expr, text: str) -> _Value:
    if isinstance(op, ast.Not):
        return _Value(~_truth(value, operand, text).array, value.collection)
    apply = {ast.Invert: lambda a: ~a, ast.USub: lambda a: -a}.get(type(op), lambda a: a)
    return _applied(apply, value, operand, text)


def _applied(function: Callable[[Any], Any], value: _Value, node: ast.expr, text: str) -> _Value:
    try:
        return _Value(function(value.array), value.collection)
    except (TypeError, ValueError) as error:
        raise _refused(node, text, f"{ast.unparse(node)!r} is of a type that this cannot be done with") from error


def _compared(values: list[_Value], ops: list[ast.cmpop], node: ast.expr, text: str) -> _Value:
    total: _Value | None = None
    for first, op, second in zip(values, ops, values[1:], strict=False):
        found = _joined(COMPARE[type(op)], first, second, node, text)
        total = found if total is None else _joined(lambda a, b: a & b, total, found, node, text)
    assert total is not None  # noqa: S101  # a comparison has at least one operator
    return total


def _joined(op: Callable[[Any, Any], Any], first: _Value, second: _Value, node: ast.expr, text: str) -> _Value:
    both = {first.collection, second.collection} - {None}
    if len(both) > 1:
        names = " and ".join(sorted(map(str, both)))
        raise _refused(node, text, f"{ast.unparse(node)!r} joins objects of {names}, which differ in number")
    try:
        return _Value(op(first.array, second.array), first.collection or second.collection)
    except (TypeError, ValueError) as error:
        told = (
            f"{ast.unparse(node)!r} cannot be computed; put comparisons beside & and | in parentheses, or use and, or"
        )
        raise _refused(node, text, told) from error


def _truth(value: _Value, node: ast.expr, text: str) -> _Value:
    flat = ak.flatten(value.array, axis=None) if value.collection else value.array
    if np.asarray(flat).dtype != np.bool_:
        raise _refused(node, text, f"{ast.unparse(node)!r} is a number where true or false is needed")
    return value


def _reduced(name: str, value: _Value, node: ast.expr, text: str) -> _Value:
    if value.collection is None:
        raise _refused(node, text, f"{ast.unparse(node)!r} needs a value per object, such as Jet.pt")
    array = value.array
    is_truth = np.asarray(ak.flatten(array, axis=None)).dtype == np.bool_
    if name in ("any", "all"):
        _truth(value, node, text)
        return _Value(np.asarray(getattr(ak, name)(array, axis=1)), None)
    if name == "count":
        return _Value(np.asarray(ak.sum(array, axis=1) if is_truth else ak.num(array, axis=1)), None)
    if name == "sum":
        return _Value(np.asarray(ak.sum(array, axis=1)), None)
    extreme = getattr(ak, name)(array, axis=1, mask_identity=True)
    return _Value(np.asarray(ak.fill_none(extreme, np.nan)), None)


def _at(value: _Value, position: int, node: ast.expr, text: str) -> _Value:
    if value.collection is None:
        raise _refused(node, text, f"{ast.unparse(node)!r} needs a value per object, such as Jet.pt[0]")
    padded = ak.pad_none(value.array, position + 1, axis=1)[:, position]
    is_truth = np.asarray(ak.flatten(value.array, axis=None)).dtype == np.bool_
    return _Value(np.asarray(ak.fill_none(padded, False if is_truth else np.nan)), None)
