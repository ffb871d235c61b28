"""How long a worker of a batch job takes work, so that no job is cut off by its walltime with work in hand."""

from __future__ import annotations

from dataclasses import dataclass

from darkop_dist.config import Cluster, parse_duration


@dataclass(frozen=True)
class Lifetime:
    """When a worker retires, counted from its own start.

    Attributes:
        walltime_s: when the batch system ends the job.
        lifetime_s: middle of the time at which workers retire.
        stagger_s: they retire at random up to this much before or after, so that not all leave at once.
    """

    walltime_s: int
    lifetime_s: int
    stagger_s: int

    @property
    def latest_s(self) -> int:
        """When the last worker has retired: a chunk that takes longer is never done."""
        return self.lifetime_s + self.stagger_s


def lifetime_for(cluster: Cluster) -> Lifetime | None:
    """The lifetime that a document asks for; None where it sets no walltime."""
    if cluster.walltime is None:
        return None
    margin_s = None if cluster.retire_before is None else parse_duration(cluster.retire_before)
    return lifetime_of(parse_duration(cluster.walltime), margin_s)


def lifetime_of(walltime_s: int, margin_s: int | None = None) -> Lifetime:
    """The lifetime that fits into a walltime.

    The latest worker retires ``margin_s`` before the job ends: time for the start of the job, for moving results to
    other workers, and for its current task, which otherwise starts again elsewhere. Without a margin it is a twentieth
    of the walltime, at least a minute and at most ten, and never more than a quarter.

    >>> lifetime_of(7200)
    Lifetime(walltime_s=7200, lifetime_s=6498, stagger_s=342)

    Args:
        walltime_s: length of the job in seconds.
        margin_s: how long before its end every worker has retired.
    """
    if margin_s is None:
        margin_s = min(max(60, walltime_s // 20), 600, walltime_s // 4)
    latest = walltime_s - margin_s
    stagger = min(latest // 20, 600)
    return Lifetime(walltime_s, latest - stagger, stagger)


def clock(seconds: int, *, with_seconds: bool = True) -> str:
    """A duration as ``HH:MM:SS``, or ``HH:MM`` rounded up to the minute.

    >>> clock(9000), clock(130_000), clock(9001, with_seconds=False)
    ('02:30:00', '36:06:40', '02:31')
    """
    if not with_seconds:
        seconds = -(-seconds // 60) * 60
    hours, rest = divmod(seconds, 3600)
    text = f"{hours:02d}:{rest // 60:02d}"
    return f"{text}:{rest % 60:02d}" if with_seconds else text
