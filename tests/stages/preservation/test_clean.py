"""Paths of this machine and what opens doors, out of any text."""

import html
import json

import pytest

from darkop_dist.stages.preservation.clean import Cleaner, without_secrets


@pytest.mark.parametrize(
    ("address", "open_address"),
    [
        ("root://eospublic.cern.ch//eos/a.root", "root://eospublic.cern.ch//eos/a.root"),
        ("root://me@host:1094//a.root?authz=zteos64", "root://host:1094//a.root"),
        ("https://me:pw@host/a?access_token=x", "https://host/a"),
        ("s3://bucket/a?X-Amz-Signature=abc&versionId=3", "s3://bucket/a?versionId=3"),
    ],
)
def test_addresses_lose_their_secrets(address: str, open_address: str) -> None:
    assert without_secrets(f"see {address}, {json.dumps({'a': address})}") == (
        f"see {open_address}, {json.dumps({'a': open_address})}"
    )


def test_paths_get_their_names_in_any_writing() -> None:
    path = "/home/é me/a & b.csv"
    clean = Cleaner({"/home/é me": "~", path: "local:/a.csv"})
    for text in (path, json.dumps(path), html.escape(path), f"file://{path}", f"tar://x::{path}"):
        assert "home" not in clean(text)
        assert "local:/a.csv" in clean(text)
    assert clean("/home/é me/other") == "~/other"
    assert clean("/home/é melon and https://x.org/home/é me/") == "/home/é melon and https://x.org/home/é me/"
