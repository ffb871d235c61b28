"""A search from its document to its page, and every stage again from the run directory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from darkop_dist.errors import LedgerError, OutputError, StatisticsError
from darkop_dist.histograms import load_candidates, load_histograms
from darkop_dist.limits import LimitsFile
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.calibrate import calibrate_run
from darkop_dist.stages.context import load_context
from darkop_dist.stages.limits import headlines, write_limits
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.report import write_report

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def run(write_search: Write, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("search")
    return run_search(Request(write_search(folder), folder / "result"))


def test_all_files_of_the_run_directory_exist(run: RunDirectory) -> None:
    files = (
        run.document, run.ledger, run.histograms, run.cutflow, run.candidates, run.displays, run.calibration,
        run.workspace, run.limits, run.provenance, run.report / "index.html", run.checkpoint / "card.json",
    )  # fmt: skip
    assert [file.name for file in files if not file.exists()] == []
    assert [path.name for path in run.path.parent.iterdir() if path.name.startswith(".")] == []


def test_yields_are_normalised_to_cross_section_and_luminosity(run: RunDirectory) -> None:
    # 8 pb x 1/fb / (10 x 8000 generated) is 0.1 per event: 8000 events stand for 800.
    scales = load_context(run).scales
    assert scales == {"data": 1.0, "background": pytest.approx(0.1), "signal": pytest.approx(0.05)}
    fitted = LimitsFile.load(run.limits).results[0].background_fit
    assert sum(fitted.prefit[0].total) == pytest.approx(800.0)
    assert sum(fitted.prefit[0].observed) == 800.0


def test_data_without_signal_are_not_excluded_beyond_expectation(run: RunDirectory) -> None:
    result = LimitsFile.load(run.limits).results[0]
    assert result.observed == "data"
    # The data are one draw of the background: within the 2.6 sigma band of the expected limits by a wide margin.
    assert 0.5 * result.limit.expected[0] < result.limit.observed < 2 * result.limit.expected[4]
    assert result.background_fit.goodness.p_value > 1e-3


def test_limit_agrees_with_pyhf_on_the_command_line(run: RunDirectory) -> None:
    limit = LimitsFile.load(run.limits).results[0].limit
    command = [sys.executable, "-m", "pyhf.cli", "cls", str(run.workspace), "--test-poi", repr(limit.observed)]
    program = Path(sys.executable).with_name("pyhf")
    if program.exists():
        command = [str(program), *command[3:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["CLs_obs"] == pytest.approx(0.05, abs=1e-4)


def test_training_events_never_calibrate(run: RunDirectory) -> None:
    counts = load_histograms(run.histograms).score_counts
    names = list(counts.axes["split"])
    assert {"train", "calibrate", "check"} == set(names)
    calibrating = counts[{"dataset": "background", "region": "signal", "split": "calibrate"}].sum(flow=True)
    body = json.loads(run.calibration.read_text())
    assert sum(body["calibration"]["counts"]) == calibrating
    trained = json.loads((run.checkpoint / "card.json").read_text())["trained_on"]
    used = trained["events"] + trained["validation_events"] + trained["score_axis_events"]
    assert used == counts[{"dataset": "background", "region": "signal", "split": "train"}].sum(flow=True)


def test_candidates_carry_p_values_that_fall_with_the_score(run: RunDirectory) -> None:
    table = load_candidates(run.candidates).to_pandas()
    data = table[table.dataset == "data"].sort_values("score", ascending=False)
    assert len(data) == 20
    assert (np.diff(data.p_value) >= 0).all()
    assert data.p_value.min() >= json.loads(run.calibration.read_text())["floor"]
    assert (data.run == -1).all()


def test_stages_run_again_from_the_directory(run: RunDirectory) -> None:
    context = load_context(run)
    before = run.limits.read_text()
    write_limits(context)
    assert run.limits.read_text() == before
    calibrate_run(context)
    page = write_report(context)
    assert "Small search" in page.read_text()
    assert "mu <" in headlines(run)[0]


def test_two_runs_are_equal(run: RunDirectory, write_search: Write, tmp_path: Path) -> None:
    other = run_search(Request(write_search(tmp_path), tmp_path / "result"))
    assert load_histograms(other.histograms).histograms["mtt"] == load_histograms(run.histograms).histograms["mtt"]
    assert json.loads(other.calibration.read_text()) == json.loads(run.calibration.read_text())
    assert load_candidates(other.candidates).equals(load_candidates(run.candidates))


@pytest.mark.slow
def test_dask_gives_the_same_to_the_last_bit(run: RunDirectory, write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, execution={"where": "dask", "workers": 2})
    other = run_search(Request(document, tmp_path / "result"))
    ours, theirs = load_histograms(run.histograms), load_histograms(other.histograms)
    assert ours.fingerprint == theirs.fingerprint
    for name, histogram in ours.histograms.items():
        assert histogram.view(flow=True).tobytes() == theirs.histograms[name].view(flow=True).tobytes()
    assert ours.score_counts.view(flow=True).tobytes() == theirs.score_counts.view(flow=True).tobytes()
    assert load_candidates(other.candidates).equals(load_candidates(run.candidates))
    assert load_context(other).ledger.digest == load_context(run).ledger.digest


def test_alpha_below_the_floor_is_refused(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, anomaly_detection={"background": "background", "alpha": 1e-6})
    with pytest.raises(StatisticsError, match=r"alpha = 1e-06 lies below .*at least 999999 events"):
        run_search(Request(document, tmp_path / "result"))
    assert not (tmp_path / "result").exists()


def test_an_existing_result_is_kept_without_force(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, operator=None, anomaly_detection=None, limits=None)
    first = run_search(Request(document, tmp_path / "result"))
    made = first.provenance.read_bytes()
    with pytest.raises(OutputError, match=r"result: exists already\. .*--force"):
        run_search(Request(document, tmp_path / "result"))
    assert first.provenance.read_bytes() == made
    run_search(Request(document, tmp_path / "result", force=True))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(OutputError, match="is not a run directory"):
        run_search(Request(document, tmp_path / "thesis", force=True))
    assert (tmp_path / "thesis" / "chapter1.tex").exists()


def test_limits_refuse_an_open_ledger(run: RunDirectory) -> None:
    context = load_context(run)
    text = run.ledger.read_text()
    entry = context.ledger.entries[0]
    import dataclasses

    from darkop_dist.execution import Ledger

    lost = dataclasses.replace(entry, status="failed", reason="OSError: gone", entries=0)
    opened = dataclasses.replace(context, ledger=Ledger((lost, *context.ledger.entries[1:])))
    with pytest.raises(LedgerError, match=r"data: 800 of 800 entries lost[\s\S]*--accept-loss data"):
        write_limits(opened)
    assert run.ledger.read_text() == text
