"""``darkop trigger``: samples, students, builds and rates of a hardware trigger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from darkop_dist.cli import trigger_shown
from darkop_dist.cli.console import ERR, OUT
from darkop_dist.cli.generate import setting

if TYPE_CHECKING:
    from darkop_dist.trigger.build.result import Resources
    from darkop_dist.trigger.build.vendor import VendorReport

app = typer.Typer(no_args_is_help=True, help="Hardware triggers: samples, students, builds, rates.")

Conditions = trigger_shown.ConditionsOption
Luminosity = trigger_shown.LuminosityOption
Signals = Annotated[list[Path] | None, typer.Option("--signal", help="Sample of a signal; may be given several times.")]


@app.callback()
def trigger() -> None:
    """Hardware triggers: samples, students, builds, rates."""


@app.command("sample")
def sample(
    output: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    process: Annotated[str | None, typer.Option(help="Signal, as darkop generate knows it; zero bias without.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of the process.")] = None,
    events: Annotated[
        int, typer.Option(help="Events of a signal, or crossings of zero bias without strata.")
    ] = 100_000,
    least: Annotated[int, typer.Option(help="Crossings of each stratum of zero bias at least.")] = 10_000,
    mean_collisions: Annotated[float, typer.Option(help="Mean number of inelastic collisions in a crossing.")] = 56.0,
    soft: Annotated[int, typer.Option(help="Different soft collisions to generate, kept for later samples.")] = 20_000,
    hard: Annotated[int, typer.Option(help="Different hard collisions in each of seven slices.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 1,
    collisions_seed: Annotated[
        int, typer.Option(help="Of the collisions: samples share none of them if theirs differ.")
    ] = 0,
    workers: Annotated[int, typer.Option(help="Processes that generate collisions.")] = 1,
) -> None:
    """Simulate what a trigger sees: zero-bias crossings, or a signal with pile-up."""
    from darkop_dist.runs import cache_directory
    from darkop_dist.trigger.sample import require_new, write_sample
    from darkop_dist.trigger.simulate import Pileup, simulate_signal, simulate_zero_bias

    require_new(output)
    with Progress(transient=True, console=ERR, disable=not ERR.is_terminal) as bars:
        collisions = bars.add_task("collisions, unless they are kept", total=None)
        crossings = bars.add_task("crossings", total=None)
        pileup = Pileup(
            cache_directory(), soft, hard, workers, collisions_seed,
            progress=lambda made: bars.update(collisions, description=f"collisions from {made.low_gev:g} GeV made"),
        )  # fmt: skip

        def progress(done: int, total: int) -> None:
            bars.update(crossings, completed=done, total=total)

        if process is None:
            made = simulate_zero_bias(
                pileup, mean_collisions, crossings=events, least=least, seed=seed, progress=progress
            )
        else:
            chosen = dict(setting(text) for text in settings or [])
            made = simulate_signal(
                pileup, mean_collisions, process, chosen, events=events, seed=seed, progress=progress
            )
    write_sample(made, output)
    OUT.print(
        f"{len(made)} crossings of {made.about.process}, {mean_collisions:g} collisions each: {output}", markup=False
    )


@app.command("train")
def train(
    sample: Annotated[Path, typer.Option(help="Zero bias to learn from.")],
    zero_bias: Annotated[Path, typer.Option(help="Another zero bias, which gives the rates.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    signal: Signals = None,
    teacher: Annotated[str | None, typer.Option(help="Checkpoint of the full operator; trained without.")] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Of students: 16-8-3, autoencoder:8-4-8, regions:2-8-3; may be given several times."),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Of a student's training.")] = 60,
    rate: Annotated[float, typer.Option(help="In Hz, at which students are judged.")] = 1000.0,
    conditions: Conditions = "run2-2018",
    luminosity: Luminosity = 2e34,
    seed: Annotated[int, typer.Option(help="Of all trainings.")] = 3,
) -> None:
    """Distil a full operator into fixed-point networks, along the curve between resources and efficiency."""
    from darkop_dist.errors import InputValueError
    from darkop_dist.operators.checkpoint import find_checkpoint, load_checkpoint
    from darkop_dist.operators.fixed_point_training import QuantisationSettings
    from darkop_dist.trigger.conditions import find_conditions
    from darkop_dist.trigger.distil import Yardstick
    from darkop_dist.trigger.pareto import SHAPES, make_pareto
    from darkop_dist.trigger.sample import read_sample
    from darkop_dist.trigger.shapes import shape_of

    if not signal:
        raise InputValueError("--signal", "none is given", "Give one or more, so that students can be compared")
    found = make_pareto(
        read_sample(sample),
        Yardstick(
            read_sample(zero_bias),
            {path.stem: read_sample(path) for path in signal},
            find_conditions(conditions, luminosity),
            rate,
        ),
        output,
        teacher=None if teacher is None else load_checkpoint(find_checkpoint(teacher)),
        shapes=tuple(map(shape_of, shape)) if shape else SHAPES,
        training=QuantisationSettings(epochs=epochs, float_epochs=epochs // 5, beta_first=1e-8, beta_last=3e-5),
        seed=seed,
        say=lambda text: OUT.print(text, markup=False),
    )
    trigger_shown.show_pareto(found)
    trigger_shown.draw_trained(found, output)


@app.command("build")
def build(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint, or a folder of darkop trigger train.")],
    sample: Annotated[
        Path | None, typer.Option(help="Events to compare scores on; 512 crossings of the package without.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the project to write.")] = Path("firmware"),
    latency_budget: Annotated[float, typer.Option(help="In ns.")] = 25.0,
    most_luts: Annotated[int | None, typer.Option(help="LUTs of the chip that may be used.")] = None,
    backend: Annotated[
        str, typer.Option(help="fpga: Verilog, routed; hls: C++ for a vendor's tool; gpu: ONNX.")
    ] = "fpga",
    events: Annotated[int, typer.Option(help="Events of the comparison.")] = 20_000,
    tool: Annotated[str, typer.Option(help="Of hls: Vitis, Vivado or oneAPI.")] = "Vitis",
    part: Annotated[str | None, typer.Option(help="Of hls: the chip; hls4ml's choice without.")] = None,
    clock_ns: Annotated[float, typer.Option(help="Of hls: period of the clock in ns.")] = 25.0,
    synthesise: Annotated[bool, typer.Option("--synthesise", help="Of hls: run the tool and read its report.")] = False,
) -> None:
    """Build firmware of a checkpoint, or of the best student within a budget: proved bit by bit, timed by a router."""
    from darkop_dist.trigger.build.compile import compile_for_trigger
    from darkop_dist.trigger.build.export import Export
    from darkop_dist.trigger.build.hls import HlsProject

    made = compile_for_trigger(
        checkpoint,
        sample=sample,
        output=output,
        backend=backend,
        latency_budget=latency_budget,
        most_luts=most_luts,
        events=events,
        tool=tool,
        part=part,
        clock_ns=clock_ns,
        synthesise=synthesise,
        say=lambda text: OUT.print(text, markup=False),
    )
    if isinstance(made, HlsProject):
        OUT.print(f"{made.model}: project for {made.tool}, {made.part}, {made.clock_ns:g} ns asked", markup=False)
        if made.report is None:
            OUT.print(f"timing and size: {made.timing_source}", markup=False)
        else:
            _print_report(made.report)
        return
    if isinstance(made, Export):
        for one in made.measured:
            OUT.print(f"batch {one.batch}: {one.latency_us:.1f} us, {one.events_per_s:.3g} events/s ({one.provider})")
        return
    OUT.print(
        f"{made.model}: {made.stages} stage{'s' if made.stages > 1 else ''}, one event a clock, "
        f"{made.clock_mhz:.0f} MHz ({made.fmax_mhz:.1f} reached): {made.latency_ns:.1f} ns, "
        f"{made.bunch_crossings:.2f} bunch crossings, {'within' if made.meets_budget else 'NOT within'} "
        f"{made.latency_budget_ns:g} ns",
        markup=False,
    )
    OUT.print(f"timing: {made.timing_source}", markup=False)
    _print_resources(made.resources)
    if made.efficiency:
        shown = ", ".join(f"{name} {value:.3f} ({made.reference[name]:.3f})" for name, value in made.efficiency.items())
        OUT.print(f"efficiency at {made.rate_hz:g} Hz (of the full operator): {shown}", markup=False)
    OUT.print(made.note, markup=False)


@app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(help="Project of darkop trigger build --backend hls, after the tool ran.")],
    latency_budget: Annotated[float, typer.Option(help="In ns.")] = 25.0,
) -> None:
    """Read what a vendor's tool says of a project: latency, clock, size, with its source."""
    from darkop_dist.trigger.build.vendor import read_report

    _print_report(read_report(folder, latency_budget_ns=latency_budget))


