"""What pydantic finds wrong, said in the document's terms: line, key path, value, what would be accepted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from darkop_dist.config.parse import KeyPath, Place, show_path, show_value
from darkop_dist.errors import Mistake, nearest_names

Context = Mapping[str, Any]

_ABSENT = object()

_MESSAGES: dict[str, Callable[[Context], str]] = {
    "greater_than": lambda context: f"must be greater than {context['gt']:g}",
    "greater_than_equal": lambda context: f"must be at least {context['ge']:g}",
    "less_than": lambda context: f"must be less than {context['lt']:g}",
    "less_than_equal": lambda context: f"must be at most {context['le']:g}",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "finite_number": lambda _: "must be a finite number",
    "string_type": lambda _: "must be text",
    "path_type": lambda _: "must be a path",
    "bool_type": lambda _: "must be true or false",
    "tuple_type": lambda _: "must be a list",
    "list_type": lambda _: "must be a list",
    "dict_type": lambda _: "must be a mapping of keys",
    "model_type": lambda _: "must be a mapping of keys",
    "string_too_short": lambda _: "must not be empty",
    "too_short": lambda context: (
        "must not be empty" if context["min_length"] == 1 else f"must have at least {context['min_length']} entries"
    ),
    "string_pattern_mismatch": lambda context: f"must match the pattern {context['pattern']}",
}


def mistakes_from(
    error: ValidationError,
    model: type[BaseModel],
    data: object,
    places: Mapping[KeyPath, Place],
    prefix: KeyPath = (),
) -> list[Mistake]:
    """Translate pydantic's findings.

    Args:
        error: what pydantic raised.
        model: the class that was validated.
        data: the whole document as plain values.
        places: where each key path was written; empty where lines are not known.
        prefix: where in the document the validated part begins.

    Returns:
        One mistake per key path, in the order of the document.
    """
    grouped: dict[KeyPath, list[tuple[str, tuple[str, ...]]]] = {}
    too_short: set[KeyPath] = set()
    part = _part(data, prefix)
    part = {} if part is _ABSENT else part
    for detail in error.errors(include_url=False):
        inner = _path_in(part, detail["loc"], absent_key=detail["type"] in {"missing", "extra_forbidden"})
        path = (*prefix, *inner)
        grouped.setdefault(path, []).append(_explain(detail, model, inner))
        if detail["type"] == "too_short":
            too_short.add(path)
    # pydantic leaves invalid entries out when it counts, so a list with a wrong entry is called too short as well
    for path in too_short:
        if any(other[: len(path)] == path and other != path for other in grouped):
            del grouped[path]
    return in_order(
        [
            mistake_at(path, _join(message for message, _ in found), data, places, nearest=_first(found))
            for path, found in grouped.items()
        ]
    )


def _join(messages: Iterable[str]) -> str:
    """One message for the alternatives of a union."""
    first, *others = dict.fromkeys(messages)
    return " or ".join([first, *(other.removeprefix("must be ") for other in others)])


def _first(found: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    return next((nearest for _, nearest in found if nearest), ())


def mistake_at(
    path: KeyPath, message: str, data: object, places: Mapping[KeyPath, Place], *, nearest: tuple[str, ...] = ()
) -> Mistake:
    """A mistake at a key path.

    Args:
        path: where; the line is that of the nearest enclosing key if this one is absent.
        message: what is wrong and what would be accepted.
        data: the whole document as plain values.
        places: where each key path was written.
        nearest: valid choices, nearest first.

    Returns:
        The mistake with its line and value.
    """
    if path and isinstance(path[-1], int) and isinstance(_part(data, path[:-1]), str):
        path = path[:-1]  # one name stands for a list of one
    place = places.get(path)
    found = _part(data, path)
    value = place.text if place else None if found is _ABSENT else show_value(found)
    enclosing = next((places[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in places), None)
    return Mistake(enclosing.line if enclosing else None, show_path(path), value, message, nearest)


def in_order(mistakes: list[Mistake]) -> list[Mistake]:
    """Mistakes in the order of the document; those without a line come last."""
    return sorted(mistakes, key=lambda mistake: (mistake.line is None, mistake.line or 0))


def _explain(detail: ErrorDetails, model: type[BaseModel], path: KeyPath) -> tuple[str, tuple[str, ...]]:
    context: Context = detail.get("ctx", {})
    kind, found = detail["type"], detail["input"]
    if kind == "missing":
        known = _fields(model, path[:-1])
        about = (known[str(path[-1])].description or "") if str(path[-1]) in known else ""
        return f"this key is required: {about}".rstrip(": "), ()
    if kind == "extra_forbidden":
        known = _fields(model, path[:-1])
        return f"unknown key: must be one of {', '.join(known)}", nearest_names(str(path[-1]), known)
    if kind in {"literal_error", "enum"}:
        choices = re.findall(r"'([^']*)'", context["expected"])
        return f"must be {context['expected']}", nearest_names(str(found), choices)
    if kind == "rejected" and "message" in context:
        return str(context["message"]), tuple(context["nearest"])
    if kind in _MESSAGES:
        return _MESSAGES[kind](context), ()
    message = detail["msg"].removeprefix("Value error, ")
    return re.sub(r"^(Input|Value|String) should ", "must ", message), ()


def _child(data: object, part: str | int) -> object:
    """The value below a key or index, or _ABSENT."""
    if isinstance(data, dict):
        return data.get(part, _ABSENT)
    if isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
        return data[part]
    return _ABSENT


def _path_in(data: object, location: tuple[str | int, ...], *, absent_key: bool) -> KeyPath:
    """Drop the parts of pydantic's location that are no keys of the document, such as the tags of unions."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        child = _child(data, part)
        names_absent_key = absent_key and index == len(location) - 1 and isinstance(data, dict)
        if child is not _ABSENT or names_absent_key:
            path.append(part)
            data = child
    return tuple(path)


def _part(data: object, path: KeyPath) -> object:
    """The value at a key path, or _ABSENT."""
    for key in path:
        data = _child(data, key)
    return data


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _fields(model: type[BaseModel], path: KeyPath) -> dict[str, FieldInfo]:
    """The keys that are accepted at a key path: a key of a free mapping or an index stays in the same models."""
    models = [model]
    for part in path:
        annotations = [found.model_fields[str(part)].annotation for found in models if str(part) in found.model_fields]
        models = [inner for annotation in annotations for inner in _models_in(annotation)] or models
    return {name: info for found in models for name, info in found.model_fields.items()}
