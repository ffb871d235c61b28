"""A model chosen inside a run: on events that calibrate, check and test nothing, with a record of what was tried."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pandas as pd
import pytest

from darkop_dist.config import Training
from darkop_dist.conformal import argos
from darkop_dist.errors import DarkopError, DocumentError, InputValueError, StatisticsError
from darkop_dist.events.representations import represent
from darkop_dist.events.split import SplitRule
from darkop_dist.histograms import load_candidates, load_groups, load_histograms
from darkop_dist.operators.checkpoint import save_checkpoint
from darkop_dist.operators.density import DensitySettings
from darkop_dist.operators.training import Provenance, fit_density
from darkop_dist.runs import RunDirectory
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.stages.context import load_context
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.preflight.check_all import check_all
from darkop_dist.stages.train import training_input

Write = Callable[..., Path]
MODELS = ("knows-background", "knows-signal")


def save_model(folder: Path, name: str, mtt: np.ndarray, columns: tuple[str, ...] = ("mtt", "mu_pt")) -> None:
    """A density of some masses and background-like muons."""
    training = Training(model="density", datasets=("toy",), columns=columns, transforms=dict.fromkeys(columns, "log"))
    rng, spec = np.random.default_rng(1), training_input(training)
    events = ak.Array({"mtt": mtt, "mu_pt": 60.0 + rng.exponential(80.0, len(mtt))})
    inputs = represent(events, spec.representation, spec.settings)
    toy = Provenance(datasets=("toy",), selection="none")
    settings = DensitySettings.model_validate({"starts": 1})
    made = fit_density(inputs, input_spec=spec, name=name, provenance=toy, seed=1, settings=settings)
    save_checkpoint(made, folder / name)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model finds a peak in the masses anomalous, the other finds all but the peak so."""
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(2)
    background = np.clip(500.0 + rng.exponential(400.0, 2000), 450, 3900)
    save_model(folder, MODELS[0], background)
    save_model(folder, MODELS[1], rng.normal(2500.0, 300.0, 2000))
    save_model(folder, "one-column", background, ("mtt",))
    return folder


def write_choice(
    folder: Path, write_search: Write, models: Path, names: tuple[str, ...] = MODELS, **more: object
) -> Path:
    """The small search with a peak of 10% in its data."""
    operator = {"choose_from": [f"{models}/{name}" for name in names], "choose_fraction": 0.3} | more
    document = write_search(folder, limits=None, systematics=[], operator=operator)
    data = pd.read_csv(folder / "data.csv")
    data.loc[::10, "mtt"] = np.random.default_rng(3).normal(2500.0, 100.0, len(data.loc[::10]))
    data.to_csv(folder / "data.csv", index=False)
    return document


