"""``darkop generate PROCESS --show`` and ``--validate``: what may be set, and whether events are as they should be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from darkop_dist.cli.console import OUT
from darkop_dist.generation.process import Parameter, load_process

EVENTS = 3000


def print_parameters(name: str) -> None:
    """Print a process and a table of its parameters."""
    process = load_process(name)
    table = Table("parameter", "default", "allowed", "meaning", box=None)
    for key, parameter in process.parameters.items():
        table.add_row(key, f"{parameter.default}", _allowed(parameter), parameter.meaning)
    OUT.print(f"{process.name}: {process.title}\n{process.description}", markup=False)
    OUT.print(table)
    OUT.print(f"Reference: {process.reference}\nApproximations: {process.approximations}", markup=False)


def _allowed(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(parameter.choices)
    unit = f" {parameter.unit}" if parameter.unit else ""
    above = f", above {parameter.above}" if parameter.above else ""
    return f"{parameter.minimum:g} to {parameter.maximum:g}{unit}{above}"


def validate_one(
    name: str, folder: Path, *, events: int | None, seed: int, settings: Mapping[str, float | int | str], force: bool
) -> None:
    """Write the page of a process and print what its figures say."""
    from darkop_dist.stages.process_validation import write_process_validation

    page, found = write_process_validation(
        name, folder, events=EVENTS if events is None else events, seed=seed, settings=settings, force=force
    )
    for spectrum in found.spectra:
        OUT.print(f"{spectrum.title}: {spectrum.verdict or 'see the figure'}", markup=False)
    OUT.print(f"page: {page}", markup=False)
