"""Section ``access``: how remote files are reached, in a document or in a user's own file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from darkop_dist.config.mistakes import in_order, mistakes_from
from darkop_dist.config.parse import read_yaml
from darkop_dist.config.section import SECTION, Name, Names, rejected
from darkop_dist.errors import DocumentError

USER_FILE = "DARKOP_ACCESS"
"""Environment variable that names a user's own file with the keys of this section."""


def _check_prefix(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or not scheme.isalnum() or not rest:
        raise rejected("must be the beginning of an address, such as root://eospublic.cern.ch//eos/opendata/")
    return value


def _check_places(value: tuple[str, ...]) -> tuple[str, ...]:
    for place in value:
        if "://" not in place and not place.startswith("/"):
            raise rejected("must be beginnings of addresses, or absolute directories", value=place)
    return value


def _check_endpoint(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise rejected("must be an address that begins with http:// or https://")
    return value


class Mirror(BaseModel):
    """Where else the files are whose addresses begin alike; the beginning is replaced as text."""

    model_config = SECTION

    prefix: Annotated[Name, AfterValidator(_check_prefix)]
    """Beginning of the addresses that this is about, such as ``root://eospublic.cern.ch//eos/opendata/``."""
    instead: Annotated[Names, AfterValidator(_check_places)]
    """What stands in its place, in the order in which it is tried: another server, a cache (``root://CACHE//`` before
    the whole prefix) or a directory. The address itself is tried after these, or where the prefix stands among them."""


class S3(BaseModel):
    """How ``s3://`` addresses are reached; credentials come from the environment, never from a document."""

    model_config = SECTION

    endpoint: Annotated[Name, AfterValidator(_check_endpoint)] | None = None
    """Address of the service; that of the environment (``AWS_ENDPOINT_URL``), or else Amazon's, by default."""
    anonymous: bool = False
    """Whether to ask without credentials, as for public buckets."""


class Access(BaseModel):
    """How remote files are reached."""

    model_config = SECTION

    mirrors: tuple[Mirror, ...] = ()
    """Where else files are; of several that fit, the longest prefix counts."""
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest silence of a server, in seconds; a request may take this long and 10 s more for each megabyte of it."""
    tries: Annotated[int, Field(ge=1, le=20)] = 1
    """How often a request is made before it counts as failed; a run tries its chunks again besides, see
    ``execution.retries``."""
    gap_bytes: Annotated[int, Field(ge=0)] = 4096
    """Over HTTP and S3, pieces of a file that lie no farther apart are read with one request, and the gap with them."""
    s3: S3 = S3()
    """How ``s3://`` addresses are reached."""
    cache: bool = False
    """Whether remote files are read from verified copies on this machine, which are downloaded first if need be."""

    def addresses(self, copies: Iterable[str]) -> tuple[str, ...]:
        """Where a file is looked for: each of its addresses with its mirrors, each place once.

        Args:
            copies: addresses and paths of the file, the preferred one first.

        >>> cache = Mirror(prefix="root://a//", instead=("root://cache//root://a//",))
        >>> Access(mirrors=(cache,)).addresses(["root://a//f.root"])
        ('root://cache//root://a//f.root', 'root://a//f.root')
        """
        return tuple(dict.fromkeys(place for copy in copies for place in self._places(copy)))

    def _places(self, copy: str) -> tuple[str, ...]:
        fitting = [mirror for mirror in self.mirrors if copy.startswith(mirror.prefix)]
        if not fitting:
            return (copy,)
        mirror = max(fitting, key=lambda found: len(found.prefix))
        rest = copy.removeprefix(mirror.prefix)
        return (*(place + rest for place in mirror.instead), copy)


def user_access() -> Access:
    """The section as the user's own file has it, which ``DARKOP_ACCESS`` names; the defaults where it names none.

    Raises:
        InputFileError: the file is missing or cannot be read.
        DocumentError: all mistakes in it.
    """
    named = os.environ.get(USER_FILE)
    if not named:
        return Access()
    path = Path(named)
    parsed = read_yaml(path)
    mistakes = list(parsed.mistakes)
    try:
        access = Access.model_validate_json(json.dumps(parsed.data, default=str), strict=True)
    except ValidationError as error:
        mistakes += mistakes_from(error, Access, parsed.data, parsed.places)
        raise DocumentError(str(path), in_order(mistakes)) from error
    if mistakes:
        raise DocumentError(str(path), mistakes)
    return access


def joined(document: Access, user: Access) -> Access:
    """A document's section, with the user's own keys where the document has none."""
    own = {key: getattr(user, key) for key in user.model_fields_set - document.model_fields_set}
    return document.model_copy(update=own) if own else document
