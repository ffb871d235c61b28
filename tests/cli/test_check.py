"""``darkop check`` shows all findings in one table, or as JSON, and its exit status says whether a run can begin."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from darkop_dist.cli import main

Write = Callable[..., Path]
Outcome = tuple[int, str, str]


@pytest.fixture
def darkop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> Callable[..., Outcome]:
    def call(*arguments: object) -> Outcome:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["darkop", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture
def document(write_search: Write, tmp_path: Path) -> Path:
    return write_search(tmp_path, operator=None, anomaly_detection=None)


def test_ready(darkop: Callable[..., Outcome], document: Path) -> None:
    status, out, err = darkop("check", document)
    assert (status, err) == (0, "")
    assert out.rstrip().endswith(f"{document}: ready to run")
    table = out.splitlines()[:-1]
    assert max(map(len, table)) == 100
    for check in ("document", "files", "limits", "workers", "memory", "walltime", "space", "access"):
        assert any(line.startswith(f"│ {check} ") for line in table)


def test_two_faults_in_one_table(darkop: Callable[..., Outcome], document: Path, tmp_path: Path) -> None:
    (tmp_path / "signal.csv").unlink()
    body = json.loads(document.read_text()) | {"operator": {"checkpoint": "cylinder-fno-v2"}}
    document.write_text(json.dumps(body))
    status, out, _ = darkop("check", document)
    words = " ".join(out.replace("│", " ").split())
    assert status == 2
    assert "no such file → Check the path" in words
    assert "Did you mean cylinder-fno-v1" in words
    assert words.endswith("2 failed")


def test_json_for_scripts(darkop: Callable[..., Outcome], document: Path, tmp_path: Path) -> None:
    body = json.loads(document.read_text()) | {"execution": {"where": "dask://127.0.0.1:9"}}
    document.write_text(json.dumps(body))
    (tmp_path / "signal.csv").unlink()
    status, out, _ = darkop("check", document, "--json", "--no-cluster")
    found = json.loads(out)
    assert (status, found["ready"], found["document"]) == (2, False, str(document))
    by_check = {(finding["check"], finding["subject"]): finding for finding in found["findings"]}
    assert by_check["files", "signal"]["status"] == "failed"
    assert by_check["workers", "dask://127.0.0.1:9"]["status"] == "skipped"
    assert by_check["walltime", "run"]["numbers"]["entries"] == 8800
