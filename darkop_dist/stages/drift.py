"""Do runs and files score like what calibrates, and like each other? Tested beside the calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from darkop_dist.conformal import CALIBRATION, Drift, exchangeability
from darkop_dist.errors import InputFileError
from darkop_dist.histograms import ScoreGroups, coarse_counts, load_groups
from darkop_dist.runs import read_json, write_json
from darkop_dist.stages.context import RunContext

SCHEMA = "darkop.drift/1"
DRIFTED = 1e-3
"""At this p-value the page warns."""

Counts = npt.NDArray[np.int64]


def write_drift(
    context: RunContext, calibrating: Counts | None, datasets: Sequence[str], region: str
) -> tuple[Drift, ...]:
    """Test the events that calibrate nothing, by run and by file; writes drift.json.

    Tested are the collision data of the first region; where there are none, the background events that were held out.

    Args:
        context: the run.
        calibrating: score counts of the events that calibrate, shape (bins + 2,); None if the events tested need not be
            exchangeable with them.
        datasets: the datasets that calibrate.
        region: the region that they calibrate in.

    Returns:
        A test by run and one by file, where there are two groups or more to compare.
    """
    if not context.run.groups.exists():  # a run of an earlier version
        context.run.drift.unlink(missing_ok=True)
        return ()
    groups = load_groups(context.run.groups)
    section = context.document.anomaly_detection
    rng = np.random.default_rng([section.seed if section else 1, 7])
    found: list[Drift] = []
    for by in ("run", "file"):
        tested = _tested(context, groups, by, datasets, region)
        test = _test(context, by, tested, calibrating, rng, together=not found)
        found += [test] if test else []
    write_json(context.run.drift, SCHEMA, {"tests": [test.to_dict() for test in found]})
    return tuple(found)


def load_drift(context: RunContext) -> tuple[Drift, ...]:
    """Read what `write_drift` wrote; nothing if it did not run.

    Raises:
        InputFileError: the file is damaged.
    """
    path = context.run.drift
    if not path.exists():
        return ()
    body = read_json(path, SCHEMA)
    tests = body.get("tests")
    if not isinstance(tests, list):
        raise InputFileError(str(path), "holds no list of tests", "Run the calibration again.")
    return tuple(Drift.from_dict(test, origin=str(path)) for test in tests)


def _tested(
    context: RunContext, groups: ScoreGroups, by: str, datasets: Sequence[str], region: str
) -> dict[str, Counts]:
    """Events by run or file that trained and calibrate nothing."""
    tested = context.regions[0]
    names = [r.name for r in context.records if (r.kind == "data") == context.has_data]
    names = names if context.has_data else [name for name in names if name in datasets]
    found: dict[str, Counts] = {}
    for name in names:
        calibrates = name in datasets and region == tested
        splits = ("calibrate", "check") if context.has_data and not calibrates else ("check",)
        counts = groups.counts(by, name, tested, splits)
        found |= {group if len(names) == 1 else f"{name} {group}": value for group, value in counts.items()}
    return found


def _test(
    context: RunContext,
    by: str,
    tested: dict[str, Counts],
    calibrating: Counts | None,
    rng: np.random.Generator,
    *,
    together: bool,
) -> Drift | None:
    """The tests of one division; ``together`` says whether all are compared with what calibrates as well."""
    kind = "data" if context.has_data else "held-out background"
    what = f"{kind} in region {context.regions[0]}"
    among = exchangeability(tested, rng) if len(tested) > 1 else None
    if not tested or calibrating is None or not calibrating.sum():
        return None if among is None else Drift(by, what, None, among, among)
    coarse = {CALIBRATION: coarse_counts(calibrating)}
    against = None
    if together and (among or by == "file"):
        against = exchangeability(coarse | {kind: np.sum(list(tested.values()), axis=0)}, rng)
    if among is None:
        return None if against is None else Drift(by, what, against, None, against)
    return Drift(by, what, against, among, exchangeability(coarse | tested, rng))
