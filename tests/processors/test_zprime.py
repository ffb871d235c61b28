"""The Z' processor: events are found again in the rows, and the real numbers come out."""

from pathlib import Path
from types import ModuleType

import awkward as ak
import numpy as np
import pytest
from coffea.processor import ProcessorABC

from darkop_dist.config import DatasetRecord, WeightColumns
from darkop_dist.events.read import open_events
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.split import SplitRule
from darkop_dist.execution import DatasetFiles, Task, execute, plan_chunks
from darkop_dist.stages.search import load_module

NO_SPLIT = SplitRule(seed=1, train_fraction=0.0, train_datasets=(), check_fraction=0.5)


@pytest.fixture(scope="module")
def zprime(repository: Path) -> ModuleType:
    return load_module(repository / "processors" / "zprime.py")


def processor_of(zprime: ModuleType, candidate: str) -> ProcessorABC:
    parameters = zprime.ZPrimeParameters(mtt_bins=tuple(np.linspace(0, 3000, 51)), candidate=candidate)
    return zprime.ZPrime(SearchSettings(parameters, (), None, NO_SPLIT, 10))


def test_first_row_of_each_event(zprime: ModuleType) -> None:
    rows = ak.Array({"mu_pt": [60.0, 60.0, 70.0, 60.0], "mu_abseta": [1.0, 1.0, 1.0, 1.0], "pileup": [3, 3, 3, 3]})
    assert zprime.first_of_event(rows).tolist() == [True, False, True, True]
    assert zprime.first_of_event(rows[:0]).tolist() == []


@pytest.mark.parametrize(
    ("pattern", "name", "rows", "events", "sum_weights"),
    [
        # Rows and sums of generated weights as the authors of the data give them: the N_gen of their lessons.
        ("collision", "data", 5494, 3085, None),
        ("Wjets", "w-jets", 19, 14, 20521145.0),
        ("signal_M2000", "zprime", 48238, 28496, 527218.0),
        ("tthadronic", "tt-hadronic", 817, 462, 100522516.0),
    ],
)
def test_real_samples(
    zprime: ModuleType,
    shared_data: Path,
    tmp_path: Path,
    pattern: str,
    name: str,
    rows: int,
    events: int,
    sum_weights: float | None,
) -> None:
    from darkop_dist.catalogue.files import resolve_files

    weights = WeightColumns(weight="weight", use="sign", sum_weights="N_gen") if sum_weights else None
    uri = f"tar://processed_files/OUTPUT_{pattern}*.csv::{shared_data}/zprime/processed_files.tgz"
    kind = "simulation" if sum_weights else "data"
    record = DatasetRecord(name=name, kind=kind, format="flat", weights=weights, allow_empty=True, files=(uri,))
    paths = tuple(str(file.path_or_url) for file in resolve_files(record, tmp_path, tmp_path / "cache"))
    plan = plan_chunks([DatasetFiles(record, paths)], chunk_events=100, whole_files=True)
    result = execute([Task(chunk, record, 0, None) for chunk in plan], processor_of(zprime, "first"))
    cutflow = result.output["cutflow"][name]["signal"]
    assert cutflow["candidates read"][0] == rows
    assert cutflow["first candidate of the event"][0] == events
    closure = result.ledger.closure()[0]
    assert (closure.processed, closure.closed) == (rows, True)
    assert closure.sum_weights == (pytest.approx(sum_weights, rel=1e-12) if sum_weights else None)


def test_templates_of_the_authors(zprime: ModuleType, shared_data: Path, tmp_path: Path) -> None:
    """All rows of the signal, binned as the authors' template, which carries pile-up and muon weights besides.

    Those weights average to one within a few per cent, so bins with many rows agree within ten.
    """
    import uproot

    from darkop_dist.catalogue.files import resolve_files

    weights = WeightColumns(weight="weight", use="sign", sum_weights="N_gen")
    uri = f"tar://processed_files/OUTPUT_signal*.csv::{shared_data}/zprime/processed_files.tgz"
    record = DatasetRecord(
        name="zprime", kind="simulation", format="flat", weights=weights, allow_empty=True, files=(uri,)
    )
    paths = tuple(str(file.path_or_url) for file in resolve_files(record, tmp_path, tmp_path / "cache"))
    plan = plan_chunks([DatasetFiles(record, paths)], chunk_events=100, whole_files=True)
    result = execute([Task(chunk, record, 0, None) for chunk in plan], processor_of(zprime, "all"))
    ours = result.output["histograms"]["mtt"].values()[0, 0, 0] * 1.0 * 16400 / 527218.0  # 1 pb, 16.4/fb
    with uproot.open(shared_data / "zprime" / "Zprime_hists_FULL.root") as file:
        theirs = file["mtt__signal"].values()
    many = theirs > 20.0
    assert many.sum() > 15
    assert ours[many] == pytest.approx(theirs[many], rel=0.1)
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.05)


def test_whole_files_only(zprime: ModuleType) -> None:
    assert zprime.ZPrime.whole_files


def test_missing_column(zprime: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mtt,mu_pt\n900,60\n")
    record = DatasetRecord(name="a", kind="data", format="flat", files=("a.csv",))
    events = open_events(str(tmp_path / "a.csv"), record)
    with pytest.raises(Exception, match=r"a\.csv: has no branch mu_abseta"):
        processor_of(zprime, "all").process(events)
