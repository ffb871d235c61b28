"""``darkop chunk``: one chunk of a search, alone and under a debugger."""

from __future__ import annotations

import pdb  # noqa: T100  # what --debug is for
from pathlib import Path
from typing import Annotated

import typer

from darkop_dist.cli.console import OUT
from darkop_dist.errors import EXIT_FAILURE, ChunkError


def chunk(
    document: Annotated[Path, typer.Argument(help="The analysis document (YAML).", metavar="DOCUMENT")],
    index: Annotated[int, typer.Argument(help="The chunk's number, as messages and ledger.json give it.")],
    debug: Annotated[bool, typer.Option("--debug", help="Stop in the debugger where the processor fails.")] = False,
    output: Annotated[Path | None, typer.Option(help="Directory of the run, for its trained operator.")] = None,
) -> None:
    """Process one chunk of a search here, without keeping anything."""
    from darkop_dist.stages.one_chunk import rerun_chunk

    try:
        entry = rerun_chunk(document, index, output=output)
    except ChunkError as error:
        if not debug or error.__cause__ is None:
            raise
        OUT.print(error.problem, markup=False)
        pdb.post_mortem(error.__cause__.__traceback__)
        raise typer.Exit(EXIT_FAILURE) from error
    OUT.print(f"{entry.status}: {entry.file} [{entry.start}:{entry.stop}] {entry.reason}".rstrip(), markup=False)
    selected = ", ".join(f"{region} {events}" for region, events in entry.selected.items()) or "none"
    OUT.print(
        f"{entry.entries} entries in {entry.wall_s:.2f} s, {entry.read_s:.2f} s of them reading; selected: {selected}",
        markup=False,
    )
