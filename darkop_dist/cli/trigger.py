"""``darkop trigger``: rates of a trigger."""

from __future__ import annotations

from typing import Annotated

import typer

from darkop_dist.cli.console import OUT

app = typer.Typer(no_args_is_help=True, help="Trigger rates.")


@app.callback()
def trigger() -> None:
    """Trigger rates."""


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
