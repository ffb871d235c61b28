"""Small rules of the document: names, references to processors, luminosity."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from darkop_dist.config.datasets import DatasetRecord, is_file_entry, is_pattern
from darkop_dist.config.document import Document, luminosity_ifb, slug
from darkop_dist.config.processor import ProcessorReference, parse_processor


def test_document_is_frozen() -> None:
    document = Document(name="a", datasets=("b",), processor="m:C")
    with pytest.raises(ValidationError, match="frozen"):
        document.name = "b"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("../processors/a.py:B", ProcessorReference(Path("../processors/a.py"), None, "B")),
        ("pkg.sub:Class_1", ProcessorReference(None, "pkg.sub", "Class_1")),
    ],
)
def test_processor(text: str, reference: ProcessorReference) -> None:
    assert parse_processor(text) == reference


@pytest.mark.parametrize("text", ["a.py", "pkg/a:B", "a.py:", ":B", "a.py:B.C", "pkg..a:B"])
def test_processor_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be 'path.py:Class' or 'package.module:Class'"):
        parse_processor(text)


@pytest.mark.parametrize(
    ("entry", "kinds"),
    [
        ("cms-2016g-met", ()),
        ("cms-*", ("pattern",)),
        ("a.root", ("file",)),
        ("d/*.CSV", ("file", "pattern")),
        ("tar://a::b.tgz", ("file",)),
    ],
)
def test_entries(entry: str, kinds: tuple[str, ...]) -> None:
    assert is_file_entry(entry) == ("file" in kinds)
    assert is_pattern(entry) == ("pattern" in kinds)


def test_slug() -> None:
    assert slug("  Z' → tt (2 TeV) ") == "z-tt-2-tev"


def test_luminosity() -> None:
    document = Document(name="a", datasets=("b",), processor="m:C")
    one = DatasetRecord(name="g", kind="data", lumi_ifb=7.0)
    two = DatasetRecord(name="h", kind="data", lumi_ifb=9.0)
    assert luminosity_ifb(document, [one, DatasetRecord(name="mc", kind="simulation")]) == 7.0
    assert luminosity_ifb(document, [one, two]) is None
    assert luminosity_ifb(document.model_copy(update={"lumi_ifb": 16.39}), [one, two]) == 16.39
