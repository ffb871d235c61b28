"""p-values by category and from weights: small searches from their documents to their pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from darkop_dist.conformal import MondrianCalibration, WeightedCalibration, from_counts
from darkop_dist.errors import DocumentError, InputFileError, StatisticsError
from darkop_dist.histograms import largest_of, load_candidates, load_histograms, sizes_of
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.calibrate import calibrate_run
from darkop_dist.stages.context import load_context, save_document
from darkop_dist.stages.drift import load_drift
from darkop_dist.stages.pipeline import Request, Silent, operator_of, run_search
from darkop_dist.stages.preflight.check_all import check_all
from darkop_dist.stages.run_events import run_events
from darkop_dist.stages.search import prepare_search

Write = Callable[..., Path]
Change = Callable[[pd.DataFrame], pd.DataFrame]


def write_document(folder: Path, write_search: Write, change: Change | None = None, **anomaly: object) -> Path:
    section = {"background": "background", "alpha": 0.01, "check_fraction": 0.5} | anomaly
    document = write_search(folder, limits=None, systematics=[], anomaly_detection=section)
    for name in ("data", "background", "signal"):
        table = pd.read_csv(folder / f"{name}.csv")
        (change(table) if change else table).to_csv(folder / f"{name}.csv", index=False)
    return document


def edit(document: Path, edited: Callable[[dict], None]) -> Path:
    body = json.loads(document.read_text())
    edited(body)
    document.write_text(json.dumps(body))
    return document


def calibrated(document: Path) -> RunDirectory:
    """The stages of a run up to the calibration, without limits and page."""
    run = RunDirectory(document.parent / "result")
    run.path.mkdir(exist_ok=True)
    search = prepare_search(document)
    save_document(search, run)
    run_events(search, run, operator_of(search, run, Silent()))
    calibrate_run(load_context(run))
    return run


def two_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Every third event gets a second b-jet, which is a second row; such events have higher masses."""
    table["mtt"] = np.where(np.arange(len(table)) % 3 == 0, np.clip(1.5 * table.mtt, 450, 3900), table.mtt)
    return table.loc[np.repeat(table.index, 1 + (np.arange(len(table)) % 3 == 0))]


