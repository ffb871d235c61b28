"""Files of events: all that exist open; all that are broken say so."""

from pathlib import Path

import awkward as ak
import numpy as np
import pandas as pd
import pytest
import uproot

from darkop_dist.config import DatasetRecord, WeightColumns
from darkop_dist.errors import InputFileError, InputValueError
from darkop_dist.events.read import inspect_file, open_events, require_columns
from darkop_dist.events.weights import event_numbers, generator_weights

NANOAOD = DatasetRecord(name="sample", kind="simulation", files=("x",))
DATA = DatasetRecord(name="data", kind="data", files=("x",))
FLAT = DatasetRecord(
    name="flat", kind="simulation", format="flat", files=("x",), weights=WeightColumns(weight="w", sum_weights="total")
)

# Events as listed in the README of the shared data.
CMS_FILES = {
    "nanoAOD_2015_CMS_Open_Data_ttbar.root": 200,
    "Run2012B_SingleMu_1000.root": 1000,
    "nano_dimuon.root": 40,
    "nano_dy.root": 40,
    "pfnano.root": 10,
    "dimuon_100k_flat.root": 100_000,
}


def write_tree(path: Path, **columns: np.ndarray) -> Path:
    with uproot.recreate(path) as file:
        file["Events"] = columns
    return path


@pytest.mark.parametrize(("name", "events"), CMS_FILES.items())
def test_every_cms_file_opens_with_its_number_of_events(shared_data: Path, name: str, events: int) -> None:
    path = str(shared_data / "cms" / name)
    assert inspect_file(path, DATA).entries == events
    opened = open_events(path, DATA)
    assert len(opened) == events
    assert np.isfinite(ak.to_numpy(ak.flatten(opened.Muon.pt))).all()


def test_a_range_of_entries_is_the_same_as_a_slice(shared_data: Path) -> None:
    path = str(shared_data / "cms" / "Run2012B_SingleMu_1000.root")
    part = open_events(path, DATA, 100, 250)
    assert len(part) == 150
    assert ak.all(part.event == open_events(path, DATA).event[100:250])
    assert event_numbers(part)["entry"].tolist() == list(range(100, 250))


def test_events_without_numbers_are_read_and_marked(shared_data: Path) -> None:
    events = open_events(str(shared_data / "cms" / "dimuon_100k_flat.root"), DATA, 0, 5)
    assert event_numbers(events)["run"].tolist() == [-1] * 5
    partly = open_events(str(shared_data / "dirty" / "missing_luminosityBlock.root"), DATA)
    numbers = event_numbers(partly)
    assert (numbers["luminosity_block"] == -1).all()
    assert (numbers["event"] > 0).all()


def test_flat_columns_from_all_formats_are_the_same(tmp_path: Path) -> None:
    columns = {"mass": np.array([1.5, 2.5, 3.5]), "w": np.array([2.0, -2.0, 2.0]), "total": np.full(3, 7.0)}
    frame = pd.DataFrame(columns)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    write_tree(tmp_path / "a.root", **columns)
    for suffix in ("csv", "parquet", "root"):
        path = str(tmp_path / f"a.{suffix}")
        facts = inspect_file(path, FLAT)
        assert (facts.entries, facts.sum_weights) == (3, 7.0)
        events = open_events(path, FLAT, 1, 3)
        assert ak.to_list(events.mass) == [2.5, 3.5]
        assert generator_weights(events).tolist() == [-2.0, 2.0]


def test_sum_of_weights_comes_from_the_runs_tree(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file["Events"] = {"genWeight": np.ones(4, dtype=np.float32)}
        file["Runs"] = {"genEventSumw": np.array([10.0, 5.0]), "genEventCount": np.array([10, 5])}
    facts = inspect_file(str(tmp_path / "a.root"), NANOAOD)
    assert (facts.entries, facts.sum_weights, facts.generated_events) == (4, 15.0, 15)


def test_missing_file() -> None:
    with pytest.raises(InputFileError, match=r"absent\.root: no such file\. Check the path"):
        inspect_file("absent.root", NANOAOD)
    with pytest.raises(InputFileError, match=r"absent\.csv: no such file"):
        inspect_file("absent.csv", FLAT)


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.95])
def test_truncated_file(shared_data: Path, tmp_path: Path, keep: float) -> None:
    whole = (shared_data / "cms" / "Run2012B_SingleMu_1000.root").read_bytes()
    path = tmp_path / "cut.root"
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(InputFileError, match=r"cut\.root: .*Download it again|cut\.root: .*whole"):
        inspect_file(str(path), DATA)


def test_corrupt_file(tmp_path: Path) -> None:
    path = tmp_path / "noise.root"
    path.write_bytes(b"this is no ROOT file" * 100)
    with pytest.raises(InputFileError, match=r"noise\.root: is truncated or corrupt .* compare its checksum"):
        inspect_file(str(path), DATA)
    (tmp_path / "noise.parquet").write_bytes(b"nor Parquet")
    with pytest.raises(InputFileError, match=r"noise\.parquet: is truncated or corrupt"):
        inspect_file(str(tmp_path / "noise.parquet"), FLAT)


def test_file_without_the_tree(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"bad_delphes\.root: has no 'Events'\. Check"):
        inspect_file(str(shared_data / "dirty" / "bad_delphes.root"), DATA)
    with uproot.recreate(tmp_path / "hist.root") as file:
        file["Events"] = np.histogram([1.0])
    with pytest.raises(InputFileError, match="is not a tree"):
        inspect_file(str(tmp_path / "hist.root"), DATA)


def test_empty_tree_is_an_error_unless_allowed(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "empty.root", mass=np.array([], dtype=np.float64))
    with pytest.raises(
        InputFileError, match=r"empty\.root: the tree 'Events' is empty\. Remove the file .*allow_empty"
    ):
        inspect_file(str(path), DATA)
    allowed = DATA.model_copy(update={"allow_empty": True})
    assert inspect_file(str(path), allowed).entries == 0


def test_missing_branch_names_file_and_branch(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", mass=np.ones(2))
    events = open_events(str(path), DatasetRecord(name="a", kind="data", format="flat", files=("x",)))
    with pytest.raises(InputFileError, match=r"a\.root: has no branches mtt, Jet_pt"):
        require_columns(events, ("mass", "mtt", "Jet.pt"))


def test_nan_weight_names_file_dataset_and_entry(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", w=np.array([1.0, np.nan, 1.0]), total=np.ones(3))
    with pytest.raises(InputValueError, match=r"a\.root \(dataset flat\): 1 of 3 weights in w .* the first in entry 1"):
        generator_weights(open_events(str(path), FLAT))


def test_sum_of_weights_must_be_one_number(tmp_path: Path) -> None:
    pd.DataFrame({"w": [1.0, 1.0], "total": [3.0, 4.0]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputValueError, match="column total is not one finite number"):
        inspect_file(str(tmp_path / "a.csv"), FLAT)


def test_text_in_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("w,total\n1,1\nmany,1\n")
    with pytest.raises(InputFileError, match=r"column w holds text"):
        inspect_file(str(tmp_path / "a.csv"), FLAT)
