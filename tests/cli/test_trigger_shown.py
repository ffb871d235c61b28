"""Tables and figures of ``darkop trigger``: what is printed and drawn, and what is refused before the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from level1_events import checkpoint_of, made_up, random_inputs, random_network

from darkop_dist.cli.trigger_shown import draw_trained
from darkop_dist.operators.checkpoint import save_checkpoint
from darkop_dist.trigger.pareto import ParetoSet, Point
from darkop_dist.trigger.sample import write_sample

Run = Callable[..., tuple[object, str, str]]
AT = ("--conditions", "run2-2018")


@pytest.fixture
def run(run_darkop: Run) -> Run:
    """Runs ``darkop trigger`` and gives status, output and errors."""
    return lambda *words: run_darkop("trigger", *words)


@pytest.fixture
def model(tmp_path: Path) -> tuple[str, ...]:
    """A checkpoint and a sample, as words of a command."""
    save_checkpoint(checkpoint_of(random_network(2)), tmp_path / "toy-trigger")
    sample = made_up(random_inputs(3000), np.random.default_rng(2).poisson(56.0, 3000))
    write_sample(sample, tmp_path / "zero.parquet")
    return str(tmp_path / "toy-trigger"), "--sample", str(tmp_path / "zero.parquet")


def pareto_set() -> ParetoSet:
    student = Point(
        name="student-8-3-epoch-5", widths=(8, 3), epoch=5, loss=0.1, ebops=10.0, luts=321.4, depth=12.0,
        efficiency={"suep": 0.25}, mean_efficiency=0.25,
    )  # fmt: skip
    return ParetoSet(
        rate_hz=1e3, conditions="run2-2018", luminosity=2e34, events={"suep": 400}, teacher={"suep": 0.125},
        points=(student,),
    )  # fmt: skip


@pytest.mark.parametrize("suffix", ["pdf", "png", "svg"])
def test_rates_are_drawn(run: Run, model: tuple[str, ...], tmp_path: Path, suffix: str) -> None:
    plot = tmp_path / f"rates.{suffix}"
    status, said, errors = run("rates", *model, *AT, "--rate", "5e6", "--plot", str(plot))
    assert status == 0, errors
    assert "of these without a seed" in said
    assert f"figure: {plot}" in said
    assert plot.read_bytes()[:4] in {b"%PDF", b"\x89PNG", b"<?xm"}


def test_stability_prints_every_change_and_what_it_refuses(run: Run, model: tuple[str, ...], tmp_path: Path) -> None:
    plot = tmp_path / "stability.png"
    more = ("--collisions", "54", "--collisions", "30", "--plot", str(plot))
    status, said, errors = run("stability", *model, *AT, "--rate", "5e6", *more)
    assert status == 0, errors
    lines = {line[:27].strip(): line[27:].split() for line in said.splitlines()}
    assert "2544 bunches: 55.9 collisions a crossing (sample: 56 at 13 TeV, the LHC 13 TeV)" in said.splitlines()[0]
    words = lines["nothing"]
    assert words[-1] == "1.000"
    assert float(words[1]) <= 5e6
    assert float(words[2]) < float(words[1]) < float(words[4])
    assert lines["30 collisions"] == ["refused"]
    assert "30 collisions: the sample has 56 collisions a crossing" in said
    assert "make a sample with darkop trigger sample --mean-collisions 30" in said
    assert float(lines["54 collisions"][-1]) == pytest.approx(1.0, abs=0.1)
    assert len(lines["60 degrees of azimuth dead"]) == len(lines["no electrons and photons"]) == 6
    assert plot.read_bytes()[:4] == b"\x89PNG"


def test_students_are_shown_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pareto.json").write_text(pareto_set().model_dump_json())
    plot = tmp_path / "students.svg"
    status, said, errors = run("pareto", str(tmp_path), "--plot", str(plot))
    assert status == 0, errors
    rows = [line.split() for line in said.splitlines()]
    assert ["teacher", "0.125"] in rows
    assert ["student-8-3-epoch-5", "321", "12", "0.250"] in rows
    assert plot.read_bytes()[:4] == b"<?xm"


def test_a_training_stands_without_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_trained(pareto_set(), tmp_path)
    assert (tmp_path / "pareto.png").is_file()
    (tmp_path / "pareto.png").unlink()
    for name in ("matplotlib", "darkop_dist.report.style"):
        monkeypatch.setitem(sys.modules, name, None)
    draw_trained(pareto_set(), tmp_path)
    assert not (tmp_path / "pareto.png").exists()
    assert "Run: pip install 'darkop-dist[report]'. Draw it later with" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", ["rates", "stability", "pareto"])
def test_a_figure_is_refused_before_anything_is_read(run: Run, tmp_path: Path, command: str) -> None:
    given = (
        (command, "no-such-model") if command == "pareto" else (command, "no-such-model", "--sample", "none.parquet")
    )
    status, _, errors = run(*given, "--plot", str(tmp_path / "a.gif"))
    assert status == 2
    assert "a.gif: figures are written as .png, .svg, .pdf. Choose one of these" in errors
    status, _, errors = run(*given, "--plot", str(tmp_path / "none" / "a.png"))
    assert status == 2
    assert "none does not exist. Make it first" in errors
    if os.geteuid() != 0:
        tmp_path.chmod(0o555)
        status, _, errors = run(*given, "--plot", str(tmp_path / "a.png"))
        tmp_path.chmod(0o755)
        assert status == 2
        assert "must not be written to. Choose another place" in errors


def test_what_is_refused(run: Run, model: tuple[str, ...], tmp_path: Path) -> None:
    plot = tmp_path / "a.png"
    for command in ("rates", "stability"):
        status, _, errors = run(command, *model, *AT, "--rate", "1", "--plot", str(plot))
        assert status == 2
        assert "cannot say which score gives 1 Hz" in errors
        status, _, errors = run(command, *model, *AT, "--threshold", "nan", "--plot", str(plot))
        assert status == 2
        assert "threshold: nan is no score" in errors
    status, _, errors = run("stability", *model, *AT, "--rate", "5e6", "--collisions", "0")
    assert status == 2
    assert "collisions: 0 is no mean number of collisions" in errors
    status, _, errors = run("pareto", str(tmp_path / "absent"))
    assert status == 2
    assert "is no Pareto set" in errors
    assert not plot.exists()
