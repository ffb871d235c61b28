"""Processes: what Pythia is told to generate, and which of its numbers a user may set."""

from __future__ import annotations

import ast
import operator
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from darkop_dist.errors import InputValueError, UnknownNameError
from darkop_dist.generation.own_lines import own_line

PROCESS_DIRECTORY = Path(__file__).parent / "processes"
ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Parameter(BaseModel):
    """A number or a choice of a process that a user may set.

    Attributes:
        meaning: what it is.
        default: value if nothing is set.
        minimum: smallest number allowed.
        maximum: largest number allowed.
        choices: the words allowed; empty for a number.
        above: a parameter that must be smaller than this one.
        unit: unit of the number; empty if it has none.
        settings: Pythia's lines, with ``{value}`` where the value goes; see ``pythia_lines``.
        choice_settings: further lines of each choice.
        choice_slha: what each choice adds to the process's spectrum.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    meaning: str
    default: float | str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    above: str | None = None
    unit: str = ""
    settings: tuple[str, ...] = ()
    choice_settings: dict[str, tuple[str, ...]] = {}
    choice_slha: dict[str, str] = {}


class Process(BaseModel):
    """A process that can be generated.

    Attributes:
        name: the name that commands and dataset records use.
        title: one line for people.
        label: how plots name it; LaTeX between dollar signs.
        description: what is generated.
        matrix_elements: ``pythia`` for its built-in ones, ``spin-1-mediator`` for those of `mediator`.
        settings: Pythia's lines that the process always has; see ``pythia_lines``. Lines that begin with ``darkop:``
            are not for Pythia but for `suep`, `black_hole` or `recoil`.
        slha: a supersymmetric spectrum in the format of the SUSY Les Houches Accord, hep-ph/0311123, with braces as in
            the lines; empty for none.
        parameters: what a user may set, by name.
        part_factor: how many times more events a part has than that of other processes: more where events are small and
            Pythia takes long to start.
        cross_section: ``pythia`` if Pythia's is right at its order, ``unknown`` if it is not to be used.
        reference: the paper that describes it.
        approximations: what is missing or simplified.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    label: str
    description: str
    matrix_elements: Literal["pythia", "spin-1-mediator"] = "pythia"
    part_factor: int = 1
    cross_section: Literal["pythia", "unknown"] = "pythia"
    settings: tuple[str, ...]
    slha: str = ""
    parameters: dict[str, Parameter]
    reference: str
    approximations: str


def process_file(name: str) -> Path:
    """The TOML file of a process.

    Raises:
        UnknownNameError: there is no such process; gives the nearest names.
    """
    known = sorted(path.stem for path in PROCESS_DIRECTORY.glob("*.toml"))
    if name not in known:
        raise UnknownNameError("process", name, known, f"Processes: {', '.join(known)}.")
    return PROCESS_DIRECTORY / f"{name}.toml"


def load_process(name: str) -> Process:
    """Read a process.

    Raises:
        UnknownNameError: there is no such process; gives the nearest names.
    """
    return Process.model_validate({"name": name, **tomllib.loads(process_file(name).read_text(encoding="utf-8"))})


def list_processes() -> tuple[Process, ...]:
    """All processes, by name."""
    return tuple(load_process(path.stem) for path in sorted(PROCESS_DIRECTORY.glob("*.toml")))


def pythia_lines(process: Process, settings: Mapping[str, float | int | str]) -> tuple[str, ...]:
    """All lines that Pythia reads for a process.

    Braces in a line hold the name of a parameter, or sums, differences, products and quotients of such numbers:
    ``4900101:m0 = {dark_mass / 2}``. In a parameter's own lines ``value`` is that parameter.

    Args:
        process: the process.
        settings: values that replace the defaults of its parameters.

    Returns:
        The process's own lines, then those of its parameters, then its spectrum as lines of our own.

    Raises:
        UnknownNameError: a setting is no parameter of the process; gives the nearest names.
        InputValueError: a value is no number, out of range, not among the choices, or not above another that it must
            exceed.
    """
    values = parameter_values(process, settings)
    lines = [filled(line, values) for line in process.settings]
    for name, parameter in process.parameters.items():
        known = {**values, "value": values[name]}
        chosen = parameter.choice_settings.get(values[name], ())
        lines += [filled(line, known) for line in (*parameter.settings, *chosen)]
    spectrum = process.slha + "".join(
        parameter.choice_slha.get(values[name], "") for name, parameter in process.parameters.items()
    )
    lines += [own_line("slha", filled(line, values)) for line in spectrum.splitlines() if line.strip()]
    return tuple(lines)


def parameter_values(process: Process, settings: Mapping[str, float | int | str]) -> dict[str, str]:
    """Values of all parameters of a process, checked, as words.

    Raises:
        UnknownNameError, InputValueError: see ``pythia_lines``.
    """
    for name in settings:
        if name not in process.parameters:
            raise UnknownNameError(
                f"parameter of the process {process.name}",
                name,
                process.parameters,
                f"Parameters: {', '.join(process.parameters)}.",
            )
    values = {
        name: _checked(f"{process.name}: {name}", parameter, settings.get(name, parameter.default))
        for name, parameter in process.parameters.items()
    }
    for name, parameter in process.parameters.items():
        if parameter.above is not None and float(values[name]) <= float(values[parameter.above]):
            raise InputValueError(
                f"{process.name}: {name}",
                f"{values[name]} is not above {parameter.above}, {values[parameter.above]}",
                f"Raise {name} or lower {parameter.above}.",
            )
    return values


def filled(line: str, values: Mapping[str, str]) -> str:
    """A line with its braces worked out.

    Args:
        line: see ``pythia_lines``.
        values: words and numbers by name.

    >>> filled("51:m0 = {(1 - r) / 4}", {"r": "0.5"})
    '51:m0 = 0.125'
    """

    def worked_out(found: re.Match[str]) -> str:
        text = found[1].strip()
        return values[text] if text in values else repr(_number(ast.parse(text, mode="eval").body, values))

    return re.sub(r"\{([^{}]+)\}", worked_out, line)


def _number(term: ast.expr, values: Mapping[str, str]) -> float:
    match term:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return float(values[name])
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in ARITHMETIC:
            return ARITHMETIC[type(operation)](_number(left, values), _number(right, values))
    raise ValueError(f"{ast.unparse(term)} is no arithmetic of parameters")


def _checked(thing: str, parameter: Parameter, value: float | str) -> str:
    if parameter.choices:
        word = {True: "on", False: "off"}.get(value, "") if isinstance(value, bool) else str(value)
        if word not in parameter.choices:
            raise InputValueError(thing, f"{value} is not a choice", f"Use one of: {', '.join(parameter.choices)}.")
        return word
    low = float("-inf") if parameter.minimum is None else parameter.minimum
    high = float("inf") if parameter.maximum is None else parameter.maximum
    unit = f" {parameter.unit}" if parameter.unit else ""
    allowed = f"Use a number between {low:g} and {high:g}{unit}."
    try:
        number = float(value)
    except ValueError as error:
        raise InputValueError(thing, f"{value!r} is not a number", allowed) from error
    if not low <= number <= high:  # also refuses NaN
        raise InputValueError(thing, f"{number:g}{unit} is out of range", allowed)
    return repr(number)