@pytest.fixture(scope="module")
def by_b_jets(write_search: Write, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("b_jets")
    document = write_document(folder, write_search, two_rows, category="b_jets")
    edit(document, lambda body: body["parameters"].update(candidate="first"))
    return run_search(Request(document, folder / "result"))


def test_each_category_is_calibrated_by_itself(by_b_jets: RunDirectory) -> None:
    body = json.loads(by_b_jets.calibration.read_text())
    found = MondrianCalibration.from_dict(body["calibration"])
    assert list(found.categories) == ["b_jets = 1", "b_jets = 2"]
    histograms = load_histograms(by_b_jets.histograms)
    chosen = {"dataset": "background", "region": "signal", "split": "calibrate"}
    total = histograms.score_counts[chosen].values(flow=True)
    assert sum(one.counts for one in found.categories.values()).tolist() == total.tolist()
    assert found.categories["b_jets = 2"].n == pytest.approx(found.categories["b_jets = 1"].n / 2, rel=0.1)
    table = load_candidates(by_b_jets.candidates)
    names = [f"b_jets = {int(value)}" for value in table["b_jets"].to_pylist()]
    assert set(names) == set(found.categories)
    assert table["p_value"].to_numpy() == pytest.approx(found.p_values(table["score"].to_numpy(), names))


def test_the_page_has_a_line_and_a_plot_for_each_category(by_b_jets: RunDirectory) -> None:
    page = (by_b_jets.report / "index.html").read_text()
    for value in (1, 2):
        assert f'<td class="text">b_jets = {value}</td>' in page
        assert f"-calibration-b-jets-{value}.svg" in page
        assert re.search(rf"of \d+ data events in region signal of category b_jets = {value} have a conformal", page)
    assert "of its own category (b_jets), in every category by itself" in page
    assert (
        load_drift(load_context(by_b_jets)) == ()
    )  # one file of data: nothing to compare, and data need not be like the pooled calibration


TWO_REGIONS = """
import sys
sys.path.insert(0, {processors!r})
from zprime import *
from darkop_dist.histograms import merge_outputs

class TwoRegions(ZPrime):
    regions = ("signal", "control")

    def process(self, events):
        builder = output_builder(events, self.observables, self.scorer, 20)
        numbers, label = event_numbers(events), str(events.metadata["file_label"])
        parts = self.settings.split.assign(builder.dataset, label, numbers["entry"])
        scores = score_events(self.scorer, events) + 1
        control = ScoredRegion("control", numbers, generator_weights(events), parts, {{}})
        fill_scores(builder, label, scores, control)
        return merge_outputs(super().process(events), builder.output())
"""


def test_every_region_calibrates_itself(write_search: Write, repository: Path, tmp_path: Path) -> None:
    """The second region holds the same events, but for larger scores: there they are no more anomalous."""
    document = write_document(tmp_path, write_search, category="region")
    (tmp_path / "two.py").write_text(TWO_REGIONS.format(processors=str(repository / "processors")))
    edit(document, lambda body: body.update(processor="two.py:TwoRegions"))
    made = calibrated(document)
    table = load_candidates(made.candidates).to_pandas()
    table = table[table.dataset == "data"].set_index("entry")
    signal, control = (table[table.region == name] for name in ("signal", "control"))
    shared = signal.index.intersection(control.index)
    assert len(shared) >= 15
    assert (control.score[shared] - signal.score[shared]).to_numpy() == pytest.approx(1.0, abs=1e-4)
    counts = load_histograms(made.histograms).score_counts
    for name, region in (("signal", signal), ("control", control)):
        own = counts[{"dataset": "background", "region": name, "split": "calibrate"}].values(flow=True)
        calibration = from_counts(own.astype(int), counts.axes["score"].edges.tolist(), name, "")
        assert region.p_value.to_numpy() == pytest.approx(calibration.p_values(region.score.to_numpy()))
    # the bins are not shifted with the scores: between these two only their width differs
    assert control.p_value.mean() == pytest.approx(signal.p_value.mean(), rel=0.25)
    (drift,) = load_drift(load_context(made))
    assert drift.against_calibration.p_value > 0.01  # the signal region against itself


def test_the_years_of_datasets_are_categories(write_search: Write, tmp_path: Path) -> None:
    document = write_document(tmp_path, write_search, category="year")
    with pytest.raises(DocumentError, match=r"anomaly_detection\.category[\s\S]*the dataset data has no year"):
        calibrated(document)

    def two_years(body: dict) -> None:
        data, background, _ = body["datasets"]
        for first, year in ((data, 2016), (background, 2016)):
            first["year"] = year
            second = first | {"name": f"{first['name']}-2017", "year": 2017, "files": [f"{first['name']}-2017.csv"]}
            (tmp_path / f"{first['name']}-2017.csv").write_text((tmp_path / f"{first['name']}.csv").read_text())
            body["datasets"].append(second)
        body["anomaly_detection"]["background"] = ["background", "background-2017"]

    made = calibrated(edit(document, two_years))
    found = MondrianCalibration.from_dict(json.loads(made.calibration.read_text())["calibration"])
    # the signal has no year: its category has no background and the floor 1
    assert {name: one.n > 1000 for name, one in found.categories.items()} == {
        "2016": True,
        "2017": True,
        "no year": False,
    }
    table = load_candidates(made.candidates).to_pandas()
    assert (table[table.dataset == "signal"].p_value == 1.0).all()


@pytest.fixture(scope="module")
def unit(write_search: Write, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("unit")
    return run_search(Request(write_document(folder, write_search, method="weighted-conformal"), folder / "result"))


def test_unit_weights_give_the_unweighted_p_values(unit: RunDirectory, write_search: Write, tmp_path: Path) -> None:
    """Cross section and luminosity scale all weights alike, which changes nothing."""
    plain = calibrated(write_document(tmp_path, write_search))
    weighted, unweighted = (load_candidates(run.candidates) for run in (unit, plain))
    assert weighted["entry"].equals(unweighted["entry"])
    assert weighted["p_value"].to_numpy() == pytest.approx(unweighted["p_value"].to_numpy(), rel=1e-12)
    bodies = [json.loads(run.calibration.read_text()) for run in (unit, plain)]
    found = WeightedCalibration.from_dict(bodies[0]["calibration"])
    assert found.largest == pytest.approx(0.1 / 0.75)  # 8 pb x 1/fb / 80 000; a quarter trains
    assert found.effective_size == pytest.approx(sum(bodies[1]["calibration"]["counts"]))
    for name in ("levels", "fraction", "low", "high"):
        assert bodies[0]["checks"]["all"][name] == pytest.approx(bodies[1]["checks"]["all"][name], rel=1e-9)


def test_the_page_names_effective_size_and_guarantee(unit: RunDirectory) -> None:
    page = (unit.report / "index.html").read_text()
    assert "weighted, which fluctuate as " in page
    assert "whose density is that of the calibration events times their weight" in page
    assert "have a weighted conformal p-value of at most 0.01;" in page
    assert "no guarantee" not in page


def with_weights(weights: Callable[[int], np.ndarray]) -> Change:
    return lambda table: table.assign(weight=weights(len(table)))


def by_value(body: dict) -> None:
    for dataset in body["datasets"][1:]:
        dataset["weights"]["use"] = "value"


def test_weights_of_the_files_are_summed(write_search: Write, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    change = with_weights(lambda events: rng.exponential(2.0, events))
    document = edit(write_document(tmp_path, write_search, change, method="weighted-conformal"), by_value)
    made = calibrated(document)
    weights = pd.read_csv(tmp_path / "background.csv").weight.to_numpy()
    histograms = load_histograms(made.histograms)
    summed = histograms.score_weights[{"dataset": "background", "region": "signal", "split": sum}]
    assert summed.values(flow=True).sum() == pytest.approx(weights.sum())
    assert summed.variances(flow=True).sum() == pytest.approx((weights**2).sum())
    found = WeightedCalibration.from_dict(json.loads(made.calibration.read_text())["calibration"])
    scale = load_context(made).scales["background"] / 0.75  # a quarter trains
    assert 1.0 <= found.largest / (scale * weights.max()) <= 2 ** (1 / 8)
    assert found.effective_size == pytest.approx(found.calibration.n / 2, rel=0.1)  # E[w]^2 / E[w^2] of an exponential
    assert load_candidates(made.candidates)["p_value"].to_numpy().min() >= found.floor * (1 - 1e-12)


def test_samples_are_pooled_by_cross_section(write_search: Write, tmp_path: Path) -> None:
    """A second sample of the same size and twice the cross section, of which nothing trains, weighs twice as much."""
    document = write_document(tmp_path, write_search, method="weighted-conformal")
    (tmp_path / "other.csv").write_text((tmp_path / "background.csv").read_text())

    def second(body: dict) -> None:
        body["datasets"].append(body["datasets"][1] | {"name": "other", "xsec_pb": 16.0, "files": ["other.csv"]})
        body["anomaly_detection"]["background"] = ["background", "other"]

    made = calibrated(edit(document, second))
    found = WeightedCalibration.from_dict(json.loads(made.calibration.read_text())["calibration"])
    assert found.largest == pytest.approx(0.2)
    # 800 and 1600 expected events, of which the half that does not check calibrates; 1% is 3 standard deviations
    assert found.sums.sum() == pytest.approx(1200.0, rel=0.03)
    assert found.calibration.n == pytest.approx(7000, rel=0.03)


def test_negative_weights_withdraw_the_guarantee(write_search: Write, tmp_path: Path) -> None:
    change = with_weights(lambda events: np.where(np.arange(events) % 10 == 0, -1.0, 1.0))
    document = write_document(tmp_path, write_search, change, method="weighted-conformal")
    made = run_search(Request(document, tmp_path / "result"))
    page = (made.report / "index.html").read_text()
    assert "No guarantee: some weights are negative" in page
    assert "no number is promised: some weights are negative." in page
    assert "The p-values have no guarantee: some weights of the background are negative." in page


def test_a_category_that_cannot_reach_alpha_is_named(write_search: Write, tmp_path: Path) -> None:
    document = write_document(tmp_path, write_search, two_rows, category="b_jets", alpha=6e-4)
    edit(document, lambda body: body["parameters"].update(candidate="first"))
    with pytest.raises(
        StatisticsError, match=r"category b_jets = 2: alpha = 0\.0006 lies below .*at least 1666 events"
    ):
        calibrated(document)


@pytest.mark.parametrize(
    ("anomaly", "message"),
    [
        ({"category": "b_jet"}, r"ZPrime does not count by b_jet: must be one of region, year, b_jets"),
        ({"category": "b_jets", "method": "weighted-conformal"}, "weighted p-values have no categories"),
        ({"method": "weighted-conformal", "background": "data"}, "collision data have no weights"),
        ({"method": "weighted-conformal", "background": "control-region"}, "collision data have no weights"),
        ({"category": "region", "region": "signal"}, "every region calibrates itself"),
        ({"method": "weighted"}, r"anomaly_detection\.method"),
    ],
)
def test_contradictions_are_reported_before_a_run(
    write_search: Write, tmp_path: Path, anomaly: dict[str, object], message: str
) -> None:
    with pytest.raises(DocumentError, match=message):
        check_all(write_document(tmp_path, write_search, **anomaly), cluster=False)


def test_a_run_that_counted_no_weights_says_so(unit: RunDirectory) -> None:
    kept = unit.histograms.read_text()
    for key, message in (("score_weights", "holds no sums of weights of scores"),):
        unit.histograms.write_text(json.dumps(json.loads(kept) | {key: None}))
        with pytest.raises(InputFileError, match=message):
            calibrate_run(load_context(unit))
    unit.histograms.write_text(kept)


def test_sizes_bound_the_weights_closely() -> None:
    weights = np.random.default_rng(6).lognormal(0, 3, 1000)
    for chosen in (weights, np.array([1.0, -3.0]), 2.0 ** (np.arange(-40, 41) / 8)):
        bound, negative = largest_of(sizes_of(chosen))
        assert 1.0 <= bound / np.abs(chosen).max() < 2 ** (1 / 8) * (1 + 1e-12)
        assert negative == (chosen < 0).sum()
    assert largest_of(sizes_of(np.zeros(3))) == (0.0, 0)
