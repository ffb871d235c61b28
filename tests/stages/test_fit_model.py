"""What the document says of the statistical model reaches the workspace of a run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from darkop_dist.config import Limits
from darkop_dist.conformal import Calibration, excess
from darkop_dist.errors import InputFileError, InputValueError, StatisticsError, UnknownNameError
from darkop_dist.histograms import load_histograms
from darkop_dist.limits import LimitsFile, Workspace
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.context import RunContext, load_context
from darkop_dist.stages.fit_model import fit_samples, workspace_of
from darkop_dist.stages.limits import write_limits
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.report import write_report

P_VALUES = {"signal": "signal", "observable": "p_value", "p_value_bins": [0.003, 0.01, 0.1], "lumi_uncertainty": 0.012}


@pytest.fixture(scope="module")
def run(write_search: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("p_values")
    return run_search(Request(write_search(folder, limits=P_VALUES), folder / "result"))


def built(run: RunDirectory, **section: Any) -> Workspace:
    context = load_context(run)
    limits = Limits.model_validate({"signal": "signal", "lumi_uncertainty": 0.012} | section)
    return workspace_of(context, limits, fit_samples(context), "signal")


def modifiers(workspace: Workspace, sample: str) -> dict[str, str]:
    samples = workspace.spec["channels"][0]["samples"]
    return {m["name"]: m["type"] for m in next(s for s in samples if s["name"] == sample)["modifiers"]}


def test_a_run_ends_with_limits_from_p_values(run: RunDirectory) -> None:
    """Observed, expected and signal counts are those of the run's scores."""
    workspace = Workspace.load(run.workspace)
    calibration = Calibration.from_dict(json.loads(run.calibration.read_text())["calibration"])
    histograms = load_histograms(run.histograms)
    counts = histograms.score_counts
    tested = counts[{"dataset": "data", "region": "signal", "split": sum}].values(flow=True).astype(np.int64)
    beyond = [excess(calibration, tested, alpha) for alpha in (0.003, 0.01, 0.1)]
    observed = workspace.spec["observations"][0]["data"]
    assert np.cumsum(observed)[:-1].tolist() == [found.observed for found in beyond]
    assert sum(observed) == 800
    background, signal = workspace.spec["channels"][0]["samples"]
    assert background["name"] == "conformal_background"
    reached = [calibration.bin_p_values[calibration.bin_p_values <= alpha].max() for alpha in (0.003, 0.01, 0.1)]
    expected = np.cumsum(background["data"])[:-1]
    assert expected == pytest.approx(800 * np.array(reached))
    assert (expected <= [found.expected for found in beyond]).all()  # which takes the level, not what bins reach of it
    assert sum(signal["data"]) == pytest.approx(0.05 * 2000)
    scores = histograms.histograms["score"][{"dataset": "signal", "region": "signal", "variation": "nominal"}]
    in_tail = calibration.bin_p_values <= 0.01
    assert sum(signal["data"][:2]) == pytest.approx(0.05 * scores.values(flow=True)[in_tail].sum())
    result = LimitsFile.load(run.limits).results[0]
    assert np.isfinite([result.limit.observed, *result.limit.expected]).all()
    assert result.background_fit.goodness.p_value > stats.norm.sf(4)
    assert any("shared out by" in note for note in result.notes)


def test_its_stages_run_again_and_its_page_shows_it(run: RunDirectory) -> None:
    context = load_context(run)
    before = run.limits.read_text()
    write_limits(context)
    assert run.limits.read_text() == before
    page = write_report(context).read_text()
    assert "p_value in signal" in page
    assert "shared out by" in page


def test_the_document_states_what_build_workspace_takes(run: RunDirectory) -> None:
    workspace = built(
        run,
        observable="mtt",
        bins=(400.0, 800.0, 1200.0, 4000.0),
        lumi_modifier="lumi",
        free_normalisation=["background"],
        bin_uncertainties=[{"sample": "background", "size": [0.1, 0.2, 0.3]}, {"sample": "signal", "size": 0.1}],
    )
    assert modifiers(workspace, "background") == {
        "lumi": "lumi",
        "background_free_normalisation": "normfactor",
        "bin_uncertainty_signal_background": "shapesys",
        "mc_statistics_signal": "staterror",
    }
    assert modifiers(workspace, "signal")["bin_uncertainty_signal_signal"] == "shapesys"


