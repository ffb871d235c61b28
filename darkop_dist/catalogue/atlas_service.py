"""Questions to the ATLAS Open Data service, through its own client atlasopenmagic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import (
    InputFileError,
    InputValueError,
    MissingExtraError,
    UnknownNameError,
    UnreachableFileError,
)

ADDRESS = "https://atlasopenmagic-api.app.cern.ch"
RELEASE = "2024r-pp"
TIME_OUT_S = 60.0
_NOT_FOUND = 404

_LAYOUTS = {
    "2024r-pp": {"format": "physlite", "tree": "CollectionTree"},
    "2025e-13tev-beta": {"format": "flat", "tree": "analysis"},
    "2020e-13tev": {"format": "flat", "tree": "mini"},
    "2016e-8tev": {"format": "flat", "tree": "mini"},
}
"""Releases whose files are read. Those with ``flat`` are ntuples."""


def ask_atlas(
    key: str,
    release: str = RELEASE,
    *,
    skim: str = "noskim",
    address: str = ADDRESS,
    timeout_s: float = TIME_OUT_S,
    name: str | None = None,
) -> DatasetRecord:
    """The dataset record of an ATLAS sample.

    Args:
        key: DSID or short name of the sample, or what the release calls its data.
        release: name of the release.
        skim: selection of events that was applied; ``noskim`` for none.
        address: where the service is.
        timeout_s: longest silence in seconds.
        name: name of the dataset; ``atlas-RELEASE-KEY`` by default.

    Raises:
        UnknownNameError: no such release, sample or skim.
        InputValueError: a sample without files, or a release whose files are not read.
        UnreachableFileError: no network, a time-out, or a service that is out of order.
        InputFileError: an answer of another shape.
        MissingExtraError: atlasopenmagic is not installed.
    """
    facts = _facts(key, release, address, timeout_s)
    where = f"{address}/metadata/{release}/{key}"
    try:
        files = _files(facts, key, skim)
        return _record(facts, files, release, skim, name)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        problem = f"answered in another shape: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputFileError(where, problem, "Check the address; the service may have changed.") from error


def _facts(key: str, release: str, address: str, timeout_s: float) -> Mapping[str, Any]:
    try:
        import atlasopenmagic.metadata as service
        import requests.exceptions as failures
    except ImportError as error:
        raise MissingExtraError("atlasopenmagic", "access") from error
    if release not in service.RELEASES_DESC:
        known = tuple(service.RELEASES_DESC)
        raise UnknownNameError("release of ATLAS open data", release, known, f"There are {', '.join(known)}.")
    if release not in _LAYOUTS:
        readable = ", ".join(_LAYOUTS)
        raise InputValueError(
            release, "is a release whose files this package does not read", f"Choose from {readable}."
        )
    where = f"{address}/metadata/{release}/{key}"
    try:
        with _asking(service, release, address, timeout_s):
            facts = service.get_all_info(key)
    except ValueError as error:
        cause = error.__cause__
        if isinstance(cause, failures.HTTPError) and getattr(cause.response, "status_code", None) == _NOT_FOUND:
            raise UnknownNameError(
                "ATLAS sample", key, (), f"Release {release} has none: asked was {where}."
            ) from error
        if isinstance(cause, failures.JSONDecodeError) or cause is None:
            problem = "answered in another shape: " + ("it is no JSON" if cause else "it is empty")
            raise InputFileError(where, problem, "Check the address; the service may have changed.") from error
        if isinstance(cause, failures.Timeout) or "timed out" in str(cause):
            raise UnreachableFileError(
                where, f"no answer within {timeout_s:g} s", "Try again, or wait longer."
            ) from error
        if isinstance(cause, failures.HTTPError | failures.RetryError):
            raise UnreachableFileError(where, "the service is out of order", f"Try again later ({cause}).") from error
        raise UnreachableFileError(
            where, f"cannot be reached ({_innermost(cause)})", "Check the network and the address."
        ) from error
    if not isinstance(facts, Mapping):
        raise InputFileError(where, "answered in another shape: it is no mapping", "Check the address.")
    return facts


def _innermost(cause: BaseException) -> object:
    """What urllib3 says of the socket, without the layers around it."""
    wrapped = cause.args[0] if cause.args else cause
    return getattr(wrapped, "reason", wrapped)


@contextmanager
def _asking(service: Any, release: str, address: str, timeout_s: float) -> Iterator[None]:
    """The client keeps release, address and answers in its module: they are as before when the question is over."""
    from requests.adapters import HTTPAdapter

    class Impatient(HTTPAdapter):
        """The client's own limit cannot be set, and it asks again up to five times."""

        def send(self, *arguments: Any, **options: Any) -> Any:
            return super().send(*arguments, **(options | {"timeout": timeout_s}))

    session = service.get_session()
    before = service.current_release, service.API_BASE_URL, dict(service._metadata)  # noqa: SLF001
    fields = list(service.AVAILABLE_FIELDS)
    session.mount(address, Impatient(max_retries=0))
    service.empty_metadata()
    try:
        service.current_release, service.API_BASE_URL = release, address
        yield
    finally:
        session.adapters.pop(address)
        service.empty_metadata()
        service.current_release, service.API_BASE_URL, service._metadata = before  # noqa: SLF001
        service.AVAILABLE_FIELDS = fields


