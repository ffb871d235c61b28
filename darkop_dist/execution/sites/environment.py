"""Whether the workers' Python and packages go together with those of this process."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from darkop_dist.errors import RunError

ABSENT = "not installed"
PYTHON = "python"
PARTS_THAT_MUST_AGREE: dict[str, int] = {
    "darkop-dist": 9, "dask": 9, "distributed": 9, "cloudpickle": 1, "numpy": 1, "awkward": 1, "uproot": 1, "coffea": 1,
}  # fmt: skip
"""How many leading numbers of the version have to be equal: 9 means all of it.

Dask and this package speak their own language between processes, which any release may change. Of the others the first
number (for coffea the year) says whether arrays and processors of one version can be read by the other.
"""


@dataclass(frozen=True)
class Difference:
    """One package that is not the same on workers and in this process.

    Attributes:
        package: distribution, or ``python``.
        here: version in this process.
        there: version of the workers, or ``not installed``.
        workers: names of the workers, in order.
        breaks: tasks cannot be expected to run.
    """

    package: str
    here: str
    there: str
    workers: tuple[str, ...]
    breaks: bool

    def __str__(self) -> str:
        others = len(self.workers) - 1
        names = f"worker {self.workers[0]}" + (f" and {others} more" if others else "")
        there = self.there if self.there == ABSENT else f"has {self.there}"
        return f"{self.package}: {names}: {there}, this process has {self.here}"


def check_environment(client: Any) -> tuple[Difference, ...]:
    """Compare the environment of all workers that are there now with this process.

    Nothing of this package is needed on the workers for the question itself.

    Args:
        client: a ``distributed.Client`` with workers.

    Returns:
        Differences that need not break anything.

    Raises:
        RunError: names each worker, package and both versions of what would break.
    """
    found = tuple(_differences(client))
    fatal = [difference for difference in found if difference.breaks]
    if fatal:
        lines = "\n".join(f"  {difference}" for difference in fatal)
        raise RunError(
            f"the workers' environment does not fit this process:\n{lines}\nGive the workers the same environment: "
            "on batch systems through cluster.python or cluster.env_prologue, elsewhere where the workers are started."
        )
    return found


def _differences(client: Any) -> Iterator[Difference]:
    names = {address: str(worker["name"]) for address, worker in _workers(client).items()}
    pythons = client.run(platform.python_version, on_error="ignore")
    yield from _compare(PYTHON, platform.python_version(), pythons, names, parts=2)
    for package, parts in PARTS_THAT_MUST_AGREE.items():
        here = _version_here(package)
        if here != ABSENT:
            answers = client.run(metadata.version, package, on_error="return")
            there = {
                address: ABSENT if isinstance(answer, metadata.PackageNotFoundError) else answer
                for address, answer in answers.items()
                if isinstance(answer, str | metadata.PackageNotFoundError)  # else the worker has left meanwhile
            }
            yield from _compare(package, here, there, names, parts=parts)


def _workers(client: Any) -> dict[str, Any]:
    workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return workers


def _compare(
    package: str, here: str, there: dict[str, str], names: dict[str, str], *, parts: int
) -> Iterator[Difference]:
    by_version: dict[str, list[str]] = {}
    for address, version in there.items():
        if version != here:
            by_version.setdefault(version, []).append(f"{names.get(address, '?')} ({address})")
    for version, workers in by_version.items():
        breaks = version == ABSENT or _leading(version, parts) != _leading(here, parts)
        yield Difference(package, here, version, tuple(sorted(workers)), breaks)


def _leading(version: str, parts: int) -> list[str]:
    """The first numbers of a version, without its local part: 2.13.0+cpu is 2.13.0.

    >>> _leading("2.13.0+cpu", 9), _leading("2026.9.0", 1)
    (['2', '13', '0'], ['2026'])
    """
    return version.partition("+")[0].split(".")[:parts]


def _version_here(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ABSENT
