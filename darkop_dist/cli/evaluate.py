"""``darkop evaluate``: scores of generated calorimeter showers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from darkop_dist.cli.console import ERR, OUT
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
    low_width: Annotated[
        int, typer.Option(min=0, help="Nodes per layer of the classifier on voxels; 0 leaves it out.")
    ] = 2048,
    high_width: Annotated[int, typer.Option(min=1, help="Nodes per layer of the classifier on features.")] = 2048,
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
    settings = ScoreSettings(
        seed=seed,
        sampling_fraction=sampling_fraction,
        low_level=ClassifierSettings(width=low_width, epochs=epochs) if low_width else None,
        high_level=ClassifierSettings(width=high_width, epochs=epochs),
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
        simulated = theirs[len(theirs) // 2 :] if alone else theirs
        _draw(figures, ours, simulated, settings.sampling_fraction, alone=alone)
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


def _draw(folder: Path, generated: Showers, reference: Showers, sampling_fraction: float, *, alone: bool) -> None:
    from darkop_dist.operators.showers.sample import READOUT_MEV, as_read_out
    from darkop_dist.report.shower_figures import draw_showers

    ours, theirs = (
        as_read_out(one, sampling_fraction=sampling_fraction, threshold_mev=READOUT_MEV)
        for one in (generated, reference)
    )
    names = ("Geant4, other half", "Geant4") if alone else ("Generated", "Geant4")
    for path in draw_showers(folder, ours, theirs, names=names):
        ERR.print(str(path), markup=False)


def _table(result: ShowerEvaluation) -> Table:
    from darkop_dist.operators.showers.tables import table_rows

    table = Table(title=f"{result.floor.showers} showers of each sample", title_justify="left")
    table.add_column("score")
    table.add_column("generated", justify="right")
    table.add_column("floor", justify="right")
    for row in table_rows(result):
        table.add_row(*row)
    return table
