"""Which commit a source belongs to, where git or the installer knows."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

WAIT_S = 20


@dataclass(frozen=True)
class CodeVersion:
    """Where a source is in the history of its repository.

    Attributes:
        commit: the commit that was checked out; None where nobody knows.
        modified: whether the files are not as they are there; None where nobody knows.
    """

    commit: str | None = None
    modified: bool | None = None


UNKNOWN = CodeVersion()


def code_version(place: Path) -> CodeVersion:
    """The commit of a folder or file that git tracks; unknown where git is absent or does not track it.

    >>> code_version(Path("/"))
    CodeVersion(commit=None, modified=None)

    Args:
        place: the folder or file; changes elsewhere in its repository do not count.
    """
    folder = place if place.is_dir() else place.parent
    tracked = _git(folder, "ls-files", "--", str(place.absolute()))
    commit = _git(folder, "rev-parse", "HEAD") if tracked else None
    if not commit:
        return UNKNOWN
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", str(place.absolute()))
    return CodeVersion(commit=commit, modified=None if changes is None else bool(changes))


@lru_cache(maxsize=1)
def package_version() -> CodeVersion:
    """The commit of this package: of its repository, or the one that it was installed from."""
    found = code_version(Path(__file__).parents[1])
    return found if found.commit else _installed_from()


def _installed_from() -> CodeVersion:
    """What the installer wrote down (PEP 610)."""
    try:
        told = json.loads(metadata.distribution("darkop-dist").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return UNKNOWN
    commit = told.get("vcs_info", {}).get("commit_id")
    return CodeVersion(commit=commit, modified=False) if commit else UNKNOWN


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
