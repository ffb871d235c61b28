"""One sentence that says what limits a run, from where the workers' time went."""

from __future__ import annotations

from dataclasses import dataclass

from darkop_dist.execution.timeline import Timeline, WorkerTime

CORES_BUSY = 0.75
"""Above this share of processor time in the chunks' time, the cores are what is waited for."""

LITTLE_SCORING = 0.1
SHORT_CHUNK_S = 1.0
ABOUT_EQUAL = 0.85


@dataclass(frozen=True)
class _Share:
    seconds: float
    passed: str  # how the sentence goes on after "61% of the 2 workers' time"
    noun: str
    advice: str


def limiting_sentence(timeline: Timeline) -> str:
    """What took most of the workers' time, with its share and what would help.

    The share is of all workers over the whole pass, from its beginning to the merged result, idle time included. A
    second cause is named if it is nearly as large.

    Args:
        timeline: where the time went.
    """
    total = timeline.total
    if not timeline.chunks:
        if timeline.earlier:
            return f"All {timeline.earlier} chunks came from an earlier pass: nothing was left to process."
        return "No chunk was timed in this run, so nothing can be said of what limits it."
    first, second = sorted(_shares(timeline), key=lambda share: share.seconds, reverse=True)[:2]
    whose = "the worker's" if timeline.workers == 1 else f"the {timeline.workers} workers'"
    sentence = f"{_percent(first.seconds, total)} of {whose} time {first.passed}"
    if second.seconds > ABOUT_EQUAL * first.seconds:
        sentence += f", and about as much, {_percent(second.seconds, total)}, was {second.noun}"
    return f"{sentence}: {first.advice}."


def breakdown(timeline: Timeline) -> str:
    """All shares that are not below a percent, largest first, such as ``reading 61%, computing 30%, starting 9%``."""
    shares = sorted(_shares(timeline), key=lambda share: share.seconds, reverse=True)
    total = timeline.total
    return ", ".join(f"{s.noun} {_percent(s.seconds, total)}" for s in shares if s.seconds >= 0.01 * total.all_s > 0)


def _percent(seconds: float, total: WorkerTime) -> str:
    return f"{100 * seconds / total.all_s if total.all_s else 0.0:.0f}%"


def _shares(timeline: Timeline) -> tuple[_Share, ...]:
    total, mean_s = timeline.total, _chunk_s(timeline)
    return (
        _Share(total.read_s, "went into reading", "reading", _advice_on_reading(timeline)),
        _Share(total.compute_s, "went into the processor's own computing", "computing", _advice_on_computing(timeline)),
        _Share(
            total.score_s,
            "went into waiting for scores",
            "waiting for scores",
            "a faster scorer, or more of them, would help most",
        ),
        _Share(
            total.keep_s,
            "went into packing and writing results",
            "packing and writing results",
            "a faster disk under the output directory, fewer or coarser histograms, or larger chunks "
            "(execution.chunk_events), would help most",
        ),
        _Share(
            total.merge_s,
            "went into merging results",
            "merging",
            "fewer or coarser histograms, or larger chunks (execution.chunk_events), would help most",
        ),
        _Share(
            total.starting_s,
            f"passed before {'its' if timeline.workers == 1 else 'their'} first chunk",
            "starting",
            f"starting up weighs much in a pass of {_duration(timeline.wall_s)}; fewer workers, or workers that "
            "run already, would help most",
        ),
        _Share(
            total.driver_merge_s,
            "was spent idle while the driver merged",
            "waiting for the driver's merging",
            "fewer or coarser histograms, or larger chunks (execution.chunk_events), would help most",
        ),
        _Share(
            total.waiting_s,
            "was spent idle between chunks",
            "waiting between chunks",
            _advice_on_waiting(timeline, mean_s),
        ),
        _Share(
            total.finished_s,
            f"was spent idle {'with nothing' if timeline.chunks < timeline.workers else 'with no chunk'} left to do",
            "nothing left to do",
            _advice_on_balance(timeline, mean_s),
        ),
    )


def _advice_on_reading(timeline: Timeline) -> str:
    share = _cores_busy(timeline)
    if share is None:
        return "faster storage or fewer columns would help most"
    if share >= CORES_BUSY:
        return (
            f"the cores were busy for {100 * share:.0f}% of the chunks' time, so it is decompression rather than "
            "storage; fewer columns, or more cores, would help most"
        )
    return (
        f"the cores were busy for only {100 * share:.0f}% of the chunks' time; faster storage or nearer files would "
        "help most"
    )


def _advice_on_computing(timeline: Timeline) -> str:
    share = _cores_busy(timeline)
    if share is not None and share < CORES_BUSY:
        return (
            f"the cores were busy for only {100 * share:.0f}% of the chunks' time; a core per worker that nothing else "
            "uses would help most, if the processor itself waits for nothing"
        )
    return "a faster processor or more workers would help most"


def _advice_on_waiting(timeline: Timeline, mean_s: float) -> str:
    if timeline.retried:
        return f"{timeline.retried} of {timeline.chunks} chunks needed several attempts, whose time counts here"
    if not timeline.chunks:
        return "every chunk was taken over from an earlier run"
    if mean_s < SHORT_CHUNK_S:
        pause = _duration(timeline.total.waiting_s / timeline.chunks)
        return (
            f"a chunk takes {_duration(mean_s)}, and {pause} pass before its worker begins the next one; larger chunks "
            "(execution.chunk_events) would help most"
        )
    return "the driver or the network hands out chunks too slowly; look at the Dask report"


def _advice_on_balance(timeline: Timeline, mean_s: float) -> str:
    longest_s = max((span.wall_s for lane in timeline.spans.values() for span in lane), default=0.0)
    if timeline.chunks < 3 * timeline.workers:
        have = f"there were {timeline.chunks} chunks for {timeline.workers} workers"
        return f"{have}; smaller chunks (execution.chunk_events) or fewer workers would help most"
    after_s = timeline.wall_s - max(lane[-1].stop_s for lane in timeline.spans.values())
    if after_s > longest_s:
        return f"the result was there {_duration(after_s)} after the last chunk; look at what the driver did then"
    return (
        f"the longest chunk took {_duration(longest_s)}, the mean one {_duration(mean_s)}; smaller chunks "
        "(execution.chunk_events) would help most"
    )


def _cores_busy(timeline: Timeline) -> float | None:
    """Processor time over the time of the chunks; None if it cannot say anything.

    The wait for scores costs processor time if the model runs in the worker and none if it runs elsewhere, so nothing
    is said where it weighs.
    """
    total = timeline.total
    busy_s = total.read_s + total.compute_s + total.keep_s
    if not timeline.cpu_s or total.score_s > LITTLE_SCORING * busy_s:
        return None
    return min(timeline.cpu_s / busy_s, 1.0)


def _chunk_s(timeline: Timeline) -> float:
    total = timeline.total
    return (total.read_s + total.compute_s + total.score_s + total.keep_s) / timeline.chunks if timeline.chunks else 0.0


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
