"""A sample: parts made by one process or several, written to one file."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from darkop_dist.errors import InputValueError, MissingExtraError, RunError
from darkop_dist.generation.lhe import read_lhe, variation_column
from darkop_dist.generation.plan import PartPlan, plan_parts, plan_shower
from darkop_dist.generation.record import GeneratedSample, recipe_of

if TYPE_CHECKING:
    from darkop_dist.generation.part import Part

NO_SETTINGS: Mapping[str, float | int | str] = MappingProxyType({})


def generate(
    process: str,
    events: int,
    output: Path,
    *,
    seed: int,
    settings: Mapping[str, float | int | str] = NO_SETTINGS,
    workers: int = 1,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> GeneratedSample:
    """Generate events and write them in the layout of NanoAOD.

    The events depend on the process, the settings, their number and the seed, not on the number of workers. With more
    than one worker a script must guard its entry point with ``if __name__ == "__main__"``.

    Args:
        process: name of a process, see `process.list_processes`.
        events: number of events.
        output: the ROOT file; written whole or not at all.
        seed: seed, 0 or above.
        settings: values of the process's parameters.
        workers: number of processes to use; 1 works in this one.
        overwrite: replace an existing file.
        progress: called with the number of events done so far.

    Returns:
        The sample, with its cross section.

    Raises:
        UnknownNameError: no such process or parameter; gives the nearest names.
        InputValueError: a number is out of range.
        OutputError: the file exists already or cannot be written.
        MissingExtraError: Pythia or fastjet is not installed.
        RunError: Pythia does not start or keeps failing events, or a worker died.
    """
    plans = plan_parts(process, events, seed=seed, settings=settings)
    return _written(plans, output, seed=seed, workers=workers, overwrite=overwrite, progress=progress)


def shower(
    file: Path,
    output: Path,
    *,
    seed: int,
    events: int | None = None,
    lines: Sequence[str] = (),
    workers: int = 1,
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
        workers: number of processes to use; 1 works in this one.
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
    plans = plan_shower(lhe, events, seed=seed, lines=lines)
    variations = {
        variation_column(weight.name): f"{weight.group}: {weight.text}" if weight.group else weight.text
        for weight in lhe.weights
    }
    return _written(
        plans, output, seed=seed, workers=workers, overwrite=overwrite, progress=progress, variations=variations
    )


def _written(
    plans: Sequence[PartPlan],
    output: Path,
    *,
    seed: int,
    workers: int,
    overwrite: bool,
    progress: Callable[[int], None] | None,
    variations: Mapping[str, str] = MappingProxyType({}),
) -> GeneratedSample:
    began = time.perf_counter()
    if workers < 1:
        raise InputValueError("workers", f"{workers} is not above 0", "Use one worker or more.")
    for module in ("pythia8mc", "fastjet", "uproot"):
        if find_spec(module) is None:
            raise MissingExtraError(module, "generation")
    from darkop_dist.generation.nanoaod import NanoAODFile, require_writable
    from darkop_dist.generation.normalisation import combine

    require_writable(output, overwrite=overwrite)
    recipe = recipe_of(plans, seed)
    normalisations, done = [], 0
    with _parts(plans, workers) as parts, NanoAODFile(output, variations, recipe) as file:
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


@contextmanager
def _parts(plans: Sequence[PartPlan], workers: int) -> Iterator[Iterator[Part]]:
    """The parts in their order."""
    from darkop_dist.generation.part import make_part

    workers = min(workers, len(plans))
    if workers == 1:
        yield map(make_part, plans)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max_workers=workers, mp_context=context)
    try:
        yield pool.map(make_part, plans)
    except BrokenProcessPool as error:
        raise RunError(
            f"{plans[0].process}: a worker process died. If this is a script, guard its entry point with "
            "if __name__ == '__main__'; else there may be too little memory: use fewer workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
