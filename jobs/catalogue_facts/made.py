"""What the builders hand over, and the words that they share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

Fact = dict[str, Any]
"""One entry of the portal's list: recid, title, events, files, size, doi, licence, source and more."""


@dataclass(frozen=True)
class Made:
    """A dataset as it will be written.

    Attributes:
        record: keys of a ``DatasetRecord``.
        files: its files, for a file list: keys of ``DatasetFile``; empty where they are not known.
    """

    record: dict[str, Any]
    files: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return str(self.record["name"])


def doubt(fact: str, why: str) -> dict[str, str]:
    """A fact that is not certain, and why."""
    return {"fact": fact, "why": why}


def slug(title: str) -> str:
    """A part of a name: lower case, ``-`` for everything but letters, digits and dots.

    >>> slug("DYJetsToLL_M-50_7TeV")
    'dyjetstoll-m-50-7tev'
    """
    return re.sub(r"[^a-z0-9.]+", "-", title.casefold()).strip("-.")


def of_portal(fact: Fact) -> dict[str, Any]:
    """The keys that every record of the portal has."""
    return {
        "events": fact["events"],
        "file_count": fact["files"],
        "bytes": fact["size"],
        "recid": int(fact["recid"]),
        "doi": fact["doi"],
        "licence": fact["licence"],
    }


def from_source(facts: list[Fact], *sources: str) -> list[Fact]:
    """The portal's entries that come from given source files."""
    return [fact for fact in facts if fact["source"] in sources]
