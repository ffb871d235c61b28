"""The command: a skim, its record in a document, and errors with their status."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from darkop_dist.cli import main


def command(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["darkop", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_a_document_is_skimmed_and_takes_its_skim(
    tmp_path: Path,
    write_nanoaod: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_nanoaod(tmp_path / "a.root", 1000)
    counts = "from coffea import processor\n\nclass Counts(processor.ProcessorABC):\n    def process(self, events):\n"
    counts += "        return {'hard': int(sum(events.MET.pt > 200))}\n\n    def postprocess(self, output):\n        return output\n"
    (tmp_path / "mine.py").write_text(counts)
    dataset = {"name": "mc", "kind": "simulation", "xsec_pb": 2.0, "files": ["a.root"]}
    body = {"name": "Counts", "processor": "mine.py:Counts", "datasets": [dataset], "output": str(tmp_path / "run1")}
    (tmp_path / "one.json").write_text(json.dumps(body))
    words = (
        "skim",
        tmp_path / "one.json",
        "--select",
        "MET.pt > 100",
        "--columns",
        "MET_*",
        "--output",
        tmp_path / "s",
    )
    assert command(monkeypatch, *words) == 0
    said = capsys.readouterr().out
    assert f"record for your documents (catalogue: [FILE]): {tmp_path}/s/skim.record.json" in said
    assert "of 1000 events in 1 files" in said

    skimmed = body | {"datasets": ["mc-skim"], "catalogue": ["s/skim.record.json"], "output": str(tmp_path / "run2")}
    (tmp_path / "two.json").write_text(json.dumps(skimmed))
    for document in ("one.json", "two.json"):
        assert command(monkeypatch, "run", tmp_path / document) == 0
    first, second = (json.loads((tmp_path / run / "output.json").read_text())["output"] for run in ("run1", "run2"))
    assert first == second
    assert first["hard"] > 0
    assert command(monkeypatch, "ledger", tmp_path / "s") == 0
    assert command(monkeypatch, *words) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--select", "MTE.pt > 1"), "unknown column 'MTE.pt'. Did you mean MET_pt"),
        (("--select", "import os"), "cannot be read"),
        (("--format", "csv"), "unknown format 'csv'"),
        (("--derive", "jet"), "unknown derived set 'jet'. Did you mean jets?"),
        (("--derive", "jets", "--collection", "Jets"), "unknown collection of jets 'Jets'"),
        (("--where", "the moon"), "where"),
    ],
)
def test_mistakes_are_the_users(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    write_nanoaod: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write_nanoaod(tmp_path / "a.root", 50)
    assert command(monkeypatch, "skim", file, "--output", tmp_path / "out", *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
