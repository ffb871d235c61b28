"""``darkop benchmark``: anomaly scores on published samples, with their figures of merit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from darkop_dist.cli.console import ERR, OUT
from darkop_dist.errors import UnknownNameError

if TYPE_CHECKING:
    from darkop_dist.operators.lhco import ModelResult
    from darkop_dist.operators.merit import WorkingPoint

app = typer.Typer(no_args_is_help=True, help="Anomaly scores on published samples: AUC and significance improvement.")


@app.callback()
def benchmarks() -> None:
    """Anomaly scores on published samples: AUC and significance improvement."""


@app.command()
def lhco(
    data: Annotated[
        Path, typer.Option(help="Folder of innerdata_train.npy, innerdata_val.npy, innerdata_extrasig.npy.")
    ],
    model: Annotated[list[str] | None, typer.Option(help="A model; repeatable. All of them by default.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the autoencoders.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Features of the LHC Olympics: AUC, and SIC at background efficiencies of 1e-2, 1e-3 and 1e-4."""
    from darkop_dist.operators.lhco import MODELS, run_lhco

    for name in model or ():
        if name not in MODELS:
            raise UnknownNameError("model", name, MODELS, f"Known are {', '.join(MODELS)}")
    found = run_lhco(
        data,
        tuple(model or MODELS),
        epochs=epochs,
        seed=seed,
        say=lambda text: ERR.print(text, markup=False),
    )
    if as_json:
        sys.stdout.write(json.dumps([one.model_dump(mode="json") for one in found], indent=1) + "\n")
        return
    OUT.print(_table(found))


def _table(found: list[ModelResult]) -> Table:
    from darkop_dist.operators.merit import CONFIDENCE_LEVEL, EFFICIENCIES

    first = found[0].auc
    title = f"{first.n_background} background and {first.n_signal} signal events; {CONFIDENCE_LEVEL:.0%} intervals"
    table = Table(title=title, title_justify="left")
    for name in ("model", "AUC", *(f"SIC at {efficiency:g} (background left)" for efficiency in EFFICIENCIES)):
        table.add_column(name)
    for one in found:
        cells = [_cell(point) for point in one.points]
        table.add_row(one.model, f"{one.auc.value:.4f} +- {one.auc.uncertainty:.4f}", *cells)
    return table


def _cell(point: WorkingPoint | None) -> str:
    if point is None:
        return "no background left"
    return f"{point.sic:.2f} [{point.sic_low:.2f}, {point.sic_high:.2f}] ({point.background_left})"