@app.command("parity")
def parity(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint.")],
    sample: Annotated[Path, typer.Option(help="Zero bias, which gives the threshold.")],
    output: Annotated[Path, typer.Option(help="Folder to write: parity.json and Verilog.")],
    signal: Signals = None,
    teacher: Annotated[str | None, typer.Option(help="Checkpoint of the full operator, to compare with.")] = None,
    rate: Annotated[float, typer.Option(help="In Hz, at which efficiencies are compared.")] = 1000.0,
    conditions: Conditions = "run2-2018",
    luminosity: Luminosity = 2e34,
    pool: Annotated[bool, typer.Option(help="Also score in a pool on Ray, started for it on this machine.")] = True,
) -> None:
    """One table of one score: torch, a pool, the emulator and Verilog, equal bit for bit or not."""
    from darkop_dist.errors import RunError
    from darkop_dist.operators.checkpoint import find_checkpoint, load_checkpoint
    from darkop_dist.trigger.build.parity import parity_table
    from darkop_dist.trigger.conditions import find_conditions
    from darkop_dist.trigger.distil import Yardstick
    from darkop_dist.trigger.sample import read_sample

    yardstick = Yardstick(
        read_sample(sample),
        {path.stem: read_sample(path) for path in signal or ()},
        find_conditions(conditions, luminosity),
        rate,
    )
    found = parity_table(
        load_checkpoint(find_checkpoint(checkpoint)),
        yardstick,
        output,
        teacher=None if teacher is None else load_checkpoint(find_checkpoint(teacher)),
        more=pooled_ways(checkpoint) if pool else None,
        say=lambda text: OUT.print(text, markup=False),
    )
    table = Table("way", "scores", "different", "threshold", *yardstick.signals, box=None)
    for row in found.rows:
        different = str(row.different) if row.exact else "need not be equal"
        shown = (f"{value:.4f}" for value in row.efficiency.values())
        table.add_row(row.way, str(row.events), different, f"{row.threshold:.6g}", *shown)
    OUT.print(table)
    if not found.holds:
        raise RunError("scores differ that must be equal. Do not use this model; report it with the checkpoint")


