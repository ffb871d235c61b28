"""A sample: parts, made wherever the caller wants, written to one file in their order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from darkop_dist.errors import MissingExtraError
from darkop_dist.generation.lhe import read_lhe, variation_columns
from darkop_dist.generation.plan import PLAIN, Measurement, PartPlan, complete_plans, plan_parts, plan_shower
from darkop_dist.generation.record import GeneratedSample, recipe_of
from darkop_dist.runs import cache_directory

if TYPE_CHECKING:
    from darkop_dist.generation.part import Part

NO_SETTINGS: Mapping[str, float | int | str] = MappingProxyType({})
PartMaker = Callable[[Sequence[PartPlan]], "AbstractContextManager[Iterator[Part]]"]
"""From the plans of a sample to its parts in the same order, made one after the other as they are taken."""


@contextmanager
def made_here(plans: Sequence[PartPlan]) -> Iterator[Iterator[Part]]:
    """Make the parts in this process, each when it is asked for."""
    from darkop_dist.generation.part import make_part

    with complete_plans(plans) as complete:
        yield (make_part(complete(plan)) for plan in plans)


def generate(
    process: str,
    events: int,
    output: Path,
    *,
    seed: int,
    settings: Mapping[str, float | int | str] = NO_SETTINGS,
    measurement: Measurement = PLAIN,
    make_parts: PartMaker = made_here,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> GeneratedSample:
    """Generate events and write them in the layout of NanoAOD.

    The events depend on the process, the settings, their number and the seed, not on where the parts are made.

    Args:
        process: name of a process, see `process.list_processes`.
        events: number of events.
        output: the ROOT file; written whole or not at all.
        seed: seed, 0 or above.
        settings: values of the process's parameters.
        measurement: how the events are measured.
        make_parts: where the parts are made; in this process by default, see `stages.generation` for others.
        overwrite: replace an existing file.
        progress: called with the number of events done so far.

    Returns:
        The sample, with its cross section.

    Raises:
        UnknownNameError: no such process or parameter; gives the nearest names.
        InputValueError: a number is out of range.
        OutputError: the file exists already or cannot be written.
        MissingExtraError: Pythia or fastjet is not installed.
        RunError: Pythia does not start or keeps failing events.
    """
    plans = plan_parts(process, events, seed=seed, settings=settings, measurement=measurement)
    return write_sample(plans, output, seed=seed, make_parts=make_parts, overwrite=overwrite, progress=progress)


def shower(
    file: Path,
    output: Path,
    *,
    seed: int,
    events: int | None = None,
    lines: Sequence[str] = (),
    measurement: Measurement = PLAIN,
    make_parts: PartMaker = made_here,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> GeneratedSample:
    """Shower, hadronise and measure the events of a Les Houches file, and write them in the layout of NanoAOD.

    The weights of its variations become columns ``LHEWeight_NAME``, over the nominal weight; what they are stands in
    the file's object ``LHEWeights``. Events that the matching vetoes are left out, and the cross section is that of the
    others.

    Args:
        file: the file, plain or compressed by gzip.
        output: the ROOT file; written whole or not at all.
        seed: seed, 0 or above.
        events: how many of its first events to read; None for all.
        lines: Pythia's settings of the shower, of matching and of decays, such as ``JetMatching:merge = on``.
        measurement: how the events are measured.
        make_parts: where the parts are made; in this process by default, see `stages.generation` for others.
        overwrite: replace an existing file.
        progress: called with the number of events done so far.

    Returns:
        The sample, with its cross section.

    Raises:
        InputFileError: the file is missing, cut in the middle, or empty.
        InputValueError, OutputError, MissingExtraError: see ``generate``.
        RunError: Pythia does not start, does not know a setting, or vetoes every event of a part.
    """
    lhe = read_lhe(file)
    plans = plan_shower(lhe, events, seed=seed, lines=lines, measurement=measurement)
    return write_sample(
        plans,
        output,
        seed=seed,
        make_parts=make_parts,
        overwrite=overwrite,
        progress=progress,
        variations=variation_columns(lhe),
    )


def write_sample(
    plans: Sequence[PartPlan],
    output: Path,
    *,
    seed: int,
    variations: Mapping[str, str] = MappingProxyType({}),
    make_parts: PartMaker = made_here,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> GeneratedSample:
    """Make the parts of a sample that has been planned, and write them.

    Args:
        plans: of its parts, from `plan.plan_parts` or `plan.plan_shower`.
        output: the ROOT file; written whole or not at all.
        seed: that the plans were made with, for the recipe.
        variations: columns of a Les Houches file's weights, see `lhe.variation_columns`.
        make_parts: where the parts are made.
        overwrite: replace an existing file.
        progress: called with the number of events done so far.

    Raises:
        OutputError, MissingExtraError, RunError: see ``generate``.
    """
    began = time.perf_counter()
    for module in ("pythia8mc", "fastjet", "uproot"):
        if find_spec(module) is None:
            raise MissingExtraError(module, "generation")
    from darkop_dist.generation.nanoaod import NanoAODFile, require_writable
    from darkop_dist.generation.normalisation import combine

    require_writable(output, overwrite=overwrite)
    if (pileup := plans[0].measurement.pileup) is not None:
        from darkop_dist.generation.pileup import load_pool

        load_pool(pileup.pool_events, cache_directory())  # once, before workers that share the cache ask for it
    recipe = recipe_of(plans, seed)
    normalisations, done = [], 0
    with make_parts(plans) as parts, NanoAODFile(output, variations, recipe) as file:
        for part in parts:
            file.add(part.columns)
            normalisations.append(part.normalisation)
            done += part.normalisation.events
            if progress is not None:
                progress(done)
        total = combine(normalisations)
        file.finish(total)
    return GeneratedSample(
        file=output,
        process=plans[0].process,
        events=total.events,
        seed=seed,
        xsec_pb=total.xsec_pb,
        xsec_error_pb=total.xsec_error_pb,
        sum_weights=total.sum_weights,
        wall_s=time.perf_counter() - began,
        recipe=recipe,
        failed=total.failed,
    )
