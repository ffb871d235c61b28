"""Texts without the paths of this machine and without what opens doors: credentials and tokens in addresses."""

from __future__ import annotations

import html
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from darkop_dist.runs import cache_directory

_ADDRESS = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>\\]*[^\s"'<>\\,;.)]""")
_SECRET = re.compile(
    r"(authz|(access_?|bearer_?|id_?)?token|api_?key|key|password|passwd|secret|sig|signature|x-amz-\w[\w-]*|"
    r"awsaccesskeyid|googleaccessid|expires|policy|cap\.\w+)",
    re.IGNORECASE,
)
SHORTEST = 3
"""Shorter paths, such as ``/``, are no path of one machine."""


@dataclass(frozen=True)
class Cleaner:
    """Replaces paths by names.

    Attributes:
        names: what a text calls each path instead.
    """

    names: Mapping[str, str]
    _ordered: tuple[tuple[tuple[str, ...], str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = {path: name for path, name in self.names.items() if len(path) > SHORTEST}
        ordered = sorted(known, key=lambda path: (-len(path), path))
        object.__setattr__(self, "_ordered", tuple((_forms(path), known[path]) for path in ordered))

    def __call__(self, text: str) -> str:
        """The text with names for paths, and addresses without credentials.

        >>> Cleaner({"/home/me/data.csv": "local:/data.csv"})("reads /home/me/data.csv from root://me:pw@host//x.root")
        'reads local:/data.csv from root://host//x.root'
        """
        if text in self.names:
            return self.names[text]
        for forms, name in self._ordered:
            if any(form in text for form in forms):
                text = _pattern(forms).sub(lambda _, name=name: name, text)  # type: ignore[misc]  # the default binds it
        return without_secrets(text)

    def left(self, text: str) -> bool:
        """Whether the text still holds a path of this machine or a credential."""
        return self(text) != text


def machine_paths(*own: Path) -> dict[str, str]:
    """Folders of this machine whose paths no package holds, and what stands for them.

    Args:
        own: further folders.
    """
    folders = {Path.home(): "~", Path.cwd(): "local:", Path(tempfile.gettempdir()): "local:/tmp"}
    folders |= {
        cache_directory(): "local:/cache",
        Path(__file__).parents[3]: "darkop-dist",
        **dict.fromkeys(own, "local:"),
    }
    names: dict[str, str] = {}
    for folder, name in folders.items():
        names[str(folder.resolve())] = names[str(folder.absolute())] = name
    return names


def without_secrets(text: str) -> str:
    """The text with all addresses freed of user names, passwords and tokens.

    >>> without_secrets("https://me:pw@host/a.root?authz=Bearer%20x&n=1 and root://eospublic.cern.ch//eos/a.root")
    'https://host/a.root?n=1 and root://eospublic.cern.ch//eos/a.root'
    """
    return _ADDRESS.sub(lambda found: _open_address(found[0]), text)


def _open_address(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    kept = [item for item in parts.query.split("&") if not _SECRET.fullmatch(item.partition("=")[0])]
    place = parts.netloc.rpartition("@")[2]
    if place == parts.netloc and "&".join(kept) == parts.query:
        return address
    return urlunsplit((parts.scheme, place, parts.path, "&".join(kept), parts.fragment))


def _forms(path: str) -> tuple[str, ...]:
    """A path as it stands in plain text, JSON, HTML and ``file://`` addresses."""
    return tuple(dict.fromkeys([path, json.dumps(path)[1:-1], html.escape(path), quote(path)]))


def _pattern(forms: tuple[str, ...]) -> re.Pattern[str]:
    """Finds a path in any of its forms, but not within another path, and no longer name that begins so."""
    either = "|".join(map(re.escape, forms))
    return re.compile(rf"(?:(?<![\w./~-])|(?<=file://))(?:{either})(?![\w-])")
