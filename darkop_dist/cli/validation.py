"""``darkop generate --validate``: a response card beside what its collaboration has published."""

from __future__ import annotations

from pathlib import Path

from darkop_dist.cli.console import OUT


def validate_card(card: str, output: Path | None, *, events: int | None, seed: int, workers: int, force: bool) -> None:
    """Write the page of a response card and say how much of it agrees."""
    from darkop_dist.stages.validation import write_validation_page

    directory = output or Path(f"validation-{card}")
    page, found = write_validation_page(
        card, directory, events=4000 if events is None else events, seed=seed, workers=workers, force=force
    )
    points = [agrees for comparison in found for agrees in comparison.agrees]
    OUT.print(f"{page}: {sum(points)} of {len(points)} points agree with what is published", markup=False)
