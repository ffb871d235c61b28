"""``darkop export``: limits and likelihoods for HEPData, Combine and pyhf."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darkop_dist.cli.console import OUT
from darkop_dist.errors import UserError


def export(
    sources: Annotated[
        list[Path],
        typer.Argument(help="A run directory, workspaces in pyhf's JSON, or datacards (.txt).", metavar="RUN"),
    ],
    to: Annotated[str, typer.Option("--to", help="hepdata, combine, patchset or pyhf.")],
    output: Annotated[Path, typer.Option(help="Directory to make.")],
    label: Annotated[
        list[str] | None, typer.Option(help="Axis of a grid of signals, such as m_zprime; may be repeated.")
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option(help="SIGNAL=NUMBER[,NUMBER] on those axes; may be repeated.")
    ] = None,
) -> None:
    """Write limits and likelihoods for other programs."""
    from darkop_dist.stages.export import Export
    from darkop_dist.stages.export import export as write

    points = dict(map(_point, point or []))
    made = write(Export(tuple(sources), to, output, tuple(label or ()), points or None))
    for note in made.notes:
        OUT.print(f"note: {note}", markup=False)
    for name in sorted(made.files):
        OUT.print(f"{output / name}", markup=False)


def _point(text: str) -> tuple[str, tuple[float, ...]]:
    signal, equals, numbers = text.partition("=")
    try:
        values = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        equals = ""
        values = ()
    if not equals:
        raise UserError(f"the point {text!r} cannot be read; write it as SIGNAL=NUMBER, such as zprime=2000")
    return signal, values
