"""Merging: exact for counts and candidates in any order."""

from pathlib import Path

import hist
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkop_dist.errors import InputFileError
from darkop_dist.histograms import (
    HistogramSet,
    Observable,
    OutputBuilder,
    candidates_of,
    load_candidates,
    load_histograms,
    merge_outputs,
    save_candidates,
    save_histograms,
    slice_of,
)

MASS = Observable("mass", (0.0, 1.0, 2.0), "$m$", "GeV")


def output_of(seed: int, dataset: str = "mc", events: int = 50) -> dict:
    rng = np.random.default_rng(seed)
    builder = OutputBuilder(dataset, [MASS], (0.0, 0.5, 1.0), most_candidates=5)
    builder.fill("mass", "signal", "nominal", rng.uniform(-1, 3, events), rng.choice([1.0, 2.0], events))
    scores = rng.choice(np.linspace(0, 1, 7), events).astype(np.float32)
    builder.count_scores("signal", "calibrate", scores)
    builder.cut("signal", "all", np.ones(events))
    builder.note("something", events)
    numbers = {name: rng.integers(0, 5, events) for name in ("run", "luminosity_block", "event")}
    numbers["entry"] = np.arange(events) + 1000 * seed
    found = candidates_of(
        dataset=dataset, region="signal", file="a.root", numbers=numbers, splits=np.full(events, "check"), scores=scores, weights=np.ones(events),
        observables={"mass": rng.uniform(0, 2, events)}, most=5,
    )  # fmt: skip
    builder.keep(found)
    return builder.output()


def equal(first: dict, second: dict) -> bool:
    def ordered(output: dict) -> list:
        keys = [(name, "ascending") for name in ("dataset", "score", "entry")]
        return output["candidates"].table.sort_by(keys).to_pylist()

    def content(histogram: hist.Hist) -> dict:
        axis = histogram.axes[0]
        return {name: histogram.view(flow=True)[axis.index(name)].tolist() for name in axis}

    return (
        ordered(first) == ordered(second)
        and content(first["score_counts"]) == content(second["score_counts"])
        and content(first["histograms"]["mass"]) == content(second["histograms"]["mass"])
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=3, max_size=3))
def test_merge_is_associative_and_commutative(names: list[str]) -> None:
    # The weights are small integers, so that sums of weights are exact as well.
    one, two, three = (output_of(seed, name) for seed, name in enumerate(names))
    left = merge_outputs(merge_outputs(one, two), three)
    right = merge_outputs(one, merge_outputs(two, three))
    assert equal(left, right)
    assert equal(merge_outputs(one, two), merge_outputs(two, one))


def test_candidates_are_the_highest_scores_of_all() -> None:
    parts = [output_of(seed) for seed in range(4)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merge_outputs(merged, part)
    kept = merged["candidates"].table["score"].to_pylist()
    assert len(kept) == 5
    every = np.concatenate([part["candidates"].table["score"].to_numpy() for part in parts])
    assert sorted(kept) == sorted(np.sort(every)[-5:].tolist())


def test_cutflow_and_notes_add() -> None:
    merged = merge_outputs(output_of(1), output_of(2))
    assert merged["cutflow"]["mc"]["signal"]["all"].tolist() == [100.0, 100.0]
    assert merged["notes"]["mc"]["something"] == 100


def test_slices_keep_the_flow_bins() -> None:
    values, variances = slice_of(output_of(1)["histograms"]["mass"], "mc", "signal")
    assert values.shape == variances.shape == (4,)
    assert values[0] > 0
    assert values[-1] > 0
    assert slice_of(output_of(1)["histograms"]["mass"], "mc", "elsewhere") is None


def test_save_and_load_are_the_identity(tmp_path: Path) -> None:
    output = merge_outputs(output_of(1, "a"), output_of(2, "b"))
    saved = HistogramSet(output["histograms"], output["score_counts"], "f" * 64, "digest")
    save_histograms(tmp_path / "h.json", saved)
    loaded = load_histograms(tmp_path / "h.json")
    assert loaded.histograms["mass"] == saved.histograms["mass"]
    assert loaded.score_counts == saved.score_counts
    assert loaded.score_counts.view().dtype == np.int64
    assert (loaded.fingerprint, loaded.ledger_digest) == ("f" * 64, "digest")
    save_candidates(tmp_path / "c.parquet", output["candidates"].table)
    assert load_candidates(tmp_path / "c.parquet").equals(output["candidates"].table)


def test_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "h.json").write_text('{"schema": "darkop.histograms/1", "fingerprint": null')
    with pytest.raises(InputFileError, match=r"h\.json: cannot be read as JSON"):
        load_histograms(tmp_path / "h.json")
