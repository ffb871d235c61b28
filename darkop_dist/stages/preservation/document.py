"""The document as a package holds it: as it runs again, and as it was written."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from darkop_dist.config import Document
from darkop_dist.stages.sources import NOT_FILES, Sources

INSIDE = "package:/"
"""Begins the place of a file that the package holds, wherever the document names one."""
NOT_PACKAGED = "not-packaged/"


def packaged_document(document: Document, records: list[dict[str, Any]], sources: Sources) -> dict[str, Any]:
    """The resolved document with every file in it by its place in the package.

    What a site needs to know (``execution.cluster``) is left out: it may hold tokens, accounts and shell lines, and no
    other site has a use for it. Where the search runs is decided anew.

    Args:
        document: the resolved document.
        records: the packaged records of its datasets, which take the place of names and patterns.
        sources: what the run kept of the user's files.
    """
    body: dict[str, Any] = document.model_dump(mode="json")
    body |= {"datasets": records, "catalogue": [], "output": None}
    body["execution"] |= {"where": "local", "cluster": {}}
    if ".py:" in sources.processor:
        body["processor"] = INSIDE + sources.processor
    operator = body["operator"] or {}
    if operator.get("checkpoint") and "/" in operator["checkpoint"]:
        operator["checkpoint"] = f"{INSIDE}operator/checkpoint"
    if operator:
        operator["serve"] = {"at": "local"}
    if operator.get("choose_from"):
        names = operator["choose_from"]
        operator["choose_from"] = [NOT_PACKAGED + Path(name).name if "/" in name else name for name in names]
    named = {key: value for key, value in body.items() if key not in NOT_FILES}
    return {**body, **replaced(named, lambda text: _packaged_file(text, sources.files))}


def replaced(value: Any, new: Callable[[str], str]) -> Any:
    """The same plain values with every text replaced."""
    if isinstance(value, str):
        return new(value)
    if isinstance(value, list):
        return [replaced(item, new) for item in value]
    if isinstance(value, dict):
        return {key: replaced(item, new) for key, item in value.items()}
    return value


def written_document(text: str) -> str:
    """The document as it was written, without ``execution.cluster``; its comments and its order stay."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    body = yaml.load(text)
    section = body.get("execution")
    if not isinstance(section, Mapping) or "cluster" not in section:
        return text
    section = dict(section)  # what it merges from another place is written out
    del section["cluster"]
    body["execution"] = section
    stream = io.StringIO()
    yaml.dump(body, stream)
    return stream.getvalue()


def _packaged_file(text: str, files: Mapping[str, str]) -> str:
    """The place of a file that the document names as it stands there, or as an absolute path."""
    if text in files:
        return INSIDE + files[text]
    ends = [place for name, place in files.items() if Path(text).is_absolute() and text.endswith(f"/{Path(name)}")]
    return INSIDE + ends[0] if ends else text
