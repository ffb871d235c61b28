"""``darkop export``: limits and likelihoods for HEPData, Combine and pyhf; a run as a package (RO-Crate)."""

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
    to: Annotated[str, typer.Option("--to", help="hepdata, combine, patchset, pyhf or rocrate.")],
    output: Annotated[Path, typer.Option(help="Directory to make; for rocrate also a .zip file.")],
    label: Annotated[
        list[str] | None, typer.Option(help="Axis of a grid of signals, such as m_zprime; may be repeated.")
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option(help="SIGNAL=NUMBER[,NUMBER] on those axes; may be repeated.")
    ] = None,
    with_inputs: Annotated[
        bool, typer.Option("--with-inputs", help="rocrate: copy the local input files into the package.")
    ] = False,
    licence: Annotated[
        str, typer.Option(help="rocrate: licence of the package, such as CC-BY-4.0; none is stated otherwise.")
    ] = "",
    accept_loss: Annotated[
        list[str] | None, typer.Option(help="rocrate: dataset whose lost events are accepted; may be repeated.")
    ] = None,
) -> None:
    """Write limits and likelihoods for other programs, or a run as a package that darkop reproduce runs again."""
    if to == "rocrate":
        if label or point:
            raise UserError("--label and --point belong to grids of signals: a package takes neither")
        _export_package(sources, output, with_inputs=with_inputs, licence=licence, accept_loss=accept_loss or [])
        return
    if with_inputs or licence or accept_loss:
        raise UserError("--with-inputs, --licence and --accept-loss belong to --to rocrate")
    from darkop_dist.stages.export import Export
    from darkop_dist.stages.export import export as write

    points = dict(map(_point, point or []))
    made = write(Export(tuple(sources), to, output, tuple(label or ()), points or None))
    for note in made.notes:
        OUT.print(f"note: {note}", markup=False)
    for name in sorted(made.files):
        OUT.print(f"{output / name}", markup=False)


def _export_package(
    sources: list[Path], output: Path, *, with_inputs: bool, licence: str, accept_loss: list[str]
) -> None:
    from darkop_dist.cli.console import monitored
    from darkop_dist.stages.preservation import PackageRequest, write_package

    if len(sources) != 1:
        raise UserError("a package holds one run: name one run directory")
    request = PackageRequest(sources[0], output, with_inputs, licence, tuple(accept_loss))
    with monitored() as monitor:
        made = write_package(request, monitor.say)
    for note in made.notes:
        OUT.print(f"note: {note}", markup=False)
    OUT.print(f"{len(made.files)} files, SHA-256 of the metadata {made.sha256}", markup=False)
    OUT.print(f"{output}", markup=False)


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
