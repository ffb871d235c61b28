"""``darkop limit`` on files as other programs write them: what is printed, as text, JSON and plots, and what is refused."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[object, str, str]]

README_MODEL = {  # the model of pyhf's README
    "channels": [
        {
            "name": "singlechannel",
            "samples": [
                {
                    "name": "signal",
                    "data": [12.0, 11.0],
                    "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                },
                {
                    "name": "background",
                    "data": [50.0, 52.0],
                    "modifiers": [{"name": "uncorr_bkguncrt", "type": "shapesys", "data": [3.0, 7.0]}],
                },
            ],
        }
    ],
    "observations": [{"name": "singlechannel", "data": [51.0, 48.0]}],
    "measurements": [{"name": "Measurement", "config": {"poi": "mu", "parameters": []}}],
    "version": "1.0.0",
}


@pytest.fixture
def run(run_darkop: Run) -> Run:
    """Runs ``darkop limit`` and gives status, output and errors."""
    return lambda *words: run_darkop("limit", *words)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(README_MODEL))
    return path


def test_pyhfs_readme_model(workspace: Path, run: Run) -> None:
    """The numbers of pyhf's README: CLs_obs .05251497, expected .0026063 .0138201 .0644532 .2352564 .5730362.

    They come from SLSQP with a tolerance of about 1e-6 in -2 ln L: 2e-5 in CLs.
    """
    status, out, err = run(str(workspace), "--mu", "1", "--json")
    assert (status, "Traceback" in err) == (0, False)
    (result,) = json.loads(out)
    assert result["cls"]["observed"] == pytest.approx(0.05251497, abs=2e-5)
    assert result["cls"]["expected"] == pytest.approx([0.0026063, 0.0138201, 0.0644532, 0.2352564, 0.5730362], abs=2e-5)
    assert abs(result["pyhf_difference"]) < 1e-10
    assert result["limit"]["cls_at_limit"] == pytest.approx(0.05, abs=1e-5)
    assert {impact["name"] for impact in result["ranking"]["impacts"]} == {"uncorr_bkguncrt[0]", "uncorr_bkguncrt[1]"}
    assert result["signal_fit"]["goodness"]["ndof"] == 1


def test_of_several_measurements_the_first_is_used_and_said(tmp_path: Path, run: Run) -> None:
    first = README_MODEL["measurements"][0]
    held = {"name": "held", "config": {"poi": "mu", "parameters": [{"name": "uncorr_bkguncrt", "fixed": True}]}}
    path = tmp_path / "two.json"
    path.write_text(json.dumps(README_MODEL | {"measurements": [first, held]}))
    status, out, _ = run(str(path), "--mu", "1")
    assert status == 0
    assert "0.0525" in out
    assert "several measurements: Measurement, the first, is used; unused are held" in " ".join(out.split())


def test_a_counting_experiment_without_uncertainties(tmp_path: Path, run: Run) -> None:
    """Nothing is free in its fit without signal: it crashed."""
    spec = json.loads(json.dumps(README_MODEL))
    spec["channels"][0]["samples"][1]["modifiers"] = []
    path = tmp_path / "counting.json"
    path.write_text(json.dumps(spec))
    status, out, err = run(str(path))
    assert (status, "Traceback" in err) == (0, False)
    assert "mu <" in out


def test_what_is_printed_and_drawn(workspace: Path, run: Run, tmp_path: Path) -> None:
    plots = tmp_path / "plots"
    words = ("--mu", "1", "--scan", "mu", "--scan", "uncorr_bkguncrt[0]", "--yields", "--plots", str(plots))
    status, out, err = run(str(workspace), *words)
    assert status == 0
    for words in (
        "signal signal, regions singlechannel", "0.95 CL: mu <", "CLs at mu = 1", "0.05251", "best fit    mu = 0 ±",
        "discovery   p0 = 0.5 (0.00 sigma)", "fit without signal: chi2/ndof", "interval    mu:", "uncorr_bkguncrt[1]",
        "before the fit", "pyhf's -2 ln L at the fitted parameters differs by", "arXiv:1007.1727",
    ):  # fmt: skip
        assert words in out, words
    assert "plots:" in err
    drawn = {path.name for path in plots.iterdir()}
    for name in ("cls", "pulls", "impacts", "profile-mu", "profile-uncorr_bkguncrt[0]", "pre-fit-singlechannel"):
        assert {f"{name}.png", f"{name}.pdf"} <= drawn
    assert run(str(workspace), "--plots", str(plots))[0] == 2


def test_toys_are_kept_and_taken_up(workspace: Path, run: Run, tmp_path: Path) -> None:
    words = (str(workspace), "--toys", "50", "--seed", "5", "--keep", str(tmp_path / "toys"), "--no-impacts", "--json")
    first = json.loads(run(*words)[1])
    batches = {path: path.stat().st_mtime_ns for path in (tmp_path / "toys").iterdir()}
    assert len(batches) == 9
    assert json.loads(run(*words)[1]) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "toys").iterdir()} == batches
    assert first[0]["limit"]["method"] == "toys"
    assert first[0]["limit"]["observed_error"] > 0


@pytest.mark.slow
def test_toys_on_a_cluster_give_the_same(workspace: Path, run: Run) -> None:
    words = (str(workspace), "--toys", "40", "--no-impacts", "--json")
    here = json.loads(run(*words)[1])
    status, out, err = run(*words, "--where", "dask", "--workers", "2")
    assert status == 0
    assert "dashboard: http" in err
    assert json.loads(out) == here


def test_every_region_of_a_published_likelihood(shared_data: Path, tmp_path: Path, run: Run) -> None:
    """ATLAS SUSY-2018-31 without signal names no sample of the POI: said by name, for all three regions."""
    with tarfile.open(shared_data / "likelihoods" / "pyhf-ins1748602-probability-models.tar.gz") as files:
        for region in ("RegionA", "RegionB", "RegionC"):
            path = tmp_path / f"{region}.json"
            path.write_bytes(files.extractfile(f"{region}/BkgOnly.json").read())
            status, _, err = run(str(path))
            assert status != 0
            assert "no" in err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.json", None, "no such file or run directory"),
        ("text.json", "not JSON", "is not JSON"),
        ("other.json", "{}", "is not a pyhf workspace"),
    ],
)
def test_what_is_no_workspace_is_said(name: str, content: str | None, message: str, tmp_path: Path, run: Run) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    status, _, err = run(str(tmp_path / name))
    assert status == 2
    assert message in " ".join(err.split())


def test_a_directory_without_workspace_and_an_unknown_parameter(workspace: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    status, _, err = run(str(tmp_path / "empty"))
    assert (status, "holds no workspace" in err) == (2, True)
    status, _, err = run(str(workspace), "--scan", "nu")
    assert status == 2
    assert "unknown parameter 'nu'. Did you mean mu" in err