def _files(facts: Mapping[str, Any], key: str, skim: str) -> list[str]:
    listed = {str(each["skim_type"]): list(each["file_list"]) for each in facts.get("skims") or []}
    if facts.get("file_list"):
        listed["noskim"] = list(facts["file_list"])
    if not listed:
        raise InputValueError(f"ATLAS sample {key}", "has no files", "Ask another release for it.")
    if skim not in listed:
        raise UnknownNameError("skim", skim, listed, f"Sample {key} has {', '.join(sorted(listed))}.")
    if not all(isinstance(uri, str) for uri in listed[skim]):
        raise TypeError("addresses of files are no text")
    return sorted(listed[skim])


def _record(facts: Mapping[str, Any], files: list[str], release: str, skim: str, name: str | None) -> DatasetRecord:
    number = str(facts["dataset_number"])
    is_data = not number.isdigit()
    doubts = [{"fact": "bytes", "why": "the service gives neither sizes nor checksums"}]
    if _LAYOUTS[release]["format"] == "flat":
        doubts.append({"fact": "tree", "why": "the service does not say it; as the release's own examples have it"})
    if skim != "noskim":
        doubts.append({"fact": "events", "why": f"the service gives {facts.get('nEvents')} before the skim {skim}"})
    suffix = "" if skim == "noskim" else f"-{skim}"
    own = re.sub(r"[^A-Za-z0-9_.\-]+", "-", f"atlas-{release}-{number}{suffix}")
    keys: dict[str, Any] = {
        "name": name or own,
        "title": str(facts.get("physics_short") or facts.get("description") or number),
        "experiment": "ATLAS",
        "kind": "data" if is_data else "simulation",
        "files": files,
        "file_count": len(files),
        "events": None if skim != "noskim" else _whole(facts.get("nEvents")),
        "licence": "CC0-1.0",
        "provenance": f"ATLAS Open Data release {release}, sample {number}, asked for by darkop through atlasopenmagic",
        "uncertain": doubts,
    }
    if not is_data:
        keys |= {"dsid": int(number)} | _normalisation(facts)
    return DatasetRecord.model_validate(keys | _LAYOUTS[release])


def _normalisation(facts: Mapping[str, Any]) -> dict[str, float]:
    names = {"xsec_pb": "cross_section_pb", "filter_efficiency": "genFiltEff", "k_factor": "kFactor"}
    given = {own: facts.get(theirs) for own, theirs in names.items()}
    return {own: float(value) for own, value in given.items() if value is not None}


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value >= 0 else None
