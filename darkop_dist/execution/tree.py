"""The merge tree: which results are merged with which, fixed by the plan alone.

Groups of ``FAN_IN`` neighbours merge from left to right into one result, groups of those into the next, until one is
left. Sums of floating-point numbers therefore add up in one order, wherever and whenever the chunks were processed.
A child that failed, or that holds nothing, is left out; a group of none gives nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FAN_IN = 32


@dataclass(frozen=True)
class Ref:
    """Where a result is.

    Attributes:
        key: of the result in the store.
        leaf: it is one chunk's; otherwise it is a merged one.
        loose: the result itself, where it could not be packed and is kept in memory.
    """

    key: str
    leaf: bool
    loose: Any = None


@dataclass(frozen=True)
class MergeJob:
    """Results to be merged, from left to right.

    Attributes:
        level: height in the tree; 1 merges chunks.
        group: place in that level.
        children: what to merge; at least two.
    """

    level: int
    group: int
    children: tuple[Ref, ...]

    @property
    def key(self) -> str:
        """Key of the merged result: it depends on its children and their order alone."""
        return hashlib.sha256(" ".join(child.key for child in self.children).encode()).hexdigest()


@dataclass
class MergeTree:
    """What has been merged so far, and what can be merged next.

    Attributes:
        leaves: number of chunks in the plan.
        fan_in: children of a node.
    """

    leaves: int
    fan_in: int = FAN_IN
    _groups: dict[tuple[int, int], dict[int, Ref | None]] = field(default_factory=dict)
    _root: Ref | None = None
    _finished: bool = False

    @property
    def finished(self) -> bool:
        """All chunks and merges are done."""
        return self._finished or self.leaves == 0

    @property
    def root(self) -> Ref | None:
        """The merged result of all chunks; None if no chunk gave anything."""
        return self._root

    def width(self, level: int) -> int:
        """Number of results of a level; level 0 holds the chunks."""
        width = self.leaves
        for _ in range(level):
            width = -(-width // self.fan_in)
        return width

    def complete(self, level: int, position: int, ref: Ref | None) -> MergeJob | None:
        """Tell of a result.

        Args:
            level: 0 for a chunk, the job's own for a merge.
            position: index of the chunk in the plan, or the job's group.
            ref: the result; None if there is none.

        Returns:
            The merge that has become possible, if any.
        """
        while True:
            if self.width(level) == 1:
                self._root, self._finished = ref, True
                return None
            group = position // self.fan_in
            known = self._groups.setdefault((level, group), {})
            known[position] = ref
            size = min(self.fan_in, self.width(level) - group * self.fan_in)
            if len(known) < size:
                return None
            del self._groups[level, group]
            children = tuple(child for _, child in sorted(known.items()) if child is not None)
            level, position = level + 1, group
            if len(children) > 1:
                return MergeJob(level, group, children)
            ref = children[0] if children else None

    def partial(self) -> Sequence[Ref]:
        """What has been merged so far, in the order of the plan: readable while the run goes on."""
        if self._finished:
            return [self._root] if self._root else []
        found = []
        for (level, _), known in self._groups.items():
            span = self.fan_in**level
            found += [(position * span, ref) for position, ref in known.items() if ref is not None]
        return [ref for _, ref in sorted(found, key=lambda item: item[0])]
