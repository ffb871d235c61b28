"""What all sections of the document have in common: they are frozen, and they accept no unknown key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from darkop_dist.errors import nearest_names

SECTION = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
"""Settings of every section. Descriptions in the JSON schema are the attributes' docstrings."""


def rejected(message: str, *, value: str = "", choices: Iterable[str] = ()) -> PydanticCustomError:
    """The error that a field's validator raises, so that the mistake can offer choices.

    Args:
        message: what would be accepted.
        value: the value found, compared with the choices.
        choices: valid values.

    Returns:
        An error to raise (a subclass of ValueError).
    """
    context = {"message": message, "nearest": nearest_names(value, choices)}
    return PydanticCustomError("rejected", "{message}", context)


def as_tuple(value: object) -> object:
    """One name or a list of names as a tuple, before validation."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[
    tuple[Name, ...], Field(min_length=1), BeforeValidator(as_tuple, json_schema_input_type=Name | list[Name])
]
"""One name or a list of names in the document; always a tuple in the object."""

Probability = Annotated[float, Field(gt=0, lt=1)]
"""A number strictly between 0 and 1."""
