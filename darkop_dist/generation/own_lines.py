"""Lines that are not for Pythia, ``darkop:<kind>:<text>``: kept beside Pythia's so that recipes have them."""

from __future__ import annotations

from collections.abc import Sequence

PREFIX = "darkop:"


def pythia_alone(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines that Pythia reads."""
    return tuple(line for line in lines if not line.startswith(PREFIX))


def own_line(kind: str, text: str) -> str:
    """A line of our own.

    >>> own_line("suep", "temperature = 3.0")
    'darkop:suep:temperature = 3.0'
    """
    return f"{PREFIX}{kind}:{text}"


def own_text(lines: Sequence[str], kind: str) -> str:
    r"""The text that the lines of one kind make up; empty if there are none.

    >>> own_text(["HardQCD:all = on", "darkop:slha:BLOCK MASS", "darkop:slha:  25 125."], "slha")
    'BLOCK MASS\n  25 125.\n'
    """
    start = own_line(kind, "")
    return "".join(f"{line.removeprefix(start)}\n" for line in lines if line.startswith(start))


def own_settings(lines: Sequence[str], kind: str) -> dict[str, str]:
    """Names and values of the lines of one kind.

    >>> own_settings(["darkop:suep:temperature = 3.0"], "suep")
    {'temperature': '3.0'}
    """
    parts = [line.partition("=") for line in own_text(lines, kind).splitlines()]
    return {name.strip(): value.strip() for name, _, value in parts}
