"""``darkop inject``: a signal among the events of a background or of collision data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darkop_dist.cli.console import OUT
from darkop_dist.errors import UnknownNameError


def inject(
    signal: Annotated[Path, typer.Argument(help="ROOT file of the signal.", metavar="SIGNAL")],
    backgrounds: Annotated[
        list[Path], typer.Argument(help="ROOT files of one dataset: data or background.", metavar="BACKGROUND...")
    ],
    output: Annotated[Path, typer.Option(help="Directory to write, one file for each background file.")],
    strength: Annotated[float, typer.Option(help="Signal strength mu: factor on the cross section.")] = 1.0,
    lumi: Annotated[
        float | None, typer.Option(help="Luminosity in 1/fb; that of simulated background by default.")
    ] = None,
    events: Annotated[
        float | None, typer.Option(help="Expected number of signal events at strength 1, instead of a luminosity.")
    ] = None,
    xsec: Annotated[
        float | None, typer.Option(help="Cross section of the signal in pb; by default its file's.")
    ] = None,
    background_xsec: Annotated[
        float | None, typer.Option(help="Cross section of simulated background in pb; by default its files'.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Inject the expected number instead of a Poisson number around it.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 1,
    drop: Annotated[
        list[str] | None, typer.Option(help="Branches that the result does not get, such as 'HLT_*'; may be repeated.")
    ] = None,
    drop_missing: Annotated[
        bool, typer.Option("--drop-missing", help="Leave out all branches that the signal lacks.")
    ] = False,
    fill: Annotated[
        list[str] | None, typer.Option(help="PATTERN=VALUE for branches that the signal lacks; may be repeated.")
    ] = None,
    as_data: Annotated[
        bool, typer.Option("--as-data", help="Record simulated background of equal weights as collision data.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing injection.")] = False,
) -> None:
    """Mix events of a signal into a background or into data, with the column isInjectedSignal."""
    from darkop_dist.generation.injection import Rules, Strength, plan_injection
    from darkop_dist.generation.mixing import write_injection

    rules = Rules(tuple(drop or ()), drop_missing, dict(map(_filling, fill or [])), background_xsec, as_data)
    asked = Strength(strength, events, lumi, xsec, exact)
    plan = plan_injection(signal, backgrounds, asked, seed=seed, rules=rules)
    made = write_injection(plan, output, force=force)
    at = "" if plan.lumi_ifb is None else f" at {plan.lumi_ifb:.4g}/fb"
    OUT.print(
        f"{made.directory}: {made.injected} signal events ({made.expected:.4g} expected{at}) among {made.events}",
        markup=False,
    )
    OUT.print(f"what was drawn and from what: {made.account}", markup=False)
    OUT.print(f"record for your documents (catalogue: [FILE]): {made.record}", markup=False)


def _filling(text: str) -> tuple[str, float]:
    pattern, equals, value = text.partition("=")
    words = {"true": "1", "false": "0"}
    try:
        number = float(words.get(value.lower(), value))
    except ValueError:
        equals = ""
    if not equals:
        raise UnknownNameError("value to fill", text, (), "Write it as PATTERN=NUMBER, true or false.")
    return pattern, number
