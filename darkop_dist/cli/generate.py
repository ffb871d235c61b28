"""``darkop generate``: events on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darkop_dist.cli.console import OUT
from darkop_dist.errors import InputFileError, OutputError, UnknownNameError


def generate(
    name: Annotated[
        str,
        typer.Argument(help="Name of the process, or a file .lhe or .lhe.gz; 'list' shows all.", metavar="PROCESS"),
    ],
    events: Annotated[
        int | None, typer.Option(help="Number of events; 1000 by default, of a file all.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write, ending in .root.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value that replaces a parameter; may be repeated.")
    ] = None,
    shower: Annotated[
        Path | None, typer.Option(help="Of an LHE file: Pythia's settings of shower and matching, a line each.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes to use; the events do not depend on it.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Generate events with Pythia 8 and write them in NanoAOD layout."""
    from darkop_dist.generation.lhe import is_lhe
    from darkop_dist.generation.process import list_processes
    from darkop_dist.generation.record import left_out, write_record
    from darkop_dist.generation.sample import generate as generate_sample
    from darkop_dist.generation.sample import shower as shower_file

    if name == "list":
        for process in list_processes():
            OUT.print(f"{process.name}: {process.title}", markup=False)
        return
    target = output or Path(f"{Path(name).name.removesuffix('.gz').removesuffix('.lhe')}.root")
    if target.exists() and not force:
        raise OutputError(f"{target}: exists already. Choose another file, or replace it with --force.")
    if is_lhe(name):
        if settings:
            raise UnknownNameError("parameter of an LHE file", settings[0], (), "Give Pythia's lines with --shower.")
        made = shower_file(
            Path(name), target, seed=seed, events=events, lines=_lines(shower), workers=workers, overwrite=force
        )
    else:
        if shower is not None:
            raise UnknownNameError("option of a process", "--shower", (), "It is for LHE files; use --set.")
        made = generate_sample(
            name,
            1000 if events is None else events,
            target,
            seed=seed,
            settings=dict(map(_setting, settings or [])),
            workers=workers,
            overwrite=force,
        )
    OUT.print(
        f"{made.file}: {made.events} events in {made.wall_s:.1f} s, cross section {made.xsec_pb:.4g} "
        f"+- {made.xsec_error_pb:.2g} pb",
        markup=False,
    )
    if made.failed:
        OUT.print(f"note: {left_out(made).removesuffix('; ')}", markup=False)
    OUT.print(f"record for your documents (catalogue: [FILE]): {write_record(made)}", markup=False)


def _lines(file: Path | None) -> tuple[str, ...]:
    """Pythia's lines in a file, without comments."""
    if file is None:
        return ()
    try:
        found = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(str(file), f"cannot be read ({error})", "Correct --shower") from error
    return tuple(line.strip() for line in found if line.strip() and line.strip()[0] not in "!#")


def _setting(text: str) -> tuple[str, float | int | str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UnknownNameError("setting", text, (), "Write it as key=value.")
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value
