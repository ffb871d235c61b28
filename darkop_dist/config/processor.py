"""Section ``processor``: which search runs over the events."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from darkop_dist.config.section import rejected

_CLASS = r"[A-Za-z_]\w*"
_FILE = re.compile(rf"(?P<place>.+\.py):(?P<name>{_CLASS})")
_MODULE = re.compile(rf"(?P<place>{_CLASS}(?:\.{_CLASS})*):(?P<name>{_CLASS})")


@dataclass(frozen=True)
class ProcessorReference:
    """Where a processor's class is.

    Attributes:
        file: Python file that defines it; None if it is in an importable module.
        module: importable module that defines it; None if it is in a file.
        name: name of the class.
    """

    file: Path | None
    module: str | None
    name: str


def parse_processor(text: str) -> ProcessorReference:
    """Split ``path.py:Class`` or ``package.module:Class``.

    Args:
        text: the document's ``processor``.

    Returns:
        The file or module, and the class; nothing is opened or imported.

    Raises:
        ValueError: the text is neither of the two.

    >>> parse_processor("package.searches:MonoJet").module
    'package.searches'
    """
    if match := _FILE.fullmatch(text):
        return ProcessorReference(Path(match["place"]), None, match["name"])
    if match := _MODULE.fullmatch(text):
        return ProcessorReference(None, match["place"], match["name"])
    raise rejected("must be 'path.py:Class' or 'package.module:Class'")


def _check(text: str) -> str:
    parse_processor(text)
    return text


ProcessorField = Annotated[str, AfterValidator(_check)]
"""A processor in the document: ``path.py:Class`` or ``package.module:Class``."""
