"""``darkop trigger`` from collisions to an export: what is printed and written, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from level1_events import checkpoint_of, made_up, random_inputs, random_network, roomy
from vendor_reports import intel_report

from darkop_dist.operators.checkpoint import load_checkpoint, save_checkpoint
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.trigger import distil
from darkop_dist.trigger.pareto import read_pareto
from darkop_dist.trigger.sample import read_sample, write_sample

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def run(run_darkop: Run) -> Run:
    """Runs ``darkop trigger`` and gives status, output and errors."""
    return lambda *words: run_darkop("trigger", *words)


@pytest.mark.slow
def test_from_collisions_to_an_export(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distil, "TEACHER_EVENTS", 600)
    few = ("--soft", "60", "--hard", "20", "--mean-collisions", "10")
    zero, signal = tmp_path / "zero.parquet", tmp_path / "svj.parquet"
    status, said, errors = run("sample", str(zero), "--events", "1500", "--least", "150", *few)
    assert status == 0, errors
    assert "crossings of zero bias, 10 collisions each" in said
    sample = read_sample(zero)
    assert sample.crossings.weight.sum() == pytest.approx(1 - np.exp(-10.0))
    assert sample.about.energy_tev == 13.0
    process = ("--process", "semivisible-jets", "--set", "zprime_mass=1500", "--events", "40")
    status, said, errors = run("sample", str(signal), *process, *few)
    assert status == 0, errors
    assert "40 crossings of semivisible-jets zprime_mass=1500" in said
    hardest = read_sample(signal).inputs[:, 27].mean() / 2
    assert hardest > 3 * float((sample.inputs[:, 27] / 2 * sample.crossings.weight).sum())

    at = ("--conditions", "run2-2018", "--luminosity", "3.576e33")  # ten collisions a crossing
    students = tmp_path / "students"
    arguments = ("--sample", str(zero), "--zero-bias", str(zero), "--signal", str(signal), "--output", str(students))
    status, _, errors = run("sample", str(zero), *few)
    assert status == 2
    assert "zero.parquet: exists already" in errors, "said before anything is simulated"
    status, said, errors = run("train", *arguments, "--shape", "4-2", "--epochs", "10", "--rate", "2e6", *at)
    assert status == 0, errors
    assert "teacher: svj 0." in said or "teacher: svj 1." in said
    found = read_pareto(students)
    assert found.points
    assert list(found.points) == sorted(found.points, key=lambda point: point.luts)
    assert "4-2 in float" in said
    point = max(found.points, key=lambda one: one.mean_efficiency)
    assert load_checkpoint(students / point.name).card.name == point.name
    assert point.name in said
    assert (students / "pareto.png").read_bytes()[:4] == b"\x89PNG"
    table = said[said.index(" student  ") : said.index("figure: ")]
    assert run("pareto", str(students)) == (0, table, "")
    network = LocalScorer(load_checkpoint(students / point.name))
    assert network.score({"level1": sample.inputs[:10]}).shape == (10,)

    status, said, errors = run("rates", str(students / point.name), "--sample", str(zero), "--rate", "2e6", *at)
    assert status == 0, errors
    assert "10.0 collisions a crossing (sample: 10 at 13 TeV, the LHC 13 TeV)" in said
    assert "of these without a seed" in said
    assert "SingleJet180" in said

    export = ("--sample", str(zero), "--output", str(tmp_path / "gpu"), "--backend", "gpu", "--events", "100")
    status, said, errors = run("build", str(students), *export, "--latency-budget", "1000")
    assert status == 0, errors
    assert "batch 1: " in said
    assert (tmp_path / "gpu" / "model.onnx").is_file()
    status, _, errors = run("build", str(students), *export, "--latency-budget", "0.1")
    assert status == 2
    assert "no student has at most" in errors
    assert "The nearest, student-" in errors


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_a_project_for_a_vendor_and_its_report(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("hls4ml")
    sample, model, project = tmp_path / "rates.parquet", tmp_path / "student", tmp_path / "project"
    inputs = random_inputs(300)
    write_sample(made_up(inputs), sample)
    save_checkpoint(checkpoint_of(roomy(random_network(4), inputs)), model)
    given = ("build", str(model), "--sample", str(sample), "--backend", "hls", "--output")
    status, said, errors = run(*given, str(project), "--tool", "oneAPI", "--clock-ns", "5")
    assert status == 0, errors
    assert "300 of 300 scores equal" in said
    assert "toy-trigger: project for oneAPI, Agilex7, 5 ns asked" in said
    assert "timing and size: none: no vendor's tool has run" in said
    status, _, errors = run("report", str(project))
    assert status == 2
    assert "there is no report of oneAPI" in errors
    (project / "build").mkdir()
    intel_report(project / "build")
    status, said, errors = run("report", str(project), "--latency-budget", "50")
    assert status == 0, errors
    assert "oneAPI, Agilex7: latency 11 + 1 clocks, one event every clock, 200 MHz (480.0 possible): 60.0 ns" in said
    assert "NOT within 50 ns" in said
    assert "timing: vendor report (oneAPI, estimated before placing; latency of the longest block)" in said
    assert "Agilex7: 2100 LUTs, 900 flip-flops, 4 multipliers, 3 memories (oneAPI, estimated)" in said
    status, _, errors = run(*given, str(tmp_path / "other"), "--tool", "Quartus")
    assert status == 2
    assert "'Quartus' is not known. Use one of Vitis, Vivado, oneAPI" in errors


def test_what_is_refused(run: Run, tmp_path: Path) -> None:
    status, _, errors = run("rates", "no-such-model", "--sample", str(tmp_path / "none.parquet"))
    assert status == 2
    assert "no-such-model" in errors
    given = ("--sample", "a.parquet", "--zero-bias", "b.parquet", "--output", str(tmp_path / "out"))
    status, _, errors = run("train", *given)
    assert status == 2
    assert "--signal: none is given" in errors
    status, _, errors = run("sample", str(tmp_path / "a.parquet"), "--process", "semivisible", "--events", "5")
    assert status == 2
    assert "semivisible-jets" in errors


def test_the_rate_of_counts(run: Run) -> None:
    status, said, _ = run("rate", "--passed", "7", "--total", "2000000")
    assert status == 0
    assert said.startswith("100.1 Hz, 68% interval")
