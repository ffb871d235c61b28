"""A search from its document to its page, and every stage again from the run directory."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from darkop_dist.conformal import Calibration
from darkop_dist.errors import InputFileError, InputValueError, LedgerError, OutputError, StatisticsError
from darkop_dist.execution import Ledger
from darkop_dist.histograms import load_candidates, load_histograms
from darkop_dist.limits import LimitsFile
from darkop_dist.report.digits import number
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.calibrate import calibrate_run
from darkop_dist.stages.context import load_context
from darkop_dist.stages.limits import headlines, write_limits
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.report import write_report
from darkop_dist.stages.run_events import normalisation_scales

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def run(write_search: Write, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("search")
    return run_search(Request(write_search(folder), folder / "result"))


def test_all_files_of_the_run_directory_exist(run: RunDirectory) -> None:
    files = (
        run.document, run.ledger, run.histograms, run.cutflow, run.candidates, run.displays, run.calibration,
        run.workspace, run.limits, run.provenance, run.report / "index.html", run.checkpoint / "card.json",
        run.timeline,
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


def test_the_page_says_what_limits_the_run(run: RunDirectory) -> None:
    page = (run.report / "index.html").read_text()
    assert re.search(r'<img src="img/\d+-timeline.svg" alt="\d+% of the worker&#39;s time', page)
    assert "performance report" not in page


def test_the_page_tests_the_number_of_anomalous_data_events(run: RunDirectory) -> None:
    """All splits of the data count, and the p-value is that of the Beta-Binomial law."""
    body = json.loads(run.calibration.read_text())
    calibration, alpha = Calibration.from_dict(body["calibration"]), body["alpha"]
    counts = load_histograms(run.histograms).score_counts
    tested = counts[{"dataset": "data", "region": "signal", "split": sum}].values(flow=True)
    observed, total = int(tested[calibration.bin_p_values <= alpha].sum()), int(tested.sum())
    assert 0 < observed < total
    rank = int(np.floor(alpha * (calibration.n + 1) + 1e-9))
    p_value = stats.betabinom(total, rank, calibration.n + 1 - rank).sf(observed - 1)
    page = (run.report / "index.html").read_text()
    assert f"{observed} of {total} data events in region signal have a conformal p-value of at most {alpha:g};" in page
    assert f"and as many or more with probability {number(p_value)}." in page
    assert "an excess as large at any of these levels has p = " in page


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
    assert "Dask Performance Report" in other.performance.read_text()
    page = (other.report / "index.html").read_text()
    assert '<a href="../dask-report.html">' in page
    assert "of the 2 workers&#39; time" in page


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
    lost = dataclasses.replace(entry, status="failed", reason="OSError: gone", entries=0)
    opened = dataclasses.replace(context, ledger=Ledger((lost, *context.ledger.entries[1:])))
    with pytest.raises(LedgerError, match=r"data: lost 800 of 800 entries in 1 chunk[\s\S]*--accept-loss data"):
        write_limits(opened)
    assert run.ledger.read_text() == text


def test_a_systematic_without_variations_is_said_not_dropped_silently(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, systematics=["luminosity", "jet_energy_scale"])
    made = run_search(Request(document, tmp_path / "result"))
    notes = LimitsFile.load(made.limits).results[0].notes
    assert any("jet_energy_scale was asked for" in note and "not in the fit" in note for note in notes)
    assert "jet_energy_scale was asked for" in (made.report / "index.html").read_text()


def test_lost_data_scale_the_luminosity(run: RunDirectory) -> None:
    context = load_context(run)
    entry = context.ledger.entries[0]
    half = dataclasses.replace(entry, index=99, start=400, status="failed", reason="OSError: gone", entries=0)
    first = dataclasses.replace(entry, stop=400, entries=400)
    ledger = Ledger((first, half, *context.ledger.entries[1:]))
    scales = normalisation_scales(context.records, ledger, context.lumi_ifb)
    assert scales["background"] == pytest.approx(0.5 * context.scales["background"])
    assert scales["data"] == 1.0


def test_an_open_ledger_keeps_the_events_for_later(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path)
    source = tmp_path / "failing.py"
    source.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).resolve().parents[2] / 'processors')!r})\n"
        "from zprime import ZPrime, ZPrimeParameters\n"
        "class Failing(ZPrime):\n"
        "    def process(self, events):\n"
        "        if events.metadata['dataset'] == 'data':\n"
        "            raise OSError(5, 'the storage does not answer')\n"
        "        return super().process(events)\n"
    )
    body = json.loads(document.read_text()) | {"processor": "failing.py:Failing", "execution": {"retries": 0}}
    document.write_text(json.dumps(body))
    with pytest.raises(LedgerError, match=r"data: lost 800 of 800 entries in 1 chunk[\s\S]*kept in .*result"):
        run_search(Request(document, tmp_path / "result"))
    kept = RunDirectory(tmp_path / "result")
    assert load_context(kept).ledger.closure()[0].lost == 800
    page = (kept.report / "index.html").read_text()
    assert "the storage does not answer" in page
    assert re.search(r"<figcaption>\d+% of the worker&#39;s time", page)
    assert not kept.limits.exists()


def test_one_size_per_sample(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, operator=None, anomaly_detection=None)
    body = json.loads(document.read_text())
    twin = body["datasets"][1] | {"name": "background-2", "files": ["background-2.csv"], "sample": "background"}
    (tmp_path / "background-2.csv").write_text((tmp_path / "background.csv").read_text())
    body["datasets"].append(twin)
    body["limits"]["normalisation"] = {"background-2": 0.1}
    document.write_text(json.dumps(body))
    with pytest.raises(InputValueError, match="the sample background is made of background, background-2"):
        run_search(Request(document, tmp_path / "result"))


def test_the_same_file_in_two_datasets_is_refused(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, operator=None, anomaly_detection=None)
    body = json.loads(document.read_text())
    body["datasets"].append(body["datasets"][1] | {"name": "again"})
    document.write_text(json.dumps(body))
    with pytest.raises(InputFileError, match=r"background\.csv: belongs to the datasets background and again"):
        run_search(Request(document, tmp_path / "result"))


def test_two_signals_with_a_size_each(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, operator=None, anomaly_detection=None)
    body = json.loads(document.read_text())
    body["datasets"].append(body["datasets"][2] | {"name": "other", "files": ["other.csv"]})
    (tmp_path / "other.csv").write_text((tmp_path / "signal.csv").read_text())
    body["limits"] |= {"signal": ["signal", "other"], "normalisation": {"signal": 0.1, "background": 0.05}}
    document.write_text(json.dumps(body))
    made = run_search(Request(document, tmp_path / "result"))
    assert [result.signal for result in LimitsFile.load(made.limits).results] == ["signal", "other"]
    assert (made.path / "workspace-other.json").exists()
