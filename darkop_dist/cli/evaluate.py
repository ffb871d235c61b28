"""``darkop evaluate``: scores of generated calorimeter showers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from darkop_dist.cli.console import ERR, OUT
from darkop_dist.cli.trigger_shown import check_plot
from darkop_dist.errors import OutputError
from darkop_dist.runs import write_atomically

if TYPE_CHECKING:
    from darkop_dist.operators.showers.evaluation import ShowerEvaluation
    from darkop_dist.operators.showers.sample import Showers

app = typer.Typer(no_args_is_help=True, help="Judge what a model generates against the simulator it replaces.")


@app.callback()
def evaluate() -> None:
    """Judge what a model generates against the simulator it replaces."""


@app.command("showers")
def showers(
    generated: Annotated[Path, typer.Argument(help="Showers to be judged, in the CaloChallenge layout (HDF5).")],
    reference: Annotated[
        Path,
        typer.Argument(help="Showers of the simulator in the same voxels. The same file twice: the floor alone."),
    ],
    floor: Annotated[
        Path | None,
        typer.Option(help="Further showers of the simulator for the floor; half of the reference otherwise."),
    ] = None,
    sampling_fraction: Annotated[
        float, typer.Option(min=1e-6, help="What energies are divided by: 1, or 0.033 for energies in silicon.")
    ] = 1.0,
    most: Annotated[int | None, typer.Option("--showers", min=10, help="Most showers of each sample.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the classifiers.")] = 50,
    batch: Annotated[
        int, typer.Option(min=1, help="Showers of a step of the classifiers; take fewer where there are few showers.")
    ] = 1000,
    low_width: Annotated[
        int, typer.Option(min=0, help="Nodes per layer of the classifier on voxels; 0 leaves it out.")
    ] = 2048,
    high_width: Annotated[int, typer.Option(min=1, help="Nodes per layer of the classifier on features.")] = 2048,
    draws: Annotated[
        int, typer.Option(min=100, help="Largest batch of the FPD; its smallest is 2/5 of it, that of the KPD 1/10.")
    ] = 50_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of splits, weights and draws.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Write the scores as this name with .json and .md.", metavar="NAME")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Draw both samples into this folder, made if it is absent.", metavar="DIR")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Score generated calorimeter showers as the CaloChallenge does, beside the floor of the simulator itself."""
    from darkop_dist.operators.showers.classifier import ClassifierSettings
    from darkop_dist.operators.showers.evaluation import ScoreSettings, evaluate_floor, evaluate_showers
    from darkop_dist.operators.showers.files import read_showers
    from darkop_dist.operators.showers.tables import markdown_table

    _check_output(output)
    check_plot(None if figures is None else figures.resolve().parent / "showers.png")
    settings = ScoreSettings(
        seed=seed,
        sampling_fraction=sampling_fraction,
        low_level=ClassifierSettings(width=low_width, epochs=epochs, batch_size=batch) if low_width else None,
        high_level=ClassifierSettings(width=high_width, epochs=epochs, batch_size=batch),
        fpd_min_samples=2 * draws // 5,
        fpd_max_samples=draws,
        kpd_batch_size=draws // 10,
    )
    theirs = read_showers(reference, stop=2 * most if most and floor is None else most)
    further = None if floor is None else read_showers(floor, stop=most)
    alone = generated.is_file() and generated.samefile(reference)
    ours = theirs[: len(theirs) // 2] if alone else read_showers(generated, stop=most)

    def say(text: str) -> None:
        ERR.print(text, markup=False)

    if alone:
        result = evaluate_floor(theirs, settings=settings, floor=further, say=say)
    else:
        result = evaluate_showers(ours, theirs, settings=settings, floor=further, say=say)
    if output is not None:
        write_atomically(output.with_name(output.name + ".json"), result.model_dump_json(indent=1) + "\n")
        write_atomically(output.with_name(output.name + ".md"), markdown_table(result))
    if figures is not None:
        _draw(figures, ours, (further or theirs[len(theirs) // 2 :]) if alone else theirs)
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=1) + "\n")
        return
    OUT.print(_table(result))
    for what, source in result.sources.items():
        OUT.print(f"{what}: {source}", markup=False)


def _check_output(output: Path | None) -> None:
    """Refuse before hours of work what could not be written after them."""
    if output is not None and not output.parent.is_dir():
        raise OutputError(f"{output}: the folder {output.parent} does not exist. Make it first.")


def _draw(folder: Path, generated: Showers, reference: Showers) -> None:
    from darkop_dist.report.shower_figures import comparison_figure, display_figure
    from darkop_dist.report.style import save_figure

    folder.mkdir(parents=True, exist_ok=True)
    for figure, name in (
        (comparison_figure(generated, reference), "showers.png"),
        (display_figure([("Simulated", reference), ("Generated", generated)]), "shower_displays.png"),
    ):
        ERR.print(str(save_figure(figure, folder / name)), markup=False)


def _table(result: ShowerEvaluation) -> Table:
    from darkop_dist.operators.showers.tables import table_rows

    table = Table(title=f"{result.floor.showers} showers of each sample", title_justify="left")
    table.add_column("score")
    table.add_column("generated", justify="right")
    table.add_column("floor", justify="right")
    for row in table_rows(result):
        table.add_row(*row)
    return table
