"""The command line in this process: words in; exit status, output and errors out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from darkop_dist.cli import main

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def run_darkop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``darkop`` with the words that follow."""

    def command(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["darkop", *words])
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr()
        return left.value.code, told.out, told.err

    return command
