"""``darkop check``: what can be known of a run before it begins."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from darkop_dist.cli.console import ERR, OUT
from darkop_dist.errors import EXIT_USER

if TYPE_CHECKING:
    from darkop_dist.stages.preflight import Finding

WIDTH_OF_FILES = 100
COLOURS = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


def check(
    document: Annotated[Path, typer.Argument(help="The analysis document (YAML).", metavar="DOCUMENT")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    cluster: Annotated[bool, typer.Option("--cluster/--no-cluster", help="Start or find workers and ask them.")] = True,
) -> None:
    """Check a run before it begins: document, files, columns, scorer, workers, memory, time, space and access."""
    from darkop_dist.stages.preflight import check_all

    with ERR.status("reading the document") as status:
        findings = check_all(document, cluster=cluster, say=status.update)
    failed = [finding for finding in findings if finding.status == "failed"]
    if as_json:
        body = {"document": str(document), "ready": not failed, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(body, indent=1) + "\n")
    else:
        OUT.print(table_of(findings), soft_wrap=False, width=OUT.width if OUT.is_terminal else WIDTH_OF_FILES)
        warnings = sum(finding.status == "warning" for finding in findings)
        verdict = f"{len(failed)} failed" if failed else "ready to run"
        OUT.print(f"{document}: {verdict}" + (f", {warnings} to look at" if warnings else ""), markup=False)
    if failed:
        raise typer.Exit(EXIT_USER)


def table_of(findings: Sequence[Finding]) -> Table:
    """The findings as people read them."""
    table = Table(Column("check", no_wrap=True), Column("of", max_width=24), Column("", no_wrap=True), "found")
    previous = ""
    for finding in findings:
        colour = COLOURS[finding.status]
        text = escape(finding.message)
        if finding.what_to_do:
            text += f"\n[{colour}]→ {escape(finding.what_to_do)}[/]"
        name = finding.check if finding.check != previous else ""
        table.add_row(name, escape(finding.subject), f"[{colour}]{finding.status}[/]", text)
        previous = finding.check
    return table
