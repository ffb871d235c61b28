"""``darkop generate``: events on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darkop_dist.cli.console import OUT
from darkop_dist.cli.process import print_parameters, validate_one
from darkop_dist.cli.validation import validate_card
from darkop_dist.errors import InputFileError, OutputError, UnknownNameError

if TYPE_CHECKING:
    from darkop_dist.config import Execution
    from darkop_dist.generation.plan import Measurement, PartPlan
    from darkop_dist.generation.record import GeneratedSample

INTERRUPTED = 130
Settings = Mapping[str, float | int | str]


def generate(
    name: Annotated[
        str | None,
        typer.Argument(help="Name of the process, or a file .lhe or .lhe.gz; 'list' shows all.", metavar="PROCESS"),
    ] = None,
    events: Annotated[
        int | None, typer.Option(help="Number of events; 1000 by default, of a file all.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write, ending in .root; with --validate a directory.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value that replaces a parameter; may be repeated.")
    ] = None,
    shower: Annotated[
        Path | None, typer.Option(help="Of an LHE file: Pythia's settings of shower and matching, a line each.")
    ] = None,
    response: Annotated[str, typer.Option(help="Response card of the detector: cms or atlas.")] = "cms",
    pileup: Annotated[
        str | None,
        typer.Option(help="Further collisions: a mean number, a file of lines 'mean weight', or cms-2016."),
    ] = None,
    candidates: Annotated[
        bool, typer.Option("--candidates", help="Write the measured particles too, in the layout of PFNano.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes to use; the events do not depend on it.")] = 1,
    where: Annotated[
        str, typer.Option(help="local, dask, dask://HOST:PORT, slurm, ..., as execution.where in a document.")
    ] = "local",
    cluster: Annotated[
        list[str] | None, typer.Option(help="key=value of execution.cluster, such as memory='2 GB'; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what a run that did not end has made.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Time a few events and say what all of them would take; generate nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file, and what is left of a run.")
    ] = False,
    validate: Annotated[
        bool,
        typer.Option(
            "--validate", help="A page of figures: a process beside what is expected of it, or the response card."
        ),
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Show the parameters of the process, and stop.")] = False,
) -> None:
    """Generate events with Pythia 8 and write them in NanoAOD layout."""
    from darkop_dist.generation.pileup_profile import read_profile
    from darkop_dist.generation.plan import Measurement
    from darkop_dist.generation.sample import write_sample
    from darkop_dist.stages.generation import execution_settings

    parameters = dict(map(setting, settings or []))
    if validate and name is None:
        validate_card(response, output, events=events, seed=seed, workers=workers, force=force)
        return
    if name is None:
        raise typer.BadParameter("Name a process or a file, or use --validate.", param_hint="PROCESS")
    if name == "list" or show:
        _show(name)
        return
    if validate:
        validate_one(name, output or Path(), events=events, seed=seed, settings=parameters, force=force)
        return
    target = output or Path(f"{Path(name).name.removesuffix('.gz').removesuffix('.lhe')}.root")
    on = execution_settings(where, workers, dict(map(setting, cluster or [])))
    if not plan and target.exists() and not force:
        raise OutputError(f"{target}: exists already. Choose another file, or replace it with --force.")
    measurement = Measurement(response, None if pileup is None else read_profile(pileup), candidates)
    plans, variations = _planned(name, events, seed, parameters, shower, measurement)
    if plan:
        _say_plan(plans, on)
        return
    _say_pool(measurement)
    make = partial(write_sample, plans, target, seed=seed, variations=variations, overwrite=force)
    _say_made(_watched(make, plans, target, on, resume=resume, force=force))


def _show(name: str) -> None:
    """All processes, or one."""
    from darkop_dist.generation.process import list_processes

    if name != "list":
        print_parameters(name)
        return
    for process in list_processes():
        OUT.print(f"{process.name}: {process.title} ({', '.join(process.parameters)})", markup=False)


def _planned(
    name: str,
    events: int | None,
    seed: int,
    settings: Settings,
    shower: Path | None,
    measurement: Measurement,
) -> tuple[tuple[PartPlan, ...], Mapping[str, str]]:
    """The parts of a sample, and what its columns of variations are."""
    from darkop_dist.generation.lhe import is_lhe, read_lhe, variation_columns
    from darkop_dist.generation.plan import plan_parts, plan_shower

    if is_lhe(name):
        if settings:
            raise UnknownNameError(
                "parameter of an LHE file", next(iter(settings)), (), "Give Pythia's lines with --shower."
            )
        lhe = read_lhe(Path(name))
        plans = plan_shower(lhe, events, seed=seed, lines=_lines(shower), measurement=measurement)
        return plans, variation_columns(lhe)
    if shower is not None:
        raise UnknownNameError("option of a process", "--shower", (), "It is for LHE files; use --set.")
    count = 1000 if events is None else events
    return plan_parts(name, count, seed=seed, settings=settings, measurement=measurement), {}


def _say_pool(measurement: Measurement) -> None:
    from darkop_dist.generation.pileup import is_pooled
    from darkop_dist.runs import cache_directory

    pileup = measurement.pileup
    if pileup is not None and not is_pooled(pileup.pool_events, cache_directory()):
        OUT.print(f"making the pool of {pileup.pool_events} soft collisions, once", markup=False)


def _say_made(made: GeneratedSample) -> None:
    from darkop_dist.generation.record import has_cross_section, left_out, write_record

    OUT.print(
        f"{made.file}: {made.events} events in {made.wall_s:.1f} s, cross section {made.xsec_pb:.4g} "
        f"+- {made.xsec_error_pb:.2g} pb",
        markup=False,
    )
    if not has_cross_section(made.recipe):
        OUT.print("note: this cross section is not to be used, see --show; set xsec_pb in the record", markup=False)
    if made.failed:
        OUT.print(f"note: {left_out(made).removesuffix('; ')}", markup=False)
    OUT.print(f"record for your documents (catalogue: [FILE]): {write_record(made)}", markup=False)


def _watched(
    make: Callable[..., GeneratedSample],
    plans: tuple[PartPlan, ...],
    target: Path,
    on: Execution,
    *,
    resume: bool,
    force: bool,
) -> GeneratedSample:
    """Generate with a bar, and leave on Ctrl-C with a word on what is kept."""
    from darkop_dist.cli.console import ERR
    from darkop_dist.cli.generating import generation_bar
    from darkop_dist.execution.parts import PartsWatch
    from darkop_dist.stages.generation import kept_parts

    try:
        with generation_bar(plans[0].process, sum(part.events for part in plans)) as bar:
            watch = PartsWatch(bar.say, bar.done, lambda link: bar.say(f"dashboard: {link}"))
            with kept_parts(target, on, resume=resume, force=force, watch=watch) as make_parts:
                return make(make_parts=make_parts)
    except KeyboardInterrupt as stopped:
        if not stopped.args:
            raise
        ERR.print(f"error: {stopped}", markup=False)
        raise SystemExit(INTERRUPTED) from stopped


def _say_plan(plans: tuple[PartPlan, ...], on: Execution) -> None:
    from darkop_dist.generation.rates import forecast, measure_rates

    for line in forecast(plans, measure_rates(plans), on.workers):
        OUT.print(line, markup=False)


def _lines(file: Path | None) -> tuple[str, ...]:
    """Pythia's lines in a file, without comments."""
    if file is None:
        return ()
    try:
        found = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(str(file), f"cannot be read ({error})", "Correct --shower") from error
    return tuple(line.strip() for line in found if line.strip() and line.strip()[0] not in "!#")


def setting(text: str) -> tuple[str, float | int | str]:
    """A pair ``key=value`` of the command line.

    Raises:
        UnknownNameError: it is none.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise UnknownNameError("setting", text, (), "Write it as key=value.")
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value
