"""The scores of showers as rows of words, each beside its floor."""

from __future__ import annotations

from darkop_dist.operators.showers.classifier import ClassifierSettings
from darkop_dist.operators.showers.evaluation import ShowerEvaluation, ShowerScores

PER_LAYER = {
    "layer_mev": "energy of a layer",
    "centre_eta_mm": "centre in eta",
    "centre_phi_mm": "centre in phi",
    "width_eta_mm": "width in eta",
    "width_phi_mm": "width in phi",
    "sparsity": "sparsity of a layer",
}

ABSENT = "-"


def table_rows(result: ShowerEvaluation) -> list[tuple[str, str, str]]:
    """Name, value of the generated showers (a dash where only the floor was made) and value of the floor."""
    floor = _rows(result.floor)
    ours = [(name, ABSENT) for name, _ in floor] if result.generated is None else _rows(result.generated)
    return [(name, value, other) for (name, value), (_, other) in zip(ours, floor, strict=True)]


def markdown_table(result: ShowerEvaluation) -> str:
    """The table in markdown, with the settings and the sources of the definitions below it."""
    lines = ["| score | generated | floor |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in table_rows(result)]
    settings = result.settings
    lines += ["", f"{result.floor.showers} showers of each sample, seed {settings.seed}, sampling fraction "]
    lines[-1] += f"{settings.sampling_fraction:g}. {_network('High', settings.high_level)}"
    if settings.low_level is not None:
        lines[-1] += f" {_network('Low', settings.low_level)}"
    lines += ["", *(f"- {what}: {source}" for what, source in result.sources.items())]
    return "\n".join(lines) + "\n"


def _network(level: str, settings: ClassifierSettings) -> str:
    return (
        f"{level} level: {settings.hidden_layers} layers of {settings.width}, {settings.epochs} epochs, "
        f"batches of {settings.batch_size}, Adam at {settings.learning_rate:g}."
    )


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
