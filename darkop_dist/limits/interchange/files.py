"""Files of another program's format, complete in memory before the first is written."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from darkop_dist.errors import OutputError
from darkop_dist.runs import write_atomically


@dataclass(frozen=True)
class Interchange:
    """What another program reads.

    Attributes:
        files: content by path below the directory.
        notes: what is approximate or was left out, in sentences.
    """

    files: Mapping[str, bytes]
    notes: tuple[str, ...] = ()

    def below(self, folder: str) -> Interchange:
        """The same files in a folder of the directory."""
        return Interchange({f"{folder}/{name}": content for name, content in self.files.items()}, self.notes)

    def save(self, directory: Path) -> None:
        """Make a directory with the files: all of them or nothing.

        Raises:
            OutputError: the directory exists already, or cannot be written.
        """
        require_absent(directory)
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        except OSError as error:
            raise OutputError(f"{directory}: cannot be written ({error.strerror}). Choose another place.") from error
        try:
            for name, content in self.files.items():
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(unfinished / name, content)
            unfinished.chmod(0o755)
            unfinished.rename(directory)
        except OSError as error:
            raise OutputError(f"{directory}: cannot be written ({error.strerror}). Choose another place.") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def require_absent(directory: Path) -> None:
    """Check that nothing is replaced, before work is spent.

    Raises:
        OutputError: there is something at that place already.
    """
    if directory.exists():
        raise OutputError(f"{directory}: exists already. Choose another directory.")


def united(parts: Mapping[str, Interchange]) -> Interchange:
    """One directory with a folder for each part; a part alone needs none."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    folders = [part.below(name) for name, part in parts.items()]
    notes = (f"{name}: {note}" for name, part in parts.items() for note in part.notes)
    return Interchange({n: c for part in folders for n, c in part.files.items()}, tuple(notes))
