from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.errors import OutputError
from darkop_dist.generation import GeneratedSample
from darkop_dist.generation.nanoaod import (
    COLLECTIONS,
    PER_EVENT,
    RUNS,
    NanoAODFile,
    read_normalisation,
    require_writable,
)


def test_coffea_opens_the_file_and_reads_every_column(
    samples: dict[str, GeneratedSample], open_with_coffea: Callable[[Path], Any]
) -> None:
    for sample in samples.values():
        events = open_with_coffea(sample.file)
        assert len(events) == 300
        for collection, columns in COLLECTIONS.items():
            objects = events[collection]
            if collection != "GenPart":  # in the order of the generator
                assert ak.all(objects.pt[:, :-1] >= objects.pt[:, 1:]), collection
            for column, kind in columns.items():
                values = ak.to_numpy(ak.flatten(ak.materialize(objects[column])))
                assert values.dtype == np.dtype(kind), f"{collection}_{column}"
                assert np.isfinite(values.astype(np.float64)).all(), f"{collection}_{column}"
        assert float(ak.min(events.Jet.pt)) > 15
        assert float(ak.max(abs(events.Jet.phi))) <= np.float32(np.pi)
        assert ak.all(events.Jet.genJetIdx < ak.num(events.GenJet))
        assert ak.all(events.MET.pt == events.PuppiMET.pt)
        assert ak.all(events.MET.sumEt == events.PuppiMET.sumEt)
        assert ak.all(events.MET.sumEt > ak.sum(events.Muon.pt, axis=1))


def test_the_branches_are_named_as_in_nanoaod(z_file: Path) -> None:
    with uproot.open(z_file) as file:
        branches = file["Events"].keys()
        counters = {f"n{collection}" for collection in COLLECTIONS}
        expected = counters | set(PER_EVENT) | {f"{c}_{name}" for c, names in COLLECTIONS.items() for name in names}
        assert set(branches) == expected
        assert set(file["Runs"].keys()) == set(RUNS)
        jets = file["Events"].arrays(["nJet", "Jet_pt"])
        assert ak.all(jets.nJet == ak.num(jets.Jet_pt))


def test_every_event_has_a_number_of_its_own(z_file: Path) -> None:
    with uproot.open(z_file) as file:
        numbers = file["Events"].arrays(["run", "event"], library="np")
    assert set(numbers["run"]) == {1}
    assert numbers["event"].tolist() == list(range(1, 301))


def test_the_normalisation_comes_back(samples: dict[str, GeneratedSample]) -> None:
    for sample in samples.values():
        found = read_normalisation(sample.file)
        assert (found.events, found.sum_weights) == (sample.events, sample.sum_weights) == (300, 300.0)
        assert (found.xsec_pb, found.xsec_error_pb) == (sample.xsec_pb, sample.xsec_error_pb)


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with NanoAODFile(tmp_path / "events.root"):
            assert list(tmp_path.iterdir())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"events\.txt: the output is a ROOT file"):
        require_writable(tmp_path / "events.txt", overwrite=False)
    (tmp_path / "there.root").touch()
    with pytest.raises(OutputError, match=r"there\.root: exists already"):
        require_writable(tmp_path / "there.root", overwrite=False)
    require_writable(tmp_path / "there.root", overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        require_writable(tmp_path / "there.root" / "events.root", overwrite=False)
