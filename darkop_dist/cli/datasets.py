"""``darkop datasets``: what the catalogue knows."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from darkop_dist.catalogue.file_lists import with_files
from darkop_dist.catalogue.files import how_to_list
from darkop_dist.catalogue.filters import select_datasets
from darkop_dist.catalogue.search import Catalogue, known_patterns, load_catalogue
from darkop_dist.cli import completion, datasets_query
from darkop_dist.cli.console import OUT
from darkop_dist.cli.datasets_shown import dataset_table, described
from darkop_dist.config.datasets import DatasetFile, DatasetRecord, is_pattern
from darkop_dist.errors import InputFileError, UnknownNameError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Datasets of the catalogue.")
app.add_typer(datasets_query.app, name="query")

CatalogueOption = Annotated[
    list[Path] | None, typer.Option("--catalogue", help="Own record file, TOML or JSON; may be repeated.")
]
NameArgument = Annotated[
    str, typer.Argument(help="Name of a dataset, or a pattern.", autocompletion=completion.dataset_names)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command("list")
def list_datasets(
    pattern: Annotated[
        str | None,
        typer.Argument(
            help="Pattern over names such as 'cms-2016?-*', or text in a name or title.",
            autocompletion=completion.dataset_names,
        ),
    ] = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option(help="CMS, ATLAS or simulation; may be repeated.", autocompletion=completion.experiments),
    ] = None,
    year: Annotated[list[int] | None, typer.Option(help="Year of data taking; may be repeated.")] = None,
    data_type: Annotated[
        str | None, typer.Option("--type", help="data or simulation.", autocompletion=completion.kinds)
    ] = None,
    file_format: Annotated[
        list[str] | None,
        typer.Option("--format", help="Layout of the files; may be repeated.", autocompletion=completion.formats),
    ] = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the datasets."""
    known = load_catalogue(catalogue or ())
    found = select_datasets(
        known,
        experiment=experiment or None,
        years=year or None,
        data_type=data_type,
        formats=file_format or None,
        pattern=pattern,
    )
    if pattern is not None and not select_datasets(known, pattern=pattern):
        what_to_do = "Text is looked for in names and titles, a pattern in names; `darkop datasets list` shows all."
        raise UnknownNameError("dataset", pattern, known_patterns(known), what_to_do)
    if as_json:
        _write(_as_json([_listed(record) for record in found]))
        return
    OUT.print(dataset_table(found, OUT.width))
    of = f" of {len(known)}" if len(found) != len(known) else ""
    OUT.print(
        f"{len(found)}{of} datasets; ? marks what is not certain: `darkop datasets show NAME` says why", markup=False
    )


@app.command("show")
def show(name: NameArgument, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Show what is known of a dataset, and what is not certain."""
    found = _named(load_catalogue(catalogue or ()), name)
    if as_json:
        plain = [_plain(with_files(record)) for record in found]
        _write(_as_json(plain if is_pattern(name) else plain[0]))
        return
    for record in found:
        OUT.print(described(record), markup=False)


@app.command("files")
def files(name: NameArgument, catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """List the files of a dataset: address, bytes and adler32 checksum, between tabs; - for what is not known."""
    listed: list[DatasetFile] = []
    for record in _named(load_catalogue(catalogue or ()), name):
        whole = with_files(record)
        if not whole.files:
            raise InputFileError(record.name, "the dataset has no files", how_to_list(record))
        listed += [DatasetFile(uri=file) if isinstance(file, str) else file for file in whole.files]
    if as_json:
        _write(_as_json([file.model_dump(mode="json", exclude_defaults=True) for file in listed]))
        return
    rows = ((file.uri, file.bytes, file.adler32) for file in listed)
    _write("".join("\t".join("-" if cell is None else str(cell) for cell in row) + "\n" for row in rows))


def _named(catalogue: Catalogue, name: str) -> tuple[DatasetRecord, ...]:
    """Records of a name or pattern."""
    return catalogue.match(name) if is_pattern(name) else (catalogue.find(name),)


def _plain(record: DatasetRecord, exclude: set[str] | None = None) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude_none=True, exclude=exclude)


def _listed(record: DatasetRecord) -> dict[str, Any]:
    """A record without its files, and whether the catalogue knows which they are."""
    return _plain(record, exclude={"files", "file_list"}) | {"files_known": bool(record.files or record.file_list)}


def _as_json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


def _write(text: str) -> None:
    """Write to standard output; a reader that has seen enough, such as ``head``, is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
