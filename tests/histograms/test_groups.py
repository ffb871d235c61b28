"""Scores by file and by run: exact sums in any order, bounded size, and the file."""

from __future__ import annotations

from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkop_dist.errors import InputFileError
from darkop_dist.histograms.groups import (
    COARSE_BINS,
    MOST_GROUPS,
    POOLED,
    ScoreGroups,
    coarse_counts,
    groups_of,
    load_groups,
    no_groups,
    save_groups,
)
from darkop_dist.histograms.packed import merge, pack, unpack


def part(file: str, runs: list[int], dataset: str = "data") -> ScoreGroups:
    places = np.arange(len(runs)) % 202
    return groups_of(dataset=dataset, region="signal", split="check", file=file, runs=np.array(runs, np.int64),
                     places=places, bins=202)  # fmt: skip


def test_counts_by_hand() -> None:
    total = part("a.root", [5, 5, 7]) + part("b.root", [7, -1]) + part("a.root", [9], dataset="mc")
    runs = total.counts("run", "data", "signal", ["check"])
    assert {name: int(counts.sum()) for name, counts in runs.items()} == {"000005": 2, "000007": 2}
    files = total.counts("file", "data", "signal", ["check", "calibrate"])
    assert {name: int(counts.sum()) for name, counts in files.items()} == {"a.root": 3, "b.root": 2}
    assert total.counts("file", "data", "signal", ["calibrate"]) == {}
    assert total.counts("file", "data", "control", ["check"]) == {}


def test_coarse_bins_hold_all_events_once_and_in_order() -> None:
    fine = np.random.default_rng(1).integers(0, 9, 202)
    coarse = coarse_counts(fine)
    assert coarse.shape == (COARSE_BINS,)
    assert coarse.sum() == fine.sum()
    assert coarse[0] == fine[:9].sum()  # 202 bins in 24: the first holds ceil(202 / 24)
    assert coarse_counts([3, 1, 4]).tolist() == [3, 1, 4]


NAMES = st.lists(st.text("ab1", min_size=1, max_size=9), min_size=1, max_size=40)


@settings(max_examples=60)
@given(names=NAMES, order=st.randoms(use_true_random=False), most=st.integers(1, 6))
def test_sums_do_not_depend_on_order(names: list[str], order: object, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("darkop_dist.histograms.groups.MOST_GROUPS", most)
        parts = [part(name, [len(name)] * (1 + place % 3)) for place, name in enumerate(names)]
        expected = reduce(add, parts, no_groups())
        order.shuffle(parts)  # type: ignore[attr-defined]
        half = len(parts) // 2
        found = reduce(add, parts[:half], no_groups()) + reduce(add, parts[half:], no_groups())
    assert found.table.equals(expected.table)
    assert len(found.counts("file", "data", "signal", ["check"])) <= most
    assert sum(counts.sum() for counts in found.counts("file", "data", "signal", ["check"]).values()) == sum(
        1 + place % 3 for place in range(len(names))
    )


def test_many_runs_are_pooled_by_neighbourhood() -> None:
    total = reduce(add, [part(f"nano_{run}.root", [run] * 3) for run in range(278_000, 278_000 + 2 * MOST_GROUPS)])
    runs = total.counts("run", "data", "signal", ["check"])
    assert list(runs)[:2] == [f"27800{POOLED}", f"27801{POOLED}"]
    assert {int(counts.sum()) for counts in runs.values()} == {30}
    assert len(runs) == 2 * MOST_GROUPS // 10


def test_packed_results_merge_alike() -> None:
    parts = [part(f"{n}.root", [n, n + 1]) for n in range(5)]
    merged = merge(pack({"score_groups": one}) for one in [no_groups(), *parts])
    assert merged is not None
    assert unpack(merged)["score_groups"].table.equals(reduce(add, parts).table)


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "groups.parquet"
    save_groups(path, part("a.root", [5, 7]))
    assert load_groups(path).table.equals(part("a.root", [5, 7]).table)
    path.write_text("no parquet")
    with pytest.raises(InputFileError, match=r"groups\.parquet: is damaged"):
        load_groups(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InputFileError, match="has the columns a"):
        load_groups(path)
