"""Processes: what Pythia is told to generate, and which of its numbers a user may set."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from darkop_dist.errors import InputValueError, UnknownNameError

PROCESS_DIRECTORY = Path(__file__).parent / "processes"


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
        settings: Pythia's lines, with ``{value}`` where the value goes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    meaning: str
    default: float | str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    above: str | None = None
    unit: str = ""
    settings: tuple[str, ...]


class Process(BaseModel):
    """A process that can be generated.

    Attributes:
        name: the name that commands and dataset records use.
        title: one line for people.
        label: how plots name it; LaTeX between dollar signs.
        description: what is generated.
        matrix_elements: ``pythia`` for its built-in ones, ``spin-1-mediator`` for those of `mediator`.
        settings: Pythia's lines that the process always has.
        parameters: what a user may set, by name.
        reference: the paper that describes it.
        approximations: what is missing or simplified.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    label: str
    description: str
    matrix_elements: Literal["pythia", "spin-1-mediator"] = "pythia"
    settings: tuple[str, ...]
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

    Args:
        process: the process.
        settings: values that replace the defaults of its parameters.

    Returns:
        The process's own lines, then those of its parameters.

    Raises:
        UnknownNameError: a setting is no parameter of the process; gives the nearest names.
        InputValueError: a value is no number, out of range, not among the choices, or not above another that it must
            exceed.
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
    own = [line.format(value=values[name]) for name, p in process.parameters.items() for line in p.settings]
    return (*process.settings, *own)


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
