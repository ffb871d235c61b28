"""The one error tree.

    DarkopError
    ├── UserError                 the user's mistake: exit status 2
    │   ├── DocumentError         mistakes in the analysis document, all of them at once
    │   ├── UnknownNameError      a dataset, process, checkpoint or region that does not exist
    │   ├── InputFileError        a missing, truncated, corrupt, empty or incomplete input file
    │   │   ├── DamagedFileError  a file that is truncated, corrupt or not the one that was planned
    │   │   └── UnreachableFileError  a file that did not answer, however often it was asked
    │   ├── InputValueError       values in the input that cannot be used: NaN or negative total weights
    │   ├── OutputError           an output that exists already or cannot be written
    │   ├── UnpackableError       a result of a processor that cannot be kept in a file
    │   ├── MergeError            results of two chunks that cannot be added
    │   ├── StatisticsError       a statistical statement that the input does not support
    │   ├── MissingExtraError     an optional dependency that is not installed
    │   └── MissingToolError      a program that is not installed
    └── RunError                  a failure of the run: exit status 1
        ├── ChunkError            a bug of the processor, with the chunk that shows it
        ├── StorageError          results that cannot be kept: a full disk, a quota, a file system that is read-only
        ├── LedgerError           events that are not accounted for
        ├── FingerprintError      a model that is not the one the run began with
        ├── ScoringOutageError    a server of scores that does not answer, however often it is asked
        ├── FitError              a fit that did not converge
        └── ToolError             a program that failed, with its command, exit status and what it said

Every error says what is wrong, names the thing, and says what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

EXIT_USER = 2
EXIT_FAILURE = 1


class DarkopError(Exception):
    """Root of all errors that this package raises on purpose."""

    exit_status = EXIT_FAILURE


class UserError(DarkopError):
    """Something that the user can put right."""

    exit_status = EXIT_USER


class RunError(DarkopError):
    """A run that failed for a reason other than the user's input."""


@dataclass(frozen=True)
class Mistake:
    """One mistake in a document.

    Attributes:
        line: line in the document, counted from 1; for an absent key the section that lacks it; None if unknown.
        path: key path, such as ``limits.statistic`` or ``datasets[2].files``.
        value: the value found, as it was written; None when the key is absent.
        message: what is wrong and what would be accepted.
        nearest: valid choices close to the value, nearest first.
    """

    line: int | None
    path: str
    value: str | None
    message: str
    nearest: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line}: "
        found = "" if self.value is None else f" (found {self.value})"
        hint = f"; did you mean {' or '.join(map(repr, self.nearest))}?" if self.nearest else ""
        return f"{place}{self.path}: {self.message}{found}{hint}"


class DocumentError(UserError):
    """All mistakes of one analysis document.

    Attributes:
        file: the document.
        mistakes: every mistake that was found, in the order of the document.
    """

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        self.file = file
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        lines = "\n".join(f"  {mistake}" for mistake in self.mistakes)
        super().__init__(f"{file}: {count} mistake{'s' if count != 1 else ''} in the document\n{lines}")


