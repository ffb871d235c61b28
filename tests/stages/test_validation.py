from __future__ import annotations

import sys
from pathlib import Path

import pytest

from darkop_dist.cli import main
from darkop_dist.errors import InputValueError, OutputError, UnknownNameError
from darkop_dist.stages.validation import write_validation_page


def test_the_command_writes_a_page_with_numbers_and_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "page"
    arguments = ["generate", "--validate", "--response", "atlas", "--events", "100", "--output", str(target)]
    monkeypatch.setattr(sys, "argv", ["darkop", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "points agree with what is published" in " ".join(capsys.readouterr().out.split())
    text = (target / "index.html").read_text(encoding="utf-8")
    for wanted in (
        "Response of ATLAS", "Tracking efficiency", "ATL-PHYS-PUB-2015-051", "arXiv:1108.5602", "seed 1", "SHA-256",
        "Left out of this card", "tracker.impact_parameter", "Muon efficiency",
    ):  # fmt: skip
        assert wanted in text
    assert (target / "img" / "track_efficiency.svg").stat().st_size > 1000


def test_no_process_is_a_mistake(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["darkop", "generate"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "or use --validate" in " ".join(capsys.readouterr().err.split())


def test_bad_input_is_named_before_events_are_made(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown response card 'cmss'"):
        write_validation_page("cmss", tmp_path / "page")
    with pytest.raises(InputValueError, match="events: 0 is below 1"):
        write_validation_page("cms", tmp_path / "page", events=0)
    (tmp_path / "page").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        write_validation_page("cms", tmp_path / "page", events=10**9)
