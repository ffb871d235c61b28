"""How fast events are made here and now, and what a whole sample would take: measured, then multiplied."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from darkop_dist.generation.plan import PartPlan, complete_plans

if TYPE_CHECKING:
    from darkop_dist.generation.part import Part
    from darkop_dist.generation.pythia_run import PartRequest


TIMED_EVENTS = 200
Wanted = TypeVar("Wanted", "PartPlan", "PartRequest")


@dataclass(frozen=True)
class Rates:
    """What some events of a process took on one core, in processor time, which other programs hardly change.

    Attributes:
        events: that were timed.
        starting_s: start of Pythia, once for each part, in seconds.
        bare_s: Pythia alone, seconds per event.
        whole_s: Pythia, response, jets and packing, seconds per event, without the start.
        kept_bytes: bytes per event of a part that is kept until the sample is whole.
        file_bytes: bytes per event of the ROOT file.
        memory_bytes: most that a worker takes, reckoned from what a process took for fewer events.
    """

    events: int
    starting_s: float
    bare_s: float
    whole_s: float
    kept_bytes: float
    file_bytes: float
    memory_bytes: int


def measure_rates(plans: Sequence[PartPlan], events: int = TIMED_EVENTS) -> Rates:
    """Make a few events of the first part twice, by Pythia alone and whole, in a process of its own as a worker is.

    Args:
        plans: of the sample.
        events: how many to time, at most those of a part.

    Raises:
        RunError, UserError: see `part.make_part`.
    """
    with complete_plans(plans) as complete:
        plan = complete(plans[0])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, plan, events).result()


def _measured(plan: PartPlan, events: int) -> Rates:
    from darkop_dist.generation.packing import pack_part
    from darkop_dist.generation.part import make_part, request_of

    size, count = plan.events, min(events, plan.events)
    plan = _fewer(plan, count)
    _timed(make_part, _fewer(plan, _quarter(count)))  # what is imported and compiled once is no part of what is timed
    before = peak_bytes()
    starting_s, bare_s = _bare(request_of(plan))
    part, whole_s = _timed(make_part, plan)
    packed, packing_s = _timed(pack_part, part)
    per_event = (peak_bytes() - before) / max(count - _quarter(count), 1)
    return Rates(
        events=count,
        starting_s=starting_s,
        bare_s=bare_s / count,
        whole_s=max(whole_s + packing_s - starting_s, 0.0) / count,
        kept_bytes=len(packed.data) / count,
        file_bytes=_file_bytes(part) / count,
        memory_bytes=int(peak_bytes() + per_event * (size - count)),
    )


def peak_bytes() -> int:
    """Most memory that this process has held so far, its own program alone.

    Linux hands `ru_maxrss` on to what a process starts, so there a worker of a large session would count that too.
    """
    status = Path("/proc/self/status")
    if status.exists():
        held = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(held.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forecast(plans: Sequence[PartPlan], rates: Rates, workers: int) -> tuple[str, ...]:
    """What a whole sample would take, in lines for people.

    Args:
        plans: of the sample.
        rates: of its process.
        workers: that would share the parts, each with a core of its own.
    """
    events, parts = sum(plan.events for plan in plans), len(plans)
    core_s = parts * rates.starting_s + events * rates.whole_s
    wall_s = core_s / parts * -(-parts // workers)
    disk = events * (rates.file_bytes + rates.kept_bytes)
    found = {
        "sample": f"{events} events of {plans[0].process} in {parts} parts of {plans[0].events}",
        "measured here": f"{rates.events} events on one core",
        "Pythia alone": f"{1 / rates.bare_s:.4g} events/s",
        "with response": f"{1 / rates.whole_s:.4g} events/s",
        "start of Pythia": f"{rates.starting_s:.2f} s, once a part",
        "altogether": f"{events / core_s:.4g} events/s per core",
        "core hours": f"{core_s / 3600:.3g}",
        "wall time": f"{_hours(wall_s)} with {workers} worker{'s' if workers > 1 else ''}, each with a core of its own",
        "file": f"{_gigabytes(events * rates.file_bytes)}, {rates.file_bytes:.0f} bytes per event",
        "disk": f"{_gigabytes(disk)} until it is whole: its parts are kept too, {rates.kept_bytes:.0f} bytes per event",
        "memory": f"{rates.memory_bytes / 1e9:.2f} GB for a worker, whatever the number of events",
    }
    return tuple(f"{name:16s} {text}" for name, text in found.items())


def _bare(request: PartRequest) -> tuple[float, float]:
    """Seconds to start Pythia, and those that it takes for the events of a part without anything else."""
    from darkop_dist.generation.truth import generate_record, generate_truth

    # of a Les Houches file Pythia is not told apart from what reads the weights, which is little
    make = generate_record if request.lhe is None else generate_truth
    few = _quarter(request.events)  # not one event: matching may veto it
    _, first_s = _timed(make, _fewer(request, few))
    _, all_s = _timed(make, request)
    per_event_s = max(all_s - first_s, 1e-6) / max(request.events - few, 1)
    return max(first_s - few * per_event_s, 0.0), request.events * per_event_s


def _quarter(events: int) -> int:
    return max(events // 4, 1)


def _file_bytes(part: Part) -> int:
    from darkop_dist.generation.lhe import variation_column
    from darkop_dist.generation.nanoaod import NanoAODFile
    from darkop_dist.generation.normalisation import combine

    variations = {name: "" for name in part.columns if name.startswith(variation_column(""))}
    with tempfile.TemporaryDirectory(prefix="darkop-") as directory:
        target = Path(directory) / "sizes.root"
        sizes = []
        for parts in ((), (part.columns,)):  # what the file has besides its events falls out of the difference
            with NanoAODFile(target, variations) as file:
                for columns in parts:
                    file.add(columns)
                file.finish(combine([part.normalisation]))
            sizes.append(target.stat().st_size)
    return sizes[1] - sizes[0]


def _fewer(wanted: Wanted, events: int) -> Wanted:
    return replace(wanted, events=events, lhe=None if wanted.lhe is None else replace(wanted.lhe, events=events))


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    began = time.process_time()
    found = function(*arguments)
    return found, time.process_time() - began


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