@contextmanager
def pooled_ways(checkpoint: str) -> Iterator[dict[str, Callable[[Any], Any]]]:
    """A pool on this machine, for as long as the block lasts, and how to score in it: over Ray and over HTTP."""
    from darkop_dist.cli.serve import quiet
    from darkop_dist.operators.checkpoint import find_checkpoint
    from darkop_dist.scoring.pool.launch import running_pool
    from darkop_dist.scoring.pool.settings import PoolSettings
    from darkop_dist.scoring.resolve import resolve
    from darkop_dist.scoring.server.listen import Listen

    quiet()
    place = str(find_checkpoint(checkpoint))
    with running_pool(PoolSettings(models={"model": place}, listen=Listen(port=0))) as status:
        logging.getLogger("ray.serve").setLevel(logging.CRITICAL)  # handles of a pool that ends would complain

        def through(serve: str) -> Callable[[Any], Any]:
            scorer = resolve(place, serve)
            return lambda inputs: scorer.score({scorer.inputs[0].name: inputs})

        yield {"served by a pool, Ray": through("ray"), "served by a pool, HTTP": through(status.http)}


@app.command("rates")
def rates(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint.")],
    sample: Annotated[Path, typer.Option(help="Zero bias.")],
    rate: Annotated[float, typer.Option(help="In Hz; gives the threshold.")] = 1000.0,
    threshold: Annotated[float | None, typer.Option(help="Lowest accepted score, instead of a rate.")] = None,
    conditions: Conditions = "run3-high-pileup",
    luminosity: Luminosity = 2e34,
    plot: trigger_shown.PlotOption = None,
) -> None:
    """Rates of a score from zero-bias crossings: total, and pure against a small menu."""
    from darkop_dist.trigger.estimate import estimate_trigger_rates

    trigger_shown.check_plot(plot)
    found = estimate_trigger_rates(
        checkpoint, sample=sample, conditions=conditions, luminosity=luminosity, rate_hz=rate, threshold=threshold
    )
    OUT.print(
        trigger_shown.conditions_line(found.conditions, found.sample_mean_collisions, found.sample_energy_tev),
        markup=False,
    )
    table = Table("", "rate (Hz)", "68% interval (Hz)", "crossings", box=None)
    shown = {f"score >= {found.threshold:g}": found.total, "of these without a seed": found.pure, **found.menu}
    for name, one in shown.items():
        table.add_row(name, f"{one.rate_hz:.4g}", f"{one.low_hz:.4g} to {one.high_hz:.4g}", str(one.passed))
    OUT.print(table)
    if plot is not None:
        from darkop_dist.report.style import save_figure
        from darkop_dist.report.trigger_figures import rate_figure

        OUT.print(f"figure: {save_figure(rate_figure(found), plot)}", markup=False)