@pytest.fixture(scope="module")
def chosen(write_search: Write, models: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("choice")
    return run_search(Request(write_choice(folder, write_search, models), folder / "result"))


def test_the_model_that_finds_the_signal_is_chosen_and_all_are_recorded(chosen: RunDirectory, models: Path) -> None:
    body = json.loads(chosen.choice.read_text())
    assert body["best"] == f"{models}/{MODELS[0]}"
    assert list(body["tried"]) == [f"{models}/{name}" for name in MODELS]
    best, other = (body["tried"][f"{models}/{name}"] for name in MODELS)
    assert best["value"] > other["value"] + 2 * best["uncertainty"]
    scorer = LocalScorer.from_checkpoint(models / MODELS[0])
    assert best["fingerprint"] == scorer.fingerprint == load_histograms(chosen.histograms).fingerprint
    assert load_context(chosen).operator_card.fingerprint == scorer.fingerprint
    page = (chosen.report / "index.html").read_text()
    assert f"{MODELS[0]}, the largest ARGOS of 2 models tried ({MODELS[0]} {best['value']:.3g} ± " in page
    assert "which calibrate, check and test nothing" in page


def test_the_metric_is_that_of_the_events_set_aside(chosen: RunDirectory, models: Path) -> None:
    """The pass over the events counts the same events in the split: the metric follows from its histogram."""
    counts = load_histograms(chosen.histograms).score_counts
    split = [counts[{"dataset": d, "region": "signal", "split": "choose"}].values(flow=True).astype(int)
             for d in ("data", "background")]  # fmt: skip
    body = json.loads(chosen.choice.read_text())
    assert [found.sum() for found in split] == [body["data_events"], body["background_events"]]
    rated = argos(*split, counts.axes["score"].edges)
    assert rated.value == pytest.approx(body["tried"][body["best"]]["value"], rel=1e-12)


def test_calibration_check_and_tests_never_see_them(chosen: RunDirectory) -> None:
    counts = load_histograms(chosen.histograms).score_counts
    sizes = {
        (dataset, split): int(counts[{"dataset": dataset, "region": "signal", "split": split}].sum(flow=True))
        for dataset in ("data", "background")
        for split in counts.axes["split"]
    }
    for dataset, events in (("data", 800), ("background", 8000)):
        assert sum(sizes[dataset, split] for split in counts.axes["split"]) == events
        # 5 standard deviations of the binomial law
        assert abs(sizes[dataset, "choose"] - 0.3 * events) < 5 * np.sqrt(0.21 * events)
    body = json.loads(chosen.calibration.read_text())
    assert sum(body["calibration"]["counts"]) == sizes["background", "calibrate"]
    assert body["checks"]["all"]["n_check"] == sizes["background", "check"]
    tested = sizes["data", "calibrate"] + sizes["data", "check"]
    assert f" of {tested} data events in region signal have" in (chosen.report / "index.html").read_text()
    groups = load_groups(chosen.groups)
    assert groups.counts("file", "data", "signal", ["choose"]) == {}
    assert "choose" in load_candidates(chosen.candidates)["split"].to_pylist()


def test_splits_do_not_overlap_and_stay_without_a_choice() -> None:
    entries = np.arange(20_000)
    rule = SplitRule(3, 0.2, ("mc",), 0.25, choose_fraction=0.1, choose_datasets=("mc", "data"))
    plain = SplitRule(3, 0.2, ("mc",), 0.25)
    parts, before = (one.assign("mc", "a.root", entries) for one in (rule, plain))
    assert np.bincount(parts) / len(entries) == pytest.approx([0.2, 0.54, 0.18, 0.08], abs=0.015)
    assert ((parts == 0) == (before == 0)).all()
    assert not (before == 3).any()
    assert not (rule.assign("signal", "a.root", entries) == 3).any()


def test_p_values_are_valid_after_the_choice() -> None:
    """The better of two models on a tenth of the events: p-values of other background stay super-uniform.

    300 trials with 30 calibration events; the number of p <= 0.1 among 20 tested each stays below its 1e-4 bound with
    the variance of the Beta-Binomial law.
    """
    rng, trials, n, m = np.random.default_rng(5), 300, 30, 20
    edges, below = np.linspace(-4, 4, 41), 0
    for _ in range(trials):
        events = rng.normal(size=(60 + 60 + n + m, 2))
        scores = [np.searchsorted(edges, events[:, model]) for model in range(2)]
        first, second = (
            argos(*(np.bincount(one[part], minlength=42) for part in (slice(0, 60), slice(60, 120))), edges,
                  fewest_template_events=10).value
            for one in scores
        )  # fmt: skip
        best = scores[0] if first > second else scores[1]
        known, tested = best[120 : 120 + n], best[120 + n :]
        p_values = (1 + (known[None, :] >= tested[:, None]).sum(axis=1)) / (n + 1)
        below += int((p_values <= 0.1).sum())
    rank = 3  # floor(0.1 * 31)
    mean = rank / (n + 1)
    variance = m * mean * (1 - mean) * (n + 1 + m) / (n + 2)
    assert below <= trials * m * mean + 3.7 * np.sqrt(trials * variance)


@pytest.mark.parametrize(
    ("names", "more", "error", "message"),
    [
        (MODELS[:1], {}, DocumentError, "one model is no choice"),
        ((MODELS[0], MODELS[0]), {}, DocumentError, "is named twice"),
        ((MODELS[0], "copy"), {}, InputValueError, r"copy and .*knows-background are the same model"),
        ((MODELS[0], "one-column"), {}, InputValueError, r"one-column and .*knows-background take different inputs"),
        (MODELS, {"checkpoint": "cylinder-fno-v1"}, DocumentError, "exactly one of checkpoint, train and choose_from"),
        (
            MODELS,
            {"choose_events": 100_000},
            StatisticsError,
            r"model .*knows-background: \d+ data events and \d+ template",
        ),
        ((MODELS[0], "absent"), {}, DarkopError, "absent"),
    ],
)
def test_bad_choices_are_named(
    write_search: Write, models: Path, tmp_path: Path, names: tuple, more: dict, error: type[Exception], message: str
) -> None:
    if not (models / "copy").exists():
        shutil.copytree(models / MODELS[0], models / "copy")
    with pytest.raises(error, match=message):
        run_search(Request(write_choice(tmp_path, write_search, models, names, **more), tmp_path / "result"))
    assert not (tmp_path / "result").exists()


def test_the_check_before_a_run_finds_bad_models(write_search: Write, models: Path, tmp_path: Path) -> None:
    document = write_choice(tmp_path, write_search, models, (MODELS[0], "one-column"))
    (found,) = [finding for finding in check_all(document, cluster=False) if finding.check == "scorer"]
    assert found.status == "failed"
    assert "take different inputs" in found.message
    good = write_choice(tmp_path, write_search, models)
    (found,) = [finding for finding in check_all(good, cluster=False) if finding.check == "scorer"]
    assert (found.status, found.message) == ("ok", "2 models to choose from")


def test_documents_that_cannot_choose(write_search: Write, models: Path, tmp_path: Path) -> None:
    document = write_choice(tmp_path, write_search, models)
    body = json.loads(document.read_text())
    for change, message in (
        ({"datasets": body["datasets"][1:]}, "a choice without labels needs collision data"),
        ({"anomaly_detection": {"background": "control-region", "alpha": 0.1}}, "a choice compares data with datasets"),
        ({"limits": {"signal": "signal", "observable": "score"}}, "counts the events that chose its model"),
    ):
        document.write_text(json.dumps(body | change))
        with pytest.raises(DocumentError, match=message):
            check_all(document, cluster=False)
