"""``darkop showers``: train the calorimeter operator, generate showers, and time it beside a simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darkop_dist.cli.console import ERR, OUT
from darkop_dist.errors import InputValueError

app = typer.Typer(no_args_is_help=True, help="Calorimeter showers: train the operator, generate, time.")

Checkpoint = Annotated[str, typer.Argument(help="Name of a packaged checkpoint, or its directory.")]
Particle = Annotated[str, typer.Option(help="e- or gamma.")]


@app.command()
def train(
    files: Annotated[list[Path], typer.Argument(help="Simulated showers, in the CaloChallenge layout (HDF5).")],
    output: Annotated[Path, typer.Option(help="Directory of the checkpoint.")],
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the showers for the voxels.")] = 10,
    energies_epochs: Annotated[int, typer.Option(min=1, help="Passes for the layer energies.")] = 40,
    width: Annotated[int, typer.Option(min=1, help="Channels of the hidden fields.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order, reflections and colours.")] = 1,
) -> None:
    """Train the calorimeter operator; the particle of each file stands in its attribute ``particle``."""
    import numpy as np

    from darkop_dist.operators.calorimeter.checkpoint import make_checkpoint, save_checkpoint
    from darkop_dist.operators.calorimeter.operator import CalorimeterSettings
    from darkop_dist.operators.calorimeter.training import ShowerFile, ShowerTraining, train_operator
    from darkop_dist.operators.showers.files import read_showers, shower_attributes, shower_parts

    if output.exists():
        raise InputValueError("--output", f"{output} exists already", "Choose another directory")
    given = [ShowerFile(path, shower_attributes(path).get("particle", "e-")) for path in files]
    geometry = read_showers(files[0], stop=1).geometry
    settings = CalorimeterSettings(
        layers=geometry.layers,
        azimuths=geometry.azimuths,
        radii=geometry.radii,
        radius_mm=geometry.radius_mm,
        width=width,
    )
    training = ShowerTraining(epochs=epochs, energies_epochs=energies_epochs, seed=seed)
    trained = train_operator(given, settings, training, say=lambda text: ERR.print(text, markup=False))
    ranges = [
        (float(np.min(part.incident_energies)), float(np.max(part.incident_energies)))
        for path in files
        for part in shower_parts(path)
    ]
    incident = min(low for low, _ in ranges), max(high for _, high in ranges)
    checkpoint = make_checkpoint(output.name, trained, given, training, incident)
    save_checkpoint(checkpoint, output)
    OUT.print(f"{output}: {trained.showers} showers, {trained.seconds:.0f} s", markup=False)


@app.command()
def generate(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(help="File to write, in the CaloChallenge layout (HDF5).")],
    showers: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    energy_gev: Annotated[
        tuple[float, float], typer.Option(help="Smallest and largest incident energy, log-uniform in between.")
    ] = (1.0, 100.0),
    like: Annotated[Path | None, typer.Option(help="Take the incident energies of this file instead.")] = None,
    particle: Particle = "e-",
    finer: Annotated[tuple[int, int], typer.Option(help="Parts of each voxel in azimuth and in radius.")] = (1, 1),
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
) -> None:
    """Generate showers."""
    import numpy as np

    from darkop_dist.operators.calorimeter.checkpoint import load_checkpoint
    from darkop_dist.operators.calorimeter.production import shower_batches
    from darkop_dist.operators.showers.files import read_showers, write_showers

    trained = load_checkpoint(checkpoint)
    if like is not None:
        incident = read_showers(like).incident_energies
    else:
        low, high = np.log(1000.0 * np.asarray(energy_gev))
        incident = np.exp(np.random.default_rng([seed, 2]).uniform(low, high, showers)).astype(np.float32)
    attributes = {"particle": particle, "generator": f"{trained.card.name} {trained.card.fingerprint[:12]}"}
    made = shower_batches(trained, incident, particle, seed=seed, finer=finer)
    count = write_showers(output, made, attributes={**attributes, "seed": str(seed)})
    OUT.print(f"{output}: {count} showers", markup=False)


@app.command()
def speed(
    checkpoint: Checkpoint,
    simulator: Annotated[
        str,
        typer.Option(
            help="Command that simulates: {showers} and {output} are replaced by a number and a file, which must hold "
            "the CPU seconds of each shower as cpu_s."
        ),
    ],
    simulated: Annotated[int, typer.Option(min=1, help="Showers that the simulator makes.")] = 100,
    showers: Annotated[int, typer.Option(min=1, help="Showers that the operator makes, at the same energies.")] = 2000,
    particle: Particle = "e-",
) -> None:
    """Time the operator and a simulator one after the other on one and the same core."""
    from darkop_dist.operators.calorimeter.checkpoint import load_checkpoint
    from darkop_dist.operators.calorimeter.speed import compare_speed

    result = compare_speed(load_checkpoint(checkpoint), simulator, simulated=simulated, showers=showers, kind=particle)
    OUT.print(result.text(), markup=False)


@app.command()
def upsample(
    file: Annotated[Path, typer.Argument(help="Showers, in the CaloChallenge layout (HDF5).")],
    output: Annotated[Path, typer.Option(help="File to write.")],
    method: Annotated[str, typer.Option(help="nearest or linear.")] = "nearest",
    finer: Annotated[tuple[int, int], typer.Option(help="Parts of each voxel in azimuth and in radius.")] = (3, 2),
) -> None:
    """Cut voxels of showers into parts without a model: the baseline of generation in finer voxels."""
    from darkop_dist.operators.showers import resolution
    from darkop_dist.operators.showers.files import shower_parts, write_showers

    how: resolution.Method = "linear" if method == "linear" else "nearest"
    if method not in {"nearest", "linear"}:
        raise InputValueError("--method", f"{method!r}", "Give nearest or linear")
    parts = (resolution.upsample(part, azimuths=finer[0], radii=finer[1], method=how) for part in shower_parts(file))
    OUT.print(f"{output}: {write_showers(output, parts)} showers", markup=False)
