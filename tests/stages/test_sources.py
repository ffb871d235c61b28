"""What a run keeps of what it was made from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from darkop_dist.errors import InputFileError
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.code_version import UNKNOWN, code_version
from darkop_dist.stages.search import prepare_search
from darkop_dist.stages.sources import keep_sources, load_sources


def test_files_named_from_where_the_run_begins(
    write_search: Callable[..., Path], repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (repository / "processors" / "zprime.py").read_text()
    absolute = tmp_path / "elsewhere" / "far.json"
    absolute.parent.mkdir()
    absolute.write_text("{}")
    (tmp_path / "begin" / "tables").mkdir(parents=True)
    (tmp_path / "begin" / "tables" / "near.json").write_text("{}")
    (tmp_path / "search").mkdir()
    processor = tmp_path / "search" / "mine.py"
    processor.write_text(
        source + f'\nNEAR = "tables/near.json"\nFAR = "{absolute}"\nABOVE = "../begin/tables/near.json"\n'
    )
    document = write_search(tmp_path / "search", processor="mine.py:ZPrime")
    monkeypatch.chdir(tmp_path / "begin")
    run = RunDirectory(tmp_path / "run")
    kept = keep_sources(prepare_search(document), run)
    assert kept == load_sources(run.sources)
    assert kept.begins_in
    assert kept.notes == ("mine.py names the file far.json by its absolute path: it is not kept",)
    names = {path.relative_to(run.sources).as_posix() for path in run.sources.rglob("*") if path.is_file()}
    assert names == {
        "document.yml", "sources.json", "code/0/search/mine.py", "code/0/begin/tables/near.json",
        "code/begin/tables/near.json",
    }  # fmt: skip
    assert kept.processor == "code/0/search/mine.py:ZPrime"
    assert (run.sources / "document.yml").read_bytes() == document.read_bytes()


def test_an_importable_processor_keeps_its_name(
    write_search: Callable[..., Path], repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib" / "searches_of_mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "zprime.py").write_text((repository / "processors" / "zprime.py").read_text())
    monkeypatch.syspath_prepend(tmp_path / "lib")
    document = write_search(tmp_path, processor="searches_of_mine.zprime:ZPrime")
    run = RunDirectory(tmp_path / "run")
    kept = keep_sources(prepare_search(document), run)
    assert kept.processor == "searches_of_mine.zprime:ZPrime"
    assert kept.python_path == ("code/0",)
    assert (run.sources / "code" / "0" / "searches_of_mine" / "zprime.py").exists()
    for name in [name for name in sys.modules if name.startswith("searches_of_mine")]:
        del sys.modules[name]


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"sources\.json: no such file"):
        load_sources(tmp_path)
    (tmp_path / "sources.json").write_text('{"schema": "darkop.sources/1", "processor": 3}')
    with pytest.raises(InputFileError, match=r"sources\.json: is damaged"):
        load_sources(tmp_path)


def test_commit_of_a_source(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    assert code_version(source) == UNKNOWN
    git("init", "--quiet")
    assert code_version(source) == UNKNOWN, "it is not tracked"
    git("add", "a.py")
    git("commit", "--quiet", "--message", "first")
    found = code_version(source)
    assert (found.commit, found.modified) == (git("rev-parse", "HEAD"), False)
    source.write_text("x = 2\n")
    assert code_version(source).modified
