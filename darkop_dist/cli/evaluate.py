"""``darkop evaluate``: scores of generated calorimeter showers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from darkop_dist.cli.console import ERR, OUT
from darkop_dist.cli.trigger_shown import check_plot

if TYPE_CHECKING:
    from darkop_dist.operators.showers.evaluation import ShowerEvaluation, ShowerScores
    from darkop_dist.operators.showers.sample import Showers

PER_LAYER = {
    "layer_mev": "energy of a layer",
    "centre_eta_mm": "centre in eta",
    "centre_phi_mm": "centre in phi",
    "width_eta_mm": "width in eta",
    "width_phi_mm": "width in phi",
    "sparsity": "sparsity of a layer",
}


def evaluate(
    generated: Annotated[Path, typer.Argument(help="Showers to be judged, in the CaloChallenge layout (HDF5).")],
    reference: Annotated[Path, typer.Option(help="Showers of the simulator, in the same voxels.", metavar="FILE")],
    floor: Annotated[
        Path | None,
        typer.Option(help="Further showers of the simulator for the floor; half of the reference otherwise."),
    ] = None,
    sampling_fraction: Annotated[
        float, typer.Option(min=1e-6, help="What energies are divided by: 1, or 0.033 for energies in silicon.")
    ] = 1.0,
    showers: Annotated[int | None, typer.Option(min=10, help="Most showers of each sample.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the classifiers.")] = 50,
    low_width: Annotated[
        int, typer.Option(min=0, help="Nodes per layer of the classifier on voxels; 0 leaves it out.")
    ] = 2048,
    high_width: Annotated[int, typer.Option(min=1, help="Nodes per layer of the classifier on features.")] = 512,
    draws: Annotated[
        int, typer.Option(min=100, help="Largest batch of the FPD; its smallest is 2/5 of it, that of the KPD 1/10.")
    ] = 50_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of splits, weights and draws.")] = 0,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for showers.png (distributions) and displays.png (single showers).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Score generated calorimeter showers as the CaloChallenge does, beside the floor of the simulator itself."""
    from darkop_dist.operators.showers.classifier import ClassifierSettings
    from darkop_dist.operators.showers.evaluation import ScoreSettings, evaluate_showers
    from darkop_dist.operators.showers.files import read_showers

    if figures is not None:
        check_plot(figures / "showers.png")
    settings = ScoreSettings(
        seed=seed,
        sampling_fraction=sampling_fraction,
        low_level=ClassifierSettings(width=low_width, epochs=epochs) if low_width else None,
        high_level=ClassifierSettings(width=high_width, epochs=epochs),
        fpd_min_samples=2 * draws // 5,
        fpd_max_samples=draws,
        kpd_batch_size=draws // 10,
    )
    twice = 2 * showers if showers and floor is None else showers
    ours, theirs = read_showers(generated, stop=showers), read_showers(reference, stop=twice)
    if figures is not None:
        _draw(ours, theirs, figures)
    result = evaluate_showers(
        ours,
        theirs,
        settings=settings,
        floor=None if floor is None else read_showers(floor, stop=showers),
        say=lambda text: ERR.print(text, markup=False),
    )
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=1) + "\n")
        return
    OUT.print(_table(result))
    for what, source in result.sources.items():
        OUT.print(f"{what}: {source}", markup=False)


def _draw(ours: Showers, theirs: Showers, folder: Path) -> None:
    from darkop_dist.report.shower_figures import comparison_figure, display_figure
    from darkop_dist.report.style import save_figure

    for figure, name in (
        (comparison_figure(ours, theirs), "showers.png"),
        (display_figure([("Simulated", theirs), ("Generated", ours)]), "displays.png"),
    ):
        ERR.print(f"figure: {save_figure(figure, folder / name)}", markup=False)


def _table(result: ShowerEvaluation) -> Table:
    table = Table(title=f"{result.generated.showers} showers of each sample", title_justify="left")
    table.add_column("score")
    table.add_column("generated", justify="right")
    table.add_column("floor", justify="right")
    for ours, theirs in zip(_rows(result.generated), _rows(result.floor), strict=True):
        table.add_row(*ours, theirs[1])
    return table


def _rows(scores: ShowerScores) -> list[tuple[str, str]]:
    """Names and values; separation powers per layer as their mean and largest."""
    separations = scores.separations
    rows = [
        ("separation of total over incident energy", f"{separations.total_over_incident:.2e}"),
        ("separation of voxel energies", f"{separations.voxel_mev:.2e}"),
    ]
    for name, words in PER_LAYER.items():
        layers: tuple[float, ...] = getattr(separations, name)
        rows.append((f"separation of {words}: mean, largest", f"{sum(layers) / len(layers):.2e}, {max(layers):.2e}"))
    for words, found in (("low", scores.low_level), ("high", scores.high_level)):
        if found is not None:
            rows.append((f"AUC {words} level", f"{found.auc:.4f} +- {found.auc_error:.4f}"))
            rows.append((f"JSD {words} level", f"{found.jsd:.4f}"))
    rows.append(("FPD x 1000", f"{1e3 * scores.fpd.value:.3f} +- {1e3 * scores.fpd.error:.3f}"))
    rows.append(("KPD x 1000", f"{1e3 * scores.kpd.value:.4f} +- {1e3 * scores.kpd.error:.4f}"))
    return rows
