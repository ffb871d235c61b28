"""The Python interface of the README."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest

import darkop_dist as do
from darkop_dist.errors import InputFileError, StatisticsError, UnknownNameError
from darkop_dist.events.view import view_of

CATALOGUE = """
schema_version = 1
provenance = "made for this test"
[[records]]
name = "small-z"
kind = "simulation"
experiment = "simulation"
generated = { process = "z-nunu-jets", events = 400, seed = 7, settings = { pthat_min = 200.0, mpi = "off" } }
"""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> ak.Array:
    path = tmp_path_factory.mktemp("catalogue") / "own.toml"
    path.write_text(CATALOGUE)
    return do.load_opendata("small-z", catalogue=[path])


def test_names_are_there_and_no_others() -> None:
    assert set(dir(do)) == {
        "CalorimeterOperator", "ConformalDetector", "DarkopExecutor", "MultiModalAnomalyDetector", "OperatorTrainer",
        "PhysicsOperator", "compile_for_trigger", "download_dataset", "estimate_trigger_rates", "from_pretrained",
        "generate_showers", "get_client", "list_opendata_datasets", "load_opendata", "read_showers", "register_model", "reproduce",
        "run", "run_processor", "skim", "visualize_event",
    }  # fmt: skip
    assert all(callable(getattr(do, name)) for name in dir(do))
    with pytest.raises(AttributeError, match="has no attribute 'load_opendta'"):
        do.load_opendta  # noqa: B018


def test_load_by_name_and_by_file(events: ak.Array, shared_data: Path) -> None:
    assert len(events) == 400
    file = shared_data / "cms" / "Run2012B_SingleMu_1000.root"
    assert len(do.load_opendata(file)) == 1000
    assert len(do.load_opendata(file, max_events=10)) == 10
    with pytest.raises(UnknownNameError, match="Did you mean zjets-nunu-pythia"):
        do.load_opendata("zjets-nunu-pythya")
    with pytest.raises(InputFileError, match="no such file"):
        do.load_opendata(file.with_name("absent.root"))
    with pytest.raises(InputFileError, match=r"cms-2016g-btagcsv: the dataset has no files. They are in record 30517"):
        do.load_opendata("cms-2016g-btagcsv")


def test_list_of_datasets() -> None:
    names = do.list_opendata_datasets(experiment=["CMS"], years=[2016], data_type="data")
    assert "cms-2016g-met" in names
    assert "zjets-nunu-pythia" not in names


def test_detector_finds_sorted_anomalies(events: ak.Array) -> None:
    detector = do.ConformalDetector(operator="cylinder-fno-v1", background_data=events[:300], alpha=0.1)
    found = detector.find_anomalies(events[300:])
    p_values = [p for _, p in found]
    assert p_values == sorted(p_values)
    assert all(p <= 0.1 for p in p_values)
    every = detector.p_values(events[300:])
    assert sorted(index for index, _ in found) == np.flatnonzero(every <= 0.1).tolist()
    assert detector.calibration.n == 300
    with pytest.raises(StatisticsError, match="at least 999 events"):
        do.ConformalDetector(operator="cylinder-fno-v1", background_data=events, alpha=0.001)


def test_two_copies_of_an_operator_are_one(events: ak.Array) -> None:
    """The strongest dependence there is: joint p-values rank events as those of the one operator, and stay valid."""
    packaged = "cylinder-fno-v1"
    both = do.MultiModalAnomalyDetector(
        operators=[packaged, packaged], fusion_strategy="fisher", background_data=events[:300], alpha=0.01
    )
    scores = both.scores(events[300:])
    assert np.array_equal(scores[0], scores[1])
    joint, order = both.p_values(events[300:]), np.argsort(-scores[0], kind="stable")
    assert np.all(np.diff(joint[order]) >= 0)
    # 100 tested and 240 calibrating events: four standard deviations of both samples
    assert np.mean(joint <= 0.5) < 0.5 + 4 * 0.5 * np.sqrt(1 / 100 + 1 / 240)


def test_event_display_is_written(events: ak.Array, tmp_path: Path) -> None:
    do.visualize_event(events[0], save_path=tmp_path / "event.png")
    assert (tmp_path / "event.png").stat().st_size > 10_000
    assert view_of(events[0]).experiment == "simulation"
