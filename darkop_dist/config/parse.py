"""YAML to plain values, with the line of every key; mistakes of the syntax are collected, not raised one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from darkop_dist.errors import DocumentError, InputFileError, Mistake

KeyPath = tuple[str | int, ...]
"""Keys and list indices (from 0) from the top of the document."""

_MERGE = "tag:yaml.org,2002:merge"
_SHOWN = 60


@dataclass(frozen=True)
class Place:
    """Where a value was written.

    Attributes:
        line: line of its key or list item, from 1.
        text: the value as it was written, shortened if long.
    """

    line: int
    text: str


@dataclass(frozen=True)
class ParsedText:
    """A YAML document before any meaning is given to it.

    Attributes:
        data: plain dictionaries, lists and scalars.
        places: where each key path was written.
        mistakes: duplicated keys, unknown tags and recursive aliases.
    """

    data: dict[str, Any]
    places: Mapping[KeyPath, Place]
    mistakes: tuple[Mistake, ...]


def show_path(path: KeyPath) -> str:
    """A key path as people write it.

    >>> show_path(("datasets", 2, "files"))
    'datasets[2].files'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "document"


def show_value(value: object) -> str:
    """A value on one line, shortened to 60 characters."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def read_yaml(path: Path) -> ParsedText:
    """Read a YAML file.

    Args:
        path: the file, UTF-8.

    Returns:
        Its values and where they were written.

    Raises:
        InputFileError: the file is missing or cannot be read.
        DocumentError: the file is not YAML, is empty, or is not a mapping of keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputFileError(str(path), "no such document", "Check the path, or write one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(str(path), f"cannot be read as UTF-8 text ({error})", "Check the file.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, file: str) -> ParsedText:
    """Parse YAML text.

    Args:
        text: the document.
        file: its name in messages.

    Returns:
        Its values and where they were written.

    Raises:
        DocumentError: the text is not YAML, is empty, or is not a mapping of keys.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(filter(None, (error.context, error.problem)))
        mistake = Mistake(None if mark is None else mark.line + 1, "document", None, f"not valid YAML: {message}")
        raise DocumentError(file, [mistake]) from error
    except YAMLError as error:
        raise DocumentError(file, [Mistake(None, "document", None, f"not valid YAML: {error}")]) from error
    if not isinstance(root, MappingNode):
        message = (
            "the document is empty" if root is None else "the document must be a mapping, such as 'name: My search'"
        )
        raise DocumentError(file, [Mistake(None if root is None else _line(root), "document", None, message)])
    reader = _Reader(yaml)
    data = reader.read(root, (), frozenset())
    return ParsedText(data, reader.places, tuple(reader.mistakes))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


@dataclass
class _Reader:
    """Walks the node graph once and remembers lines."""

    yaml: YAML
    places: dict[KeyPath, Place] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def read(self, node: Node, path: KeyPath, above: frozenset[int]) -> Any:
        if id(node) in above:
            self._complain(node, path, "an alias must not contain itself")
            return None
        above |= {id(node)}
        if isinstance(node, MappingNode):
            return self._mapping(node, path, above)
        if isinstance(node, SequenceNode):
            return [self._entry(item, item, (*path, index), above) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _entry(self, key: Node, node: Node, path: KeyPath, above: frozenset[int]) -> Any:
        value = self.read(node, path, above)
        text = node.value if isinstance(node, ScalarNode) else value
        self.places[path] = Place(_line(key), show_value(text))
        return value

    def _mapping(self, node: MappingNode, path: KeyPath, above: frozenset[int]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        inherited: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag == _MERGE:
                merged = self.read(item, path, above)
                for mapping in reversed(merged if isinstance(merged, list) else [merged]):
                    inherited |= mapping if isinstance(mapping, dict) else {}
                continue
            name = str(key.value) if isinstance(key, ScalarNode) else show_value(self.read(key, path, above))
            here = (*path, name)
            if name in values:
                message = f"this key is given twice, first on line {self.places[here].line}: keep one"
                self.mistakes.append(Mistake(_line(key), show_path(here), None, message))
                continue
            values[name] = self._entry(key, item, here, above)
        return {**inherited, **values}

    def _scalar(self, node: Node, path: KeyPath) -> Any:
        try:
            return self.yaml.constructor.construct_object(node, deep=True)
        except (YAMLError, ValueError) as error:
            problem = getattr(error, "problem", None) or error
            self._complain(node, path, f"cannot be read: {problem}")
            return None

    def _complain(self, node: Node, path: KeyPath, message: str) -> None:
        self.mistakes.append(Mistake(_line(node), show_path(path), None, message))
