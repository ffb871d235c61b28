"""The section ``access``: mirrors, its mistakes, and a user's own file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from darkop_dist.config import load_document
from darkop_dist.config.access import Access, Mirror, joined, user_access
from darkop_dist.config.schema import document_schema
from darkop_dist.errors import DocumentError, InputFileError

EOS = "root://eospublic.cern.ch//eos/opendata/"


def mirrors(*pairs: tuple[str, tuple[str, ...]]) -> Access:
    return Access(mirrors=tuple(Mirror(prefix=prefix, instead=instead) for prefix, instead in pairs))


def test_prefixes_are_replaced_as_text_and_the_address_itself_comes_last() -> None:
    access = mirrors((EOS, (f"root://cache.site.org//{EOS}", "/eos/opendata/")))
    assert access.addresses([f"{EOS}cms/f.root", "https://b.org/f.root"]) == (
        f"root://cache.site.org//{EOS}cms/f.root",
        "/eos/opendata/cms/f.root",
        f"{EOS}cms/f.root",
        "https://b.org/f.root",
    )
    assert access.addresses(["/data/f.root"]) == ("/data/f.root",)


def test_a_prefix_among_its_places_keeps_that_place_and_the_longest_prefix_counts() -> None:
    access = mirrors((EOS, (EOS, "https://a.org/")), (f"{EOS}atlas/", ("/atlas/",)))
    assert access.addresses([f"{EOS}cms/f.root"]) == (f"{EOS}cms/f.root", "https://a.org/cms/f.root")
    assert access.addresses([f"{EOS}atlas/f.root"]) == ("/atlas/f.root", f"{EOS}atlas/f.root")


def test_every_mistake_of_the_section_is_named(tmp_path: Path, write_search: Callable[..., Path]) -> None:
    section = {
        "mirrors": [{"prefix": "eospublic", "instead": ["cache/"]}, {"prefix": EOS}],
        "timeout_s": 0,
        "tries": 0,
        "gap_bytes": -1,
        "s3": {"endpoint": "minio", "anonymous": "yes", "key": "secret"},
        "time_out": 5,
    }
    with pytest.raises(DocumentError) as caught:
        load_document(write_search(tmp_path, access=section))
    found = {mistake.path: mistake.message for mistake in caught.value.mistakes}
    assert "the beginning of an address" in found["access.mirrors[0].prefix"]
    assert "absolute directories" in found["access.mirrors[0].instead"]
    assert set(found) == {
        "access.mirrors[0].prefix",
        "access.mirrors[0].instead",
        "access.mirrors[1].instead",
        "access.timeout_s",
        "access.tries",
        "access.gap_bytes",
        "access.s3.endpoint",
        "access.s3.anonymous",
        "access.s3.key",
        "access.time_out",
    }


def test_a_users_file_adds_what_the_document_leaves_open(
    tmp_path: Path, write_search: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "access.yml"
    own.write_text(f"timeout_s: 5\ntries: 4\nmirrors:\n  - {{prefix: '{EOS}', instead: /eos/}}\n")
    monkeypatch.setenv("DARKOP_ACCESS", str(own))
    document = load_document(write_search(tmp_path, access={"timeout_s": 7})).document
    assert (document.access.timeout_s, document.access.tries) == (7, 4)
    assert document.access.addresses([f"{EOS}f.root"])[0] == "/eos/f.root"
    monkeypatch.delenv("DARKOP_ACCESS")
    assert user_access() == Access()
    assert load_document(write_search(tmp_path)).document.access == Access()
    assert joined(Access(), Access(tries=2)).tries == 2


def test_mistakes_in_a_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "access.yml"
    monkeypatch.setenv("DARKOP_ACCESS", str(own))
    with pytest.raises(InputFileError, match=r"access\.yml"):
        user_access()
    own.write_text("timeout: 5\ntries: none\n")
    with pytest.raises(DocumentError, match=r"(?s)access\.yml: 2 mistakes.*line 1: timeout:.*timeout_s.*line 2: tries"):
        user_access()


def test_the_schema_tells_of_it() -> None:
    told = json.dumps(document_schema()["$defs"]["Access"])
    assert all(key in told for key in ("mirrors", "timeout_s", "tries", "gap_bytes", "s3"))
