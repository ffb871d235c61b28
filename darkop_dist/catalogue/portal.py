"""Questions to the CERN Open Data portal, over its REST interface.

``/api/records/RECID`` answers with ``metadata``: title, experiment, type, distribution (formats and totals), doi,
license, ``files`` and ``_file_indices``, groups of files that may stand there in full or have to be asked for at
``/record/RECID/file_index/KEY``. ``/api/records/?q=TEXT`` searches. The forms are those that the portal's own client,
cernopendata-client, reads.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError, UnreachableFileError

ADDRESS = "https://opendata.cern.ch"
TIME_OUT_S = 60.0
_NOT_FOUND = 404


@dataclass(frozen=True)
class Portal:
    """Where the portal is and how long to wait for it.

    Attributes:
        address: beginning of all addresses, without a slash at the end.
        timeout_s: longest silence in seconds.
    """

    address: str = ADDRESS
    timeout_s: float = TIME_OUT_S


@dataclass(frozen=True)
class Hit:
    """A record that a search found.

    Attributes:
        recid: number of the record.
        title: its title.
        events: number of events; None where the portal does not say.
        files: number of files; None where the portal does not say.
        bytes: size of all files; None where the portal does not say.
    """

    recid: int
    title: str
    events: int | None
    files: int | None
    bytes: int | None


@dataclass(frozen=True)
class PortalRecord:
    """A record with its files.

    Attributes:
        recid: number of the record.
        metadata: what the portal says of it.
        files: files with uri, size, checksum and availability, as the portal gives them.
        parts: whether the files are those of some file indexes only.
    """

    recid: int
    metadata: Mapping[str, Any]
    files: tuple[Mapping[str, Any], ...]
    parts: bool = False


def search_records(portal: Portal, text: str, most: int = 20) -> tuple[tuple[Hit, ...], int]:
    """Records that a text finds.

    Args:
        portal: whom to ask.
        text: words, or the portal's query language such as ``title:"/MET/Run2016G"``.
        most: most records that are returned.

    Returns:
        The records, best first, and how many there are in all.

    Raises:
        UnreachableFileError: no network, a time-out, or a portal that is out of order.
        InputFileError: an answer of another shape.
    """
    address = f"{portal.address}/api/records/?" + urllib.parse.urlencode({"q": text, "page": 1, "size": most})
    answer = _ask(portal, address)
    try:
        hits, total = answer["hits"]["hits"], answer["hits"]["total"]
        found = tuple(_hit(hit) for hit in hits)
        return found, int(total["value"] if isinstance(total, dict) else total)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _other_shape(address, f"no list of records in it ({type(error).__name__}: {error})") from error


def _hit(hit: Mapping[str, Any]) -> Hit:
    metadata = hit["metadata"]
    totals = metadata.get("distribution") or {}
    numbers = (totals.get(key) for key in ("number_events", "number_files", "size"))
    events, files, size = (number if isinstance(number, int) else None for number in numbers)
    return Hit(int(metadata.get("recid", hit["id"])), str(metadata.get("title", "")), events, files, size)


def read_portal_record(portal: Portal, recid: int, index: str | None = None) -> PortalRecord:
    """A record and its files.

    Args:
        portal: whom to ask.
        recid: number of the record.
        index: glob over the names of its file indexes, such as ``*_130000_*``; all files by default.

    Raises:
        UnknownNameError: no such record, or no file index of that name.
        InputValueError: a record without files.
        UnreachableFileError: no network, a time-out, or a portal that is out of order.
        InputFileError: an answer of another shape.
    """
    address = f"{portal.address}/api/records/{recid}"
    try:
        answer = _ask(portal, address)
    except UnknownNameError as error:
        raise UnknownNameError(
            "record of the portal", str(recid), (), f"Search it with words; asked was {address}."
        ) from error
    metadata = answer.get("metadata")
    if not isinstance(metadata, dict) or "title" not in metadata:
        raise _other_shape(address, "no metadata with a title in it")
    try:
        files = tuple(_files(portal, recid, metadata, index))
        for file in files:
            _ = str(file["uri"]), int(file["size"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _other_shape(address, f"its files are not understood ({type(error).__name__}: {error})") from error
    if not files:
        raise InputValueError(f"record {recid} of the portal", "has no files", _where_else(metadata))
    return PortalRecord(recid, metadata, files, parts=index is not None)


def _files(portal: Portal, recid: int, metadata: Mapping[str, Any], index: str | None) -> Iterator[Mapping[str, Any]]:
    """Files of the chosen indexes; without any index those that stand in the record itself."""
    groups = metadata.get("_file_indices") or []
    if index is not None:
        keys = [str(group["key"]) for group in groups]
        groups = [group for group in groups if fnmatchcase(str(group["key"]), index)]
        if not groups:
            raise UnknownNameError("file index", index, keys, f"Record {recid} has {len(keys)} of them.")
    for group in groups:
        if group.get("files") is None:
            key = urllib.parse.quote(str(group["key"]), safe="")
            group = _ask(portal, f"{portal.address}/record/{recid}/file_index/{key}")  # noqa: PLW2901
        yield from group["files"]
    if not groups:
        for file in metadata.get("files") or metadata.get("_files") or []:
            if not str(file["uri"]).endswith(("_file_index.json", "_file_index.txt")):
                yield file


def _where_else(metadata: Mapping[str, Any]) -> str:
    children = [
        str(relation["recid"])
        for relation in metadata.get("relations") or []
        if isinstance(relation, dict) and relation.get("type") == "isParentOf" and "recid" in relation
    ]
    if children:
        return f"It stands for the records {', '.join(children)}: ask for these."
    return "Look at its page: it may be documentation, or a dataset whose files are elsewhere."


def _ask(portal: Portal, address: str) -> dict[str, Any]:
    if not address.startswith(("http://", "https://")):
        raise InputValueError(address, "is no address of a portal", "It must begin with https:// or http://.")
    request = urllib.request.Request(address, headers={"Accept": "application/json"})  # noqa: S310  # checked above
    try:
        with urllib.request.urlopen(request, timeout=portal.timeout_s) as response:  # noqa: S310
            content = response.read()
    except urllib.error.HTTPError as error:
        if error.code == _NOT_FOUND:
            raise UnknownNameError("address of the portal", address, (), "Check the number.") from error
        what = f"answered with HTTP status {error.code} ({error.reason})"
        raise UnreachableFileError(address, what, "Try again later; it may be out of order.") from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(address, error, portal.timeout_s) from error
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise _other_shape(address, "it is no JSON") from error
    if not isinstance(answer, dict):
        raise _other_shape(address, "it is no mapping")
    return answer


def _unreachable(address: str, error: Exception, timeout_s: float) -> UnreachableFileError:
    """The sentence for what the network did; urllib wraps most, but not all, of its errors."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return UnreachableFileError(address, f"no answer within {timeout_s:g} s", "Try again, or give --time-out.")
    if isinstance(error, http.client.HTTPException | ConnectionResetError):
        return UnreachableFileError(address, f"the connection was cut ({reason!r})", "Try again.")
    return UnreachableFileError(address, f"cannot be reached ({reason})", "Check the network and the address.")


def _other_shape(address: str, problem: str) -> InputFileError:
    what_to_do = "Check the address of the portal; if it is right, its interface has changed: tell the developers."
    return InputFileError(address, f"answered in another shape: {problem}", what_to_do)
