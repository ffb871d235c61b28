"""The parts of a generated sample, made wherever the settings say, kept on disk, and handed out in their order.

Every part is a file in the store from when it is made until the sample is whole, under the key of all that decides it.
So the driver holds one part at a time, whatever their number and in whatever order they come, and a run that was killed
goes on with those that are there. Workers that see the store write the parts themselves; others send them to the
driver, which writes them as they come.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkop_dist.config import Execution as Settings
from darkop_dist.errors import DarkopError, RunError
from darkop_dist.execution.backend import Answer, Backend, Call
from darkop_dist.execution.deadline import deadline
from darkop_dist.execution.execute import Watch, open_backend
from darkop_dist.execution.store import ChunkStore
from darkop_dist.generation.packing import PackedPart, makers_digest, pack_part, part_key, unpack_part
from darkop_dist.generation.plan import PartPlan, complete_plans
from darkop_dist.generation.sample import PartMaker
from darkop_dist.scoring.allocator import keep_memory

if TYPE_CHECKING:
    from darkop_dist.generation.part import Part

LEAST_AHEAD = 64
WIDTHS_AHEAD = 8
MOST_AT_ONCE = 8  # parts of 14 MB, with candidates of pile-up, from workers that do not see the store
FIRST_WAIT_S = 0.2
TRANSIENT = (OSError, MemoryError, TimeoutError)


@dataclass(frozen=True)
class PartDone:
    """A part that is there.

    Attributes:
        index: its place in the sample.
        events: its events as planned; a shower may have vetoed some.
        kept: it was made by an earlier run.
    """

    index: int
    events: int
    kept: bool


@dataclass(frozen=True)
class PartsWatch:
    """Whoever watches.

    Attributes:
        say: is told what happens.
        done: is told of every part once it is there.
        dashboard: is told where the Dask dashboard is.
    """

    say: Callable[[str], None] = lambda _: None
    done: Callable[[PartDone], None] = lambda _: None
    dashboard: Callable[[str], None] = lambda _: None


def parts_maker(settings: Settings, store: ChunkStore, watch: PartsWatch, client: Any = None) -> PartMaker:
    """What makes the parts of a sample.

    Args:
        settings: where to make them; ``retries`` and ``chunk_timeout_s`` count for a part as for a chunk.
        store: where they are kept; it has been created, and those that are there are taken up.
        watch: is told what happens.
        client: a Dask client to use, which is not closed; by default what the settings say.

    Returns:
        A function from plans to a context that yields their parts in the same order. It raises UserError or RunError as
        `part.make_part` does, StorageError if parts cannot be kept, and RunError if a part's worker dies or hangs more
        than ``retries`` times or the cluster is lost.
    """

    @contextmanager
    def maker(plans: Sequence[PartPlan]) -> Iterator[Iterator[Part]]:
        telling = Watch(say=watch.say, dashboard=watch.dashboard)
        with (
            complete_plans(plans) as complete,
            open_backend(None, settings, client, store.path, telling, most_at_once=MOST_AT_ONCE) as backend,
        ):
            yield _Parts(plans, complete, backend, store, settings, watch).in_order()

    return maker


class _Parts:
    """Makes the parts of one sample; one object for one run."""

    def __init__(
        self,
        plans: Sequence[PartPlan],
        complete: Callable[[PartPlan], PartPlan],
        backend: Backend,
        store: ChunkStore,
        settings: Settings,
        watch: PartsWatch,
    ) -> None:
        self._plans, self._complete, self._backend, self._store = plans, complete, backend, store
        self._settings, self._watch, self._seen = settings, watch, store.told()
        self._begun = 0
        self._keys: dict[int, str] = {}
        self._done: set[int] = set()
        self._in_flight: dict[int, int] = {}
        self._waiting: list[tuple[float, int]] = []
        self._failures: dict[int, list[str]] = {}
        self._avoid: dict[int, set[str]] = {}
        self._tokens = 0

    def in_order(self) -> Iterator[Part]:
        """One part after the other, each read from the store when it is asked for."""
        for place in range(len(self._plans)):
            while (part := self._taken(place)) is None:
                self._fill(place)
                if place not in self._done:
                    self._hear(wait=True)
            yield part
            del part  # the next one is not to be read beside it
            self._fill(place + 1)
            self._hear(wait=False)

    def _taken(self, place: int) -> Part | None:
        """A part that is there and whole; one that cannot be read back is made again."""
        if place not in self._done:
            return None
        stored = self._store.read("parts", self._keys[place])
        if stored is None:
            self._done.discard(place)
            self._failed(place, f"the part cannot be read back from {self._store.path}")
            return None
        self._done.discard(place)
        del self._keys[place]
        return unpack_part(dict(stored.header), stored.data)

    def _fill(self, place: int) -> None:
        """Send what is due, then new parts, as far as the backend takes them and not too far ahead."""
        width = self._backend.width
        ahead = place + max(LEAST_AHEAD, WIDTHS_AHEAD * width)
        while len(self._in_flight) < width:
            if self._waiting and self._waiting[0][0] <= time.monotonic():
                self._send(heapq.heappop(self._waiting)[1])
            elif self._begun < min(len(self._plans), ahead):
                self._begun += 1
                self._begin(self._begun - 1)
            else:
                return

    def _begin(self, place: int) -> None:
        plan = self._complete(self._plans[place])
        self._keys[place] = part_key(plan)
        if self._store.has("parts", self._keys[place]):
            self._conclude(place, kept=True)
        else:
            self._send(place, plan)

    def _send(self, place: int, plan: PartPlan | None = None) -> None:
        store = self._store.path if self._backend.shared else None
        whole = plan or self._complete(self._plans[place])
        key = self._keys[place]
        arguments = (whole, key, store, self._seen, makers_digest(), self._settings.chunk_timeout_s)
        self._tokens += 1
        self._in_flight[self._tokens] = place
        self._backend.submit(Call(self._tokens, run_part, arguments, frozenset(self._avoid.get(place, ())), key))

    def _hear(self, *, wait: bool) -> None:
        """Take what is done; wait for the first answer, or until something that waits is due."""
        due = max(self._waiting[0][0] - time.monotonic(), 0.0) if self._waiting else None
        if self._in_flight:
            for answer in self._backend.answers(due if wait else 0.0):
                self._take(self._in_flight.pop(answer.token), answer)
        elif wait and due:
            time.sleep(due)

    def _take(self, place: int, answer: Answer) -> None:
        if answer.lost:
            self._avoid.setdefault(place, set()).add(answer.worker)
            self._failed(place, answer.lost)
        elif isinstance(answer.error, TRANSIENT):
            self._failed(place, f"{type(answer.error).__name__}: {answer.error}")
        elif answer.error is not None:
            raise self._translated(place, answer.error)
        else:
            if isinstance(answer.value, PackedPart):
                self._store.write("parts", self._keys[place], answer.value.header, answer.value.data)
            self._conclude(place, kept=False)

    def _failed(self, place: int, why: str) -> None:
        """Try again, unless it has been tried often enough."""
        failures = self._failures.setdefault(place, [])
        failures.append(why)
        if len(failures) > self._settings.retries:
            counted = "; ".join(f"{reason} ({failures.count(reason)} times)" for reason in dict.fromkeys(failures))
            raise RunError(
                f"{self._name(place)} failed {len(failures)} times: {counted}. Give the workers more memory, or look "
                "at the reason."
            )
        self._watch.say(f"{self._name(place)} is tried again: {why}")
        heapq.heappush(self._waiting, (time.monotonic() + FIRST_WAIT_S * 2 ** (len(failures) - 1), place))

    def _conclude(self, place: int, *, kept: bool) -> None:
        self._done.add(place)
        self._failures.pop(place, None)
        self._watch.done(PartDone(place, self._plans[place].events, kept))

    def _translated(self, place: int, error: BaseException) -> BaseException:
        if isinstance(error, DarkopError):
            error.add_note(f"in {self._name(place)}")
            return error
        found = RunError(
            f"{self._name(place)} cannot be made ({type(error).__name__}: {error}). If it fails on a worker alone, "
            "compare what is installed there with what is installed here; else please report it."
        )
        found.__cause__ = error
        return found

    def _name(self, place: int) -> str:
        return f"part {place + 1} of {len(self._plans)} of {self._plans[place].process}"


def run_part(
    _payload: None, plan: PartPlan, key: str, store: Path | None, seen: str, makers: str, timeout_s: float | None
) -> PackedPart | None:
    """Runs in a worker: one part.

    Args:
        plan: of the part, with the text of its events.
        key: under which it is kept.
        store: where, if all workers that were asked see that directory.
        seen: what the store's token says.
        makers: what makes parts in the driver, see `packing.makers_digest`.
        timeout_s: after how long the part counts as hanging; None for never.

    Returns:
        The part, or None if this worker has put it into the store.

    Raises:
        RunError: this worker would make other parts than the driver.
        UserError, RunError: see `part.make_part`.
    """
    from darkop_dist.generation.part import make_part

    if makers_digest() != makers:
        raise RunError(
            "a worker has another version of darkop-dist, Pythia, fastjet, numpy or awkward than this process, so its "
            "events would be others. Install the same versions there."
        )
    keep_memory()
    with deadline(timeout_s, key):
        packed = pack_part(make_part(plan))
    kept = ChunkStore(store) if store is not None else None
    if kept is None or not kept.is_seen(seen):
        return packed
    kept.write("parts", key, packed.header, packed.data)
    return None