def with_second_region(run: RunDirectory) -> RunContext:
    """The run's context with three copies of its region: b, c and d hold the same events."""
    context = load_context(run)
    histogram = context.histograms.histograms["mtt"]
    copied = histogram.copy()
    for region in ("b", "c", "d"):
        for dataset in histogram.axes["dataset"]:
            copied.fill(dataset, region, "nominal", [500.0], weight=[0.0])
    view = copied.view(flow=True)
    for region in ("b", "c", "d"):
        view[:, copied.axes["region"].index(region)] = view[:, copied.axes["region"].index("signal")]
    histograms = dataclasses.replace(context.histograms, histograms={"mtt": copied})
    return dataclasses.replace(context, histograms=histograms)


def test_transfer_factors_and_abcd_of_a_document(run: RunDirectory) -> None:
    context = with_second_region(run)
    common = {"signal": "signal", "lumi_uncertainty": 0.012, "observable": "mtt", "regions": ("signal", "b", "c", "d")}
    tied = {
        "name": "z",
        "samples": {"signal": "background", "b": ["background"]},
        "uncertainties": [{"name": "theory", "region": "b", "size": 0.05}],
    }
    section = Limits.model_validate(common | {"bins": (400.0, 1200.0, 4000.0), "transfer_factors": [tied]})
    workspace = workspace_of(context, section, fit_samples(context), "signal")
    assert modifiers(workspace, "background")["transfer_z"] == "shapefactor"
    abcd = {"regions": ("signal", "b", "c", "d"), "replaces": ["background"], "closure": 0.1}
    section = Limits.model_validate(common | {"bins": (400.0, 4000.0), "abcd": abcd})
    workspace = workspace_of(context, section, fit_samples(context), "signal")
    assert [sample["name"] for sample in workspace.spec["channels"][0]["samples"]] == ["abcd", "signal"]
    assert workspace.spec["channels"][0]["samples"][0]["data"] == [pytest.approx(800.0)]
    assert modifiers(workspace, "abcd")["abcd_closure"] == "normsys"


def test_data_that_calibrate_themselves_are_refused(run: RunDirectory) -> None:
    text = run.calibration.read_text()
    body = json.loads(text)
    try:
        run.calibration.write_text(json.dumps(body | {"datasets": ["data"]}))
        message = "data calibrate the p-values and would be tested with them: these p-values promise nothing"
        with pytest.raises(StatisticsError, match=message):
            built(run, **P_VALUES)
        run.calibration.unlink()
        with pytest.raises(InputFileError, match="darkop calibrate"):
            built(run, **P_VALUES)
    finally:
        run.calibration.write_text(text)


def test_data_that_trained_the_operator_are_refused(run: RunDirectory) -> None:
    context = load_context(run)
    operator = context.document.operator
    training = operator.train.model_copy(update={"datasets": ("data",)})
    document = context.document.model_copy(update={"operator": operator.model_copy(update={"train": training})})
    with pytest.raises(StatisticsError, match="data trained the operator and would be tested with them"):
        workspace_of(
            dataclasses.replace(context, document=document),
            Limits.model_validate(P_VALUES),
            fit_samples(context),
            "signal",
        )


def test_p_value_bins_below_the_floor(run: RunDirectory) -> None:
    with pytest.raises(StatisticsError, match=r"alpha = 1e-05 lies below .*at least 99999 events"):
        built(run, **P_VALUES | {"p_value_bins": (1e-5, 0.1)})


@pytest.mark.parametrize(
    ("section", "error", "message"),
    [
        ({"observable": "mass"}, UnknownNameError, "unknown observable 'mass'"),
        (
            {"observable": "mtt", "free_normalisation": {"signal": (0.0, 2.0)}},
            StatisticsError,
            "signal is free already",
        ),
        (
            {"observable": "mtt", "bin_uncertainties": [{"sample": "background", "size": [0.1]}]},
            StatisticsError,
            "background in region signal has 1 sizes for 8 bins",
        ),
    ],
)
def test_what_the_run_does_not_have(run: RunDirectory, section: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        built(run, **section)


def test_a_name_stands_for_one_sample(run: RunDirectory) -> None:
    context = load_context(run)
    twin = context.records[1].model_copy(update={"name": "background-2", "sample": "background"})
    more = dataclasses.replace(
        context, records=(*context.records, twin), scales={**context.scales, "background-2": 1.0}
    )
    section = Limits.model_validate(
        {"signal": "signal", "lumi_uncertainty": 0.01, "observable": "mtt", "free_normalisation": "background-2"}
    )
    with pytest.raises(
        InputValueError, match=r"limits.free_normalisation.background-2: the sample background is made of"
    ):
        workspace_of(more, section, fit_samples(more), "signal")
