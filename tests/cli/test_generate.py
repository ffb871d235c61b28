"""``darkop generate``: options of the measurement, and what is refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import uproot

pytest.importorskip("pythia8mc")

from darkop_dist.cli import main


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr("sys.argv", ["darkop", "generate", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code


def test_options_of_the_measurement_reach_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "z.root"
    words = ("z-nunu-jets", "--events", "8", "--set", "mpi=off", "--response", "atlas", "--candidates")
    assert _run(monkeypatch, *words, "--output", str(target)) == 0
    with uproot.open(target) as file:
        recipe = json.loads(str(file["recipe"]))
        assert "PFCands_d0" in file["Events"]
    assert (recipe["response"], recipe["pileup"], recipe["candidates"]) == ("atlas", None, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ttbar", "--response", "cmss"), "unknown response card 'cmss'"),
        (("ttbar", "--pileup", "cms-2061"), "unknown pile-up profile 'cms-2061'"),
        (("ttbar", "--pileup", "1e6"), "Use a number from 0 to 300"),
        (("ttbar", "--shower", "mlm.cmnd"), "It is for LHE files; use --set"),
        (("ttbar", "--validate", "--events", "0"), "events: 0 is not above 0"),
        (("ttbra", "--show"), "unknown process 'ttbra'"),
        ((), "Name a process or a file, or use --validate"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, *words) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())
