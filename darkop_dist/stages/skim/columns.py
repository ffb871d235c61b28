"""Which branches a skim keeps: globs of NanoAOD's names, and what no skim goes without."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from darkop_dist.config.datasets import is_pattern
from darkop_dist.errors import InputValueError

ALWAYS = ("run", "luminosityBlock", "event", "genWeight")


@dataclass(frozen=True)
class ColumnRules:
    """Which branches are kept.

    Attributes:
        keep: globs of branches, ``Jet_*`` or ``HLT_PFMET*``; the name of a collection stands for all of its branches.
        drop: globs of branches that are left out of these.
    """

    keep: tuple[str, ...] = ("*",)
    drop: tuple[str, ...] = ()

    def choose(self, names: Sequence[str], counters: frozenset[str]) -> tuple[str, ...]:
        """The branches of a file that are kept, in its order; the counters of lists are not among them.

        Args:
            names: all branches of the file.
            counters: those that count a collection.
        """
        own = [name for name in names if name not in counters]
        kept = {name for pattern in self.keep for name in _matching(pattern, own, counters)}
        dropped = {name for pattern in self.drop for name in _matching(pattern, own, counters)}
        return tuple(name for name in own if name in ALWAYS or (name in kept and name not in dropped))

    def unmatched(self, names: Sequence[str], counters: frozenset[str]) -> frozenset[str]:
        """The globs and names that match no branch of a file."""
        own = [name for name in names if name not in counters]
        return frozenset(pattern for pattern in (*self.keep, *self.drop) if not _matching(pattern, own, counters))

    def required(self, names: Sequence[str], counters: frozenset[str]) -> tuple[str, ...]:
        """Branches that every file of a dataset must have: its first file has them, and they were named in full."""
        named = [pattern for pattern in self.keep if not is_pattern(pattern) and pattern in names]
        return tuple(name for name in named if name not in counters)


def column_rules(columns: str | Sequence[str], drop: str | Sequence[str] = ()) -> ColumnRules:
    """Rules from what the user wrote: one text with commas, or several.

    Raises:
        InputValueError: no columns are named.
    """
    keep = _split(columns)
    if not keep:
        raise InputValueError("columns", "names none", "Give globs such as 'Jet_*,MET_*', or '*' for all")
    return ColumnRules(keep, _split(drop))


def _split(given: str | Sequence[str]) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given
    return tuple(name.strip().replace(".", "_") for text in texts for name in text.split(",") if name.strip())


def _matching(pattern: str, own: Sequence[str], counters: frozenset[str]) -> list[str]:
    if is_pattern(pattern):
        return [name for name in own if fnmatch.fnmatchcase(name, pattern)]
    if pattern in own:
        return [pattern]
    group = pattern[1:] if pattern in counters else pattern  # counters come with their lists
    return [name for name in own if name == group or name.startswith(f"{group}_")]
