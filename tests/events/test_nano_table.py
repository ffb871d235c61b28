"""Parquet in the layout of NanoAOD gives the objects of the ROOT file that it was made from."""

import json
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from darkop_dist.config import DatasetRecord
from darkop_dist.errors import DamagedFileError, InputFileError
from darkop_dist.events.nano_table import TREES, open_table
from darkop_dist.events.read import inspect_file, open_events

RECORD = DatasetRecord(name="mc", kind="simulation", files=("x",))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, write_nanoaod: Callable[..., Path]) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("both")
    root = write_nanoaod(folder / "a.root", 1000)
    with uproot.open(root) as file:
        arrays = file["Events"].arrays(library="ak", how=dict)
    columns = {name: ak.to_arrow(ak.to_packed(array), extensionarray=False) for name, array in arrays.items()}
    runs = {"genEventSumw": {"type": "float64", "group": None, "values": [0.1, 0.2]}}
    runs["genEventCount"] = {"type": "int64", "group": None, "values": [3, 4]}
    table = pa.table(columns).replace_schema_metadata({TREES: json.dumps({"Runs": runs})})
    pq.write_table(table, folder / "a.parquet", row_group_size=300)
    return root, folder / "a.parquet"


@pytest.mark.parametrize(("start", "stop"), [(0, 1000), (250, 650), (300, 600), (999, 1000), (400, 400)])
def test_events_are_those_of_the_tree(both: tuple[Path, Path], start: int, stop: int) -> None:
    first, second = (open_events(str(path), RECORD, start, stop) for path in both)
    assert len(first) == len(second) == stop - start
    for name in ("Jet", "Muon", "Tau"):
        assert set(first[name].fields) == set(second[name].fields)
        for field in first[name].fields:
            assert ak.array_equal(first[name][field], second[name][field], check_parameters=False), (name, field)
    assert ak.array_equal(first.MET.pt, second.MET.pt, check_parameters=False)


def test_only_what_is_touched_is_read(both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = type(open_table(str(both[1]))).read

    def noted(self: object, names: list[str], start: int, stop: int) -> object:
        read.extend(names)
        return original(self, names, start, stop)

    monkeypatch.setattr("darkop_dist.events.nano_table.NanoTable.read", noted)
    events = open_events(str(both[1]), RECORD)
    assert ak.sum(events.Jet.pt) > 0
    assert set(read) == {"nJet", "Jet_pt"}


def test_sums_of_weights_stand_in_the_metadata(both: tuple[Path, Path]) -> None:
    facts = inspect_file(str(both[1]), RECORD)
    assert (facts.entries, facts.sum_weights, facts.generated_events) == (1000, 0.1 + 0.2, 7)
    data = RECORD.model_copy(update={"kind": "data"})
    assert inspect_file(str(both[1]), data).sum_weights is None


def test_a_damaged_file_is_named(both: tuple[Path, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(both[1].read_bytes()[:5000])
    with pytest.raises(DamagedFileError, match=r"cut.parquet: is truncated or corrupt"):
        inspect_file(str(cut), RECORD)
    with pytest.raises(InputFileError, match="no such file"):
        inspect_file(str(tmp_path / "absent.parquet"), RECORD)