class UnknownNameError(UserError):
    """A name that does not exist.

    Attributes:
        kind: what was looked for, such as ``dataset``.
        name: the name that was asked for.
        nearest: existing names close to it, nearest first.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], what_to_do: str) -> None:
        self.kind = kind
        self.name = name
        self.nearest = nearest_names(name, known)
        hint = f" Did you mean {' or '.join(self.nearest)}?" if self.nearest else ""
        super().__init__(f"unknown {kind} {name!r}.{hint} {what_to_do}")


class InputFileError(UserError):
    """A file that cannot be used.

    Attributes:
        file: the file's path or address.
        problem: what is wrong with it.
        what_to_do: how to go on.
    """

    def __init__(self, file: str, problem: str, what_to_do: str) -> None:
        self.file = file
        self.problem = problem
        self.what_to_do = what_to_do
        super().__init__(f"{file}: {problem}. {what_to_do}")

    def __reduce__(self) -> tuple[type[InputFileError], tuple[str, str, str]]:
        return type(self), (self.file, self.problem, self.what_to_do)


class DamagedFileError(InputFileError):
    """A file that is truncated, corrupt or not the one that was planned: another try cannot help, another copy may."""


class UnreachableFileError(InputFileError):
    """A file that did not answer: another try, or another copy, may help."""


class InputValueError(UserError):
    """Values that cannot be used, such as NaN weights.

    Attributes:
        thing: the dataset, file or column that holds them.
        problem: what is wrong.
        what_to_do: how to go on.
    """

    def __init__(self, thing: str, problem: str, what_to_do: str) -> None:
        self.thing = thing
        self.problem = problem
        self.what_to_do = what_to_do
        super().__init__(f"{thing}: {problem}. {what_to_do}")

    def __reduce__(self) -> tuple[type[InputValueError], tuple[str, str, str]]:
        return type(self), (self.thing, self.problem, self.what_to_do)


class OutputError(UserError):
    """An output that exists already or that cannot be written."""


class UnpackableError(UserError):
    """A result of a processor that cannot be written without pickle, and so cannot be kept for a resume.

    Attributes:
        path: where it stands in the result, such as ``output['masses']``.
        found: what stands there.
        accepted: what would be accepted.
    """

    def __init__(self, path: str, found: str, accepted: str) -> None:
        self.path = path
        self.found = found
        self.accepted = accepted
        super().__init__(f"{path}: {found} cannot be kept in a file. Accepted are {accepted}")

    def __reduce__(self) -> tuple[type[UnpackableError], tuple[str, str, str]]:
        return type(self), (self.path, self.found, self.accepted)


class MergeError(UserError):
    """Results of two chunks that cannot be added.

    Attributes:
        path: where they stand in the result, such as ``output['masses']``.
        first: type of the first.
        second: type of the second.
        problem: why not.
    """

    def __init__(self, path: str, first: str, second: str, problem: str) -> None:
        self.path = path
        self.first = first
        self.second = second
        self.problem = problem
        super().__init__(
            f"{path}: two chunks returned values that cannot be added, {first} and {second}: {problem}. "
            "Let the processor return the same type, axes and bins for every chunk"
        )

    def __reduce__(self) -> tuple[type[MergeError], tuple[str, str, str, str]]:
        return type(self), (self.path, self.first, self.second, self.problem)


class StatisticsError(UserError):
    """A statistical statement that the input does not support, such as alpha below the floor."""


class MissingExtraError(UserError):
    """An optional dependency that is not installed.

    Attributes:
        extra: the extra that brings it.
    """

    def __init__(self, module: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"this needs the module {module!r}, which is not installed. Run: pip install 'darkop-dist[{extra}]'"
        )


class MissingToolError(UserError):
    """A program that is not installed.

    Attributes:
        tool: its name.
        install: the command that installs it.
    """

    def __init__(self, tool: str, install: str) -> None:
        self.tool, self.install = tool, install
        super().__init__(f"this needs the program {tool}, which is not installed. Run: {install}")


class ChunkError(RunError):
    """A bug of the processor, with the chunk that shows it.

    Attributes:
        index: the chunk's place in the plan.
        problem: the chunk and what happened in it.
    """

    def __init__(self, problem: str, index: int = -1) -> None:
        self.problem = problem
        self.index = index
        super().__init__(problem)

    def __reduce__(self) -> tuple[type[ChunkError], tuple[str, int]]:
        return type(self), (self.problem, self.index)


class StorageError(RunError):
    """Results that cannot be kept: a full disk, a quota, a file system that is read-only."""


class LedgerError(RunError):
    """Events that are not accounted for.

    Attributes:
        partial: the result without them, where there is one.
    """

    partial: Any = None


class FingerprintError(RunError):
    """A model that is not the one that the run began with."""


class ScoringOutageError(RunError):
    """A server of scores that does not answer, however often it is asked."""


class FitError(RunError):
    """A fit that did not converge."""


def nearest_names(name: str, known: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """The known names closest to a name, nearest first.

    >>> nearest_names("ttbra", ["ttbar", "wjets"])
    ('ttbar',)
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), list(by_folded), n=most, cutoff=0.5)
    return tuple(by_folded[match] for match in matches)


class ToolError(RunError):
    """A program that failed.

    Attributes:
        command: what was run.
        status: its exit status; None if it ran out of time.
        output: what it wrote to standard output.
        errors: what it wrote to standard error.
    """

    def __init__(self, command: Sequence[str], status: int | None, output: str, errors: str, advice: str) -> None:
        self.command, self.status, self.output, self.errors = tuple(command), status, output, errors
        ended = "ran out of time" if status is None else f"ended with exit status {status}"
        said = "".join(f"\n{name}:\n{_last(text)}" for name, text in (("stdout", output), ("stderr", errors)))
        super().__init__(f"{' '.join(command)}: {ended}. {advice}{said}")


def _last(text: str, lines: int = 20) -> str:
    kept = text.strip().splitlines()[-lines:]
    return "\n".join(f"  {line[:300]}" for line in kept) or "  (nothing)"