@app.command("rate")
def rate(
    passed: Annotated[int, typer.Option(help="Zero-bias events that pass.")],
    total: Annotated[int, typer.Option(help="Zero-bias events.")],
    bunches: Annotated[int, typer.Option(help="Colliding bunches.")] = 2544,
) -> None:
    """Rate of a trigger from zero-bias events, with its Clopper-Pearson interval."""
    from darkop_dist.trigger.rates import trigger_rate

    found = trigger_rate(passed, total, colliding_bunches=bunches)
    OUT.print(
        f"{found.rate_hz:.4g} Hz, {found.confidence_level:.0%} interval {found.low_hz:.4g} to {found.high_hz:.4g} Hz"
    )


def _print_report(found: VendorReport) -> None:
    every = "clock" if found.initiation_interval == 1 else f"{found.initiation_interval} clocks"
    OUT.print(
        f"{found.tool}, {found.part}: latency {found.latency_clocks} + 1 clocks, one event every {every}, "
        f"{found.clock_mhz:.0f} MHz ({found.fmax_mhz:.1f} possible): {found.latency_ns:.1f} ns, "
        f"{found.bunch_crossings:.2f} bunch crossings, {'within' if found.meets_budget else 'NOT within'} "
        f"{found.latency_budget_ns:g} ns",
        markup=False,
    )
    OUT.print(f"timing: {found.timing_source}", markup=False)
    _print_resources(found.resources)
    OUT.print(found.note, markup=False)


def _print_resources(resources: Iterable[Resources]) -> None:
    for part in resources:
        OUT.print(
            f"{part.family}: {part.luts} LUTs, {part.flip_flops} flip-flops, {part.multipliers} multipliers, "
            f"{part.memories} memories ({part.source})",
            markup=False,
        )
