"""``darkop datasets query``: ask the CERN Open Data portal and the ATLAS Open Data service for records."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from darkop_dist.catalogue import atlas_service, portal
from darkop_dist.catalogue.portal_record import dataset_of
from darkop_dist.catalogue.write import write_record_file
from darkop_dist.cli.console import OUT
from darkop_dist.cli.datasets_shown import count, size
from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import InputValueError, UnknownNameError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Ask a public service for records; write them to a file that `catalogue` and --catalogue take up.",
)

OutputOption = Annotated[Path | None, typer.Option(help="Record file to write, ending in .json.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the record file.")]
TimeOutOption = Annotated[float, typer.Option("--time-out", min=0.1, help="Longest silence in seconds.")]
NameOption = Annotated[str | None, typer.Option(help="Name of the dataset, if one is asked for.")]


@app.command("cern")
def cern(
    asked: Annotated[
        list[str], typer.Argument(help="Numbers of records, or words to search for.", metavar="RECORD...")
    ],
    output: OutputOption = None,
    index: Annotated[
        str | None, typer.Option(help="Pattern over a record's file indexes; all files by default.")
    ] = None,
    name: NameOption = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="Most records of a search.")] = 20,
    server: Annotated[str, typer.Option(envvar="DARKOP_CERN_OPENDATA", help="Address of the portal.")] = portal.ADDRESS,
    time_out: TimeOutOption = portal.TIME_OUT_S,
    force: ForceOption = False,
) -> None:
    """Ask the CERN Open Data portal: numbers give records with files, words are searched for."""
    asking = portal.Portal(server.rstrip("/"), time_out)
    if not all(word.isdigit() for word in asked):
        if output is not None:
            raise InputValueError(
                " ".join(asked),
                "is a search, which writes no file",
                "Ask for the numbers of the records that it finds.",
            )
        _print_hits(asking, " ".join(asked), most)
        return
    _require_one(asked, name)
    records = [dataset_of(portal.read_portal_record(asking, int(recid), index), name) for recid in asked]
    _finish(records, output, force=force, source=f"CERN Open Data portal ({server})")


@app.command("atlas")
def atlas(
    asked: Annotated[list[str], typer.Argument(help="DSIDs or short names of samples.", metavar="SAMPLE...")],
    output: OutputOption = None,
    release: Annotated[str, typer.Option(help="Release of ATLAS open data.")] = atlas_service.RELEASE,
    skim: Annotated[str, typer.Option(help="Skim of the release.")] = "noskim",
    name: NameOption = None,
    server: Annotated[
        str, typer.Option(envvar="ATLAS_API_BASE_URL", help="Address of the service.")
    ] = atlas_service.ADDRESS,
    time_out: TimeOutOption = atlas_service.TIME_OUT_S,
    force: ForceOption = False,
) -> None:
    """Ask the ATLAS Open Data service for samples (needs the extra darkop-dist[access])."""
    _require_one(asked, name)
    address = server.rstrip("/")
    records = [
        atlas_service.ask_atlas(key, release, skim=skim, address=address, timeout_s=time_out, name=name)
        for key in asked
    ]
    _finish(records, output, force=force, source=f"ATLAS Open Data service ({server})")


def _require_one(asked: list[str], name: str | None) -> None:
    if name is not None and len(asked) > 1:
        raise InputValueError(name, f"cannot be the name of {len(asked)} datasets", "Ask for one, or leave --name out.")


def _print_hits(asking: portal.Portal, text: str, most: int) -> None:
    hits, total = portal.search_records(asking, text, most)
    if not hits:
        raise UnknownNameError("record of the portal", text, (), "Nothing has these words: try fewer of them.")
    table = Table(box=None, pad_edge=False)
    for title in ("record", "events", "files", "size"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("title", no_wrap=True, overflow="ellipsis")
    for hit in hits:
        table.add_row(str(hit.recid), count(hit.events), count(hit.files), size(hit.bytes), hit.title)
    OUT.print(table)
    OUT.print(
        f"{len(hits)} of {total} records; `darkop datasets query cern NUMBER --output FILE` writes one", markup=False
    )


def _finish(records: list[DatasetRecord], output: Path | None, *, force: bool, source: str) -> None:
    for record in records:
        number = len(record.files)
        OUT.print(f"{record.name}: {count(record.events)} events, {number:,} files, {size(record.bytes)}", markup=False)
        for doubt in record.uncertain:
            OUT.print(f"  not certain: {doubt.fact}: {doubt.why}", markup=False)
    if output is None:
        OUT.print("nothing was written: --output FILE makes a record file of it", markup=False)
        return
    command = shlex.join(["darkop", *sys.argv[1:]])
    told = f"{source}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    write_record_file(output, records, provenance=told, built_by=command, replace=force)
    OUT.print(f"record for your documents (catalogue: [FILE]): {output}", markup=False)
