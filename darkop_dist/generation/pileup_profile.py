"""How many further collisions a crossing has: a number, a file, or a profile in ``profiles/``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError

PROFILE_DIRECTORY = Path(__file__).parent / "profiles"
POOL_EVENTS = 5000
MAX_MEAN = 300.0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PileupProfile:
    """How many collisions a crossing has on average.

    Attributes:
        name: what the user called it.
        means: possible mean numbers of further collisions.
        probabilities: of each; they add up to 1.
        pool_events: number of minimum-bias events in the pool.
    """

    name: str
    means: tuple[float, ...]
    probabilities: tuple[float, ...]
    pool_events: int = POOL_EVENTS


def read_profile(name: str, *, pool_events: int = POOL_EVENTS) -> PileupProfile:
    """A profile by what a user writes: a number, a profile's name, or a file.

    A number is the mean of a Poisson distribution. A file has lines of a mean number and its weight; comments begin
    with ``#``.

    Args:
        name: what the user writes.
        pool_events: number of minimum-bias events in the pool.

    Raises:
        InputValueError: a number is negative, not finite or above 300.
        InputFileError: the file cannot be read, or holds something else.
        UnknownNameError: neither a number, a file nor a profile's name.
    """
    try:
        mean = float(name)
    except ValueError:
        pass
    else:
        return PileupProfile(name, (_mean(mean, name),), (1.0,), pool_events)
    if Path(name).is_file():
        return _from_file(Path(name), pool_events)
    known = sorted(path.stem for path in PROFILE_DIRECTORY.glob("*.toml"))
    if name not in known:
        raise UnknownNameError(
            "pile-up profile", name, known, f"Give a mean number, a file of lines 'mean weight', or {', '.join(known)}."
        )
    content = tomllib.loads((PROFILE_DIRECTORY / f"{name}.toml").read_text(encoding="utf-8"))
    weights = np.asarray(content["probabilities"], dtype=np.float64)
    return _normalised(name, np.arange(len(weights), dtype=np.float64) + float(content["first"]), weights, pool_events)


def _mean(mean: float, thing: str) -> float:
    if not 0 <= mean <= MAX_MEAN:  # also refuses NaN
        raise InputValueError(
            f"pile-up {thing}", f"{mean:g} is no mean number", f"Use a number from 0 to {MAX_MEAN:g}."
        )
    return mean


def _from_file(file: Path, pool_events: int) -> PileupProfile:
    what_to_do = "Write lines of a mean number of collisions and its weight"
    try:
        table = np.atleast_2d(np.loadtxt(file, dtype=np.float64))
    except (OSError, ValueError) as error:
        raise InputFileError(str(file), f"is no pile-up profile ({error})", what_to_do) from error
    if table.shape[1:] != (2,):
        raise InputFileError(str(file), f"has {table.shape[-1]} columns, not 2", what_to_do)
    means, weights = table.T
    for mean in means:
        _mean(float(mean), str(file))
    if not (np.all(weights >= 0) and 0 < weights.sum() < np.inf):
        raise InputFileError(str(file), "has negative weights or none above zero", what_to_do)
    return _normalised(file.name, means, weights, pool_events)


def _normalised(name: str, means: Floats, weights: Floats, pool_events: int) -> PileupProfile:
    kept = weights > 0
    probabilities = weights[kept] / weights.sum()
    return PileupProfile(name, tuple(means[kept].tolist()), tuple(probabilities.tolist()), pool_events)
