"""File lists: what is written is read again, and what is wrong with one is said."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkop_dist.catalogue import read_records
from darkop_dist.catalogue.file_lists import format_file_list, read_file_list, with_files
from darkop_dist.config.datasets import DatasetFile
from darkop_dist.errors import DocumentError, InputFileError

names = st.text("abc/._-", min_size=1, max_size=12).map(lambda rest: f"root://host//{rest}")
files = st.builds(
    DatasetFile,
    uri=names,
    bytes=st.none() | st.integers(0, 10**13),
    adler32=st.none() | st.from_regex(r"\A[0-9a-f]{8}\Z"),
    events=st.none() | st.integers(0, 10**9),
)


@settings(max_examples=30)
@given(st.lists(files, min_size=1, max_size=5))
def test_writing_and_reading_is_identity(tmp_path_factory: pytest.TempPathFactory, listed: list[DatasetFile]) -> None:
    path = tmp_path_factory.getbasetemp() / "list.json"
    path.write_text(format_file_list(listed))
    assert list(read_file_list(path)) == listed


def own_record(folder: Path, content: object, **keys: object) -> Path:
    (folder / "lists").mkdir()
    (folder / "lists" / "mine.json").write_text(content if isinstance(content, str) else json.dumps(content))
    record = {"name": "mine", "kind": "data", "file_list": "lists/mine.json"} | keys
    path = folder / "records.json"
    path.write_text(json.dumps({"records": [record]}))
    return path


def test_a_list_of_a_users_own(tmp_path: Path) -> None:
    path = own_record(tmp_path, {"files": [["a.root", 3, None, None], ["https://host/b.root", None, "0123abcd", 5]]})
    whole = with_files(read_records(path)[0])
    assert whole.files == (
        DatasetFile(uri=f"{tmp_path}/lists/a.root", bytes=3),
        DatasetFile(uri="https://host/b.root", adler32="0123abcd", events=5),
    )
    assert whole.file_list is None
    assert with_files(whole) is whole


@pytest.mark.parametrize(
    ("content", "keys", "kind", "message"),
    [
        ("{", {}, InputFileError, r"mine\.json: is no readable file list"),
        (
            {"files": [["a.root", 3]]},
            {},
            DocumentError,
            r"files\[0\]: this key is required \(found \[\"a.root\", 3\]\)",
        ),
        (
            {"files": [["a.root", -3, None, None]]},
            {},
            DocumentError,
            r"files\[0\]\[1\]: must be at least 0 \(found -3\)",
        ),
        ({"files": [["a.root", 3, "zz", None]]}, {}, DocumentError, r"files\[0\]\[2\]: must match the pattern"),
        ({"schema_version": 2, "files": []}, {}, DocumentError, r"schema_version: must be at most 1"),
        (
            {"files": [["a.root", 3, None, None]]},
            {"file_count": 2},
            InputFileError,
            "lists 1 files where the record mine says 2",
        ),
    ],
)
def test_lists_with_mistakes(
    tmp_path: Path, content: object, keys: dict[str, object], kind: type[Exception], message: str
) -> None:
    record = read_records(own_record(tmp_path, content, **keys))[0]
    with pytest.raises(kind, match=message):
        with_files(record)


def test_a_list_that_is_absent(tmp_path: Path) -> None:
    path = own_record(tmp_path, {"files": []})
    (tmp_path / "lists" / "mine.json").unlink()
    with pytest.raises(InputFileError, match=r"mine\.json: is no readable file list .*No such file"):
        with_files(read_records(path)[0])
