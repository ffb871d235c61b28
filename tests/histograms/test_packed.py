"""Packed results: the identity, the same sums as objects give, and damage that is always seen."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, defaultdict
from functools import reduce
from typing import Any

import awkward as ak
import boost_histogram as bh
import hist
import numpy as np
import pandas as pd
import pytest
from coffea.processor import (
    accumulate,
    column_accumulator,
    defaultdict_accumulator,
    list_accumulator,
    set_accumulator,
    value_accumulator,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkop_dist.errors import InputFileError, MergeError, UnpackableError
from darkop_dist.histograms import Candidates, candidates_of, merge_outputs
from darkop_dist.histograms.packed import Packed, merge, pack, unpack

AXES = {
    "regular": hist.axis.Regular(3, 0.1, 0.7, name="x", label="$x$"),
    "circular": hist.axis.Regular(3, 0.1, 0.7, circular=True, metadata={"of": ["phi", 1.5, None]}),
    "log": hist.axis.Regular(3, 1, 700, transform=hist.axis.transform.log, name="x"),
    "sqrt": hist.axis.Regular(3, 1, 700, transform=hist.axis.transform.sqrt),
    "power": hist.axis.Regular(3, 1, 700, transform=hist.axis.transform.Pow(0.3)),
    "grown": hist.axis.Regular(3, 0.1, 0.7, growth=True),
    "no flow": hist.axis.Regular(3, 0.1, 0.7, flow=False),
    "no overflow": hist.axis.Regular(3, 0.1, 0.7, overflow=False),
    "variable": hist.axis.Variable([0, 0.1, 3.3, 1e300], name="v", label="é"),
    "variable, no underflow": hist.axis.Variable([0, 0.1, 3.3], underflow=False),
    "variable, circular": hist.axis.Variable([0, 0.1, 3.3], circular=True),
    "variable, grown": hist.axis.Variable([0, 0.1, 3.3], growth=True),
    "integer": hist.axis.Integer(-2, 3),
    "integer, no flow": hist.axis.Integer(-2, 3, flow=False),
    "integer, circular": hist.axis.Integer(-2, 3, circular=True),
    "boolean": hist.axis.Boolean(name="b"),
    "fixed names": hist.axis.StrCategory(["a", "b"], name="s"),
    "fixed names, no overflow": hist.axis.StrCategory(["a", "b"], overflow=False),
    "fixed numbers": hist.axis.IntCategory([7, -3], name="i"),
}
STORAGES = ("Double", "Int64", "AtomicInt64", "Weight", "Mean", "WeightedMean")
ODD = (0.0, -0.0, 1.0, -1.0, 0.1, 1e-310, 1e300, float("inf"), float("-inf"), float("nan"))


def same(one: Any, two: Any, *, mappings_alike: bool = False) -> bool:
    """Whether two values are the same in type, order, options and bits; of NaN there is one."""
    if isinstance(one, dict) and isinstance(two, dict):
        if not mappings_alike and (
            type(one) is not type(two) or getattr(one, "default_factory", 0) != getattr(two, "default_factory", 0)
        ):
            return False
        return list(one) == list(two) and all(same(one[key], two[key], mappings_alike=mappings_alike) for key in one)
    if type(one) is not type(two):
        return False
    if isinstance(one, hist.BaseHist):
        axes = zip(one.axes, two.axes, strict=True)
        return (
            one.__dict__ == two.__dict__
            and one.storage_type is two.storage_type
            and len(one.axes) == len(two.axes)
            and all(
                type(a) is type(b) and a == b and a.traits == b.traits and a.__dict__ == b.__dict__ for a, b in axes
            )
            and same_numbers(np.asarray(one.view(flow=True)), np.asarray(two.view(flow=True)))
        )
    if isinstance(one, (np.ndarray, np.generic)):
        return same_numbers(one, two)
    if isinstance(one, (float, complex)):
        return same_numbers(np.array(one), np.array(two))
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, (column_accumulator, value_accumulator)):
        return same(one.value, two.value)
    if isinstance(one, ak.Array):
        return one.to_list() == two.to_list() and one.type == two.type
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, two)
        return True
    if isinstance(one, Candidates):
        return one.most == two.most and one.table.equals(two.table)
    return bool(one == two)


def same_numbers(one: Any, two: Any) -> bool:
    """The same type, shape and bits, but for the bits of a NaN."""
    if one.dtype != two.dtype or one.shape != two.shape:
        return False
    if one.dtype.names:
        return all(same_numbers(one[name], two[name]) for name in one.dtype.names)
    if one.dtype.kind not in "fc":
        return one.tobytes() == two.tobytes()
    parts = ((one.real, two.real), (one.imag, two.imag)) if one.dtype.kind == "c" else ((one, two),)
    return all(
        np.array_equal(np.isnan(a), np.isnan(b))
        and np.where(np.isnan(a), 0, a).tobytes() == np.where(np.isnan(b), 0, b).tobytes()
        for a, b in parts
    )


def numbers(draw: st.DrawFn, count: int, dtype: Any = np.float64) -> np.ndarray:
    if np.dtype(dtype).kind in "fc":
        with np.errstate(all="ignore"):
            return np.array(draw(st.lists(st.sampled_from(ODD), min_size=count, max_size=count)), np.float64).astype(
                dtype
            )
    return np.array(draw(st.lists(st.integers(0, 100), min_size=count, max_size=count)), np.int64).astype(dtype)


def random_histogram(draw: st.DrawFn, storage: str, axis: str, *, whole: bool = False) -> hist.Hist:
    """Two growing categories in any order and one axis of numbers, with any content."""
    names = draw(st.permutations("abc"))[: draw(st.integers(0, 3))]
    codes = draw(st.permutations([5, -1]))[: draw(st.integers(0, 2))]
    histogram = hist.Hist(
        hist.axis.StrCategory(names, growth=True, name="dataset"),
        hist.axis.IntCategory(codes, growth=True, name="code"),
        AXES[axis],
        storage=getattr(hist.storage, storage)(),
        name="h", label="a histogram",
    )  # fmt: skip
    view = np.asarray(histogram.view(flow=True))
    fields = [view[name] for name in view.dtype.names] if view.dtype.names else [view]
    for array in fields:
        found = numbers(draw, array.size, np.int64 if whole else array.dtype)
        array[...] = np.abs(found.reshape(array.shape)) if "Mean" in storage else found.reshape(array.shape)
    return histogram


def random_candidates(draw: st.DrawFn) -> Candidates:
    count = draw(st.integers(0, 4))
    columns = {
        name: np.array([draw(st.integers(0, 2)) for _ in range(count)], np.int64)
        for name in ("run", "luminosity_block", "event")
    }
    columns["entry"] = np.array([draw(st.integers(0, 10**6)) for _ in range(count)], np.int64)
    scores = np.array([draw(st.sampled_from([0.0, 0.5, 1.0])) for _ in range(count)], np.float32)
    return candidates_of(
        dataset=draw(st.sampled_from("ab")), region="signal", file="f.root", splits=np.full(count, "check"), numbers=columns,
        scores=scores, weights=np.ones(count), observables={"mass": columns["entry"] / 7.0}, most=3,
    )  # fmt: skip


def a_float(draw: st.DrawFn) -> float:
    return draw(st.sampled_from(ODD))


def a_dict(draw: st.DrawFn, value: Any) -> dict[Any, Any]:
    keys = draw(st.permutations(["a", "b", 3, ("t", 1), None, True]))[: draw(st.integers(0, 4))]
    return {key: value(draw) for key in keys}


LEAVES: dict[str, Any] = {
    "float": a_float,
    "int": lambda draw: draw(st.integers(-(1 << 65), 1 << 65)),
    "small int": lambda draw: draw(st.integers(-9, 9)),
    "complex": lambda draw: complex(a_float(draw), a_float(draw)),
    "truth": lambda draw: draw(st.booleans()),
    "text": lambda draw: draw(st.text(max_size=3)),
    "np.float64": lambda draw: np.float64(a_float(draw)),
    "np.int64": lambda draw: np.int64(draw(st.integers(-9, 9))),
    "np.float32": lambda draw: np.float32(draw(st.sampled_from([-0.0, 0.1, 3.0]))),
    "doubles": lambda draw: numbers(draw, 6).reshape(2, 3),
    "halves": lambda draw: np.array([0.1, -0.0, draw(st.sampled_from([1.0, 2.0]))], np.float16),
    "bytes": lambda draw: numbers(draw, 3, np.uint8),
    "truths": lambda draw: numbers(draw, 3, np.int64) > 50,
    "list": lambda draw: [draw(st.sampled_from([1, "b", 0.1, None, (2, -0.0)])) for _ in range(draw(st.integers(0, 3)))],
    "tuple": lambda draw: tuple(draw(st.lists(st.integers(), max_size=2))),
    "set": lambda draw: set(draw(st.lists(st.sampled_from([1, "b", 2.5, ("c", 1)]), max_size=3))),
    "dict of floats": lambda draw: a_dict(draw, a_float),
    "ordered": lambda draw: OrderedDict(a_dict(draw, a_float)),
    "defaultdict": lambda draw: defaultdict(float, a_dict(draw, a_float)),
    "nested": lambda draw: a_dict(draw, lambda inner: a_dict(inner, a_float)),
    "candidates": random_candidates,
    "double histogram": lambda draw: random_histogram(draw, "Double", "regular"),
    "integer histogram": lambda draw: random_histogram(draw, "Int64", "boolean"),
    "atomic histogram": lambda draw: random_histogram(draw, "AtomicInt64", "variable"),
    "weight histogram": lambda draw: random_histogram(draw, "Weight", "variable"),
    "mean histogram": lambda draw: random_histogram(draw, "Mean", "no flow"),
    "weighted mean histogram": lambda draw: random_histogram(draw, "WeightedMean", "no flow"),
    "column": lambda draw: column_accumulator(numbers(draw, draw(st.integers(0, 3)))),
    "rows": lambda draw: column_accumulator(numbers(draw, 2 * draw(st.integers(0, 3))).reshape(-1, 2)),
    "names": lambda draw: column_accumulator(np.array(draw(st.lists(st.sampled_from(["a", "long"]), max_size=2)), "U4")),
    "awkward column": lambda draw: column_accumulator(ak.Array([[1.5], [], draw(st.lists(st.integers(0, 9), max_size=2))])[1:]),
    "awkward": lambda draw: ak.Array([[1.5, draw(st.integers(0, 5))], []]),
    "value": lambda draw: value_accumulator(float, a_float(draw)),
    "values": lambda draw: value_accumulator(list, [draw(st.integers(0, 5))]),
    "coffea list": lambda draw: list_accumulator([draw(st.integers(0, 5))]),
    "coffea set": lambda draw: set_accumulator({draw(st.integers(0, 5))}),
    "coffea counts": lambda draw: defaultdict_accumulator(int, a_dict(draw, lambda inner: inner(st.integers(0, 5)))),
    "coffea sums": lambda draw: defaultdict_accumulator(float, a_dict(draw, a_float)),
    "frame": lambda draw: pd.DataFrame({"a": [a_float(draw), 1.0], "n": [draw(st.integers(0, 5)), 2]}),
    "indexed frame": lambda draw: pd.DataFrame({"a": [1.0]}, index=pd.Index([draw(st.integers(0, 2))], name="run")),
}  # fmt: skip
"""One name for each kind of value that adds to its own kind."""
OURS_ONLY = {"candidates"}


@st.composite
def outputs(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(LEAVES), most: int = 4) -> list[dict[str, Any]]:
    """Results of one processor: some of its keys in any order, each with a value of one kind."""
    plan = {
        f"{kind} {number}": kind
        for number, kind in enumerate(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4)))
    }
    found = []
    for _ in range(draw(st.integers(1, most))):
        keys = draw(st.permutations(list(plan)))[: draw(st.integers(0, len(plan)))]
        found.append({key: LEAVES[plan[key]](draw) for key in keys})
    return found


SLOW = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
MERGED_BY_US = tuple(
    kind for kind in LEAVES
    if "coffea" not in kind and kind not in ("set", "defaultdict", "ordered", "value", "values")
)  # fmt: skip
COUNTS = ("small int", "np.int64", "bytes", "integer histogram", "atomic histogram", "candidates", "set", "truths")


def again(packed: Packed) -> Packed:
    return Packed.from_bytes(packed.to_bytes())


def merged(parts: list[Any], batch_bytes: int = 1 << 20) -> Any:
    total = merge((again(pack(part)) for part in parts), batch_bytes=batch_bytes)
    assert total is not None
    return unpack(again(total))


@SLOW
@given(outputs(most=1))
def test_packing_is_the_identity(found: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(found[0])
    packed = pack(found[0])
    assert same(unpack(again(packed)), before)
    assert same(found[0], before)
    assert again(packed).to_bytes() == packed.to_bytes()
    assert same(unpack(pickle.loads(pickle.dumps(packed))), before)  # noqa: S301  # made here


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("axis", AXES)
@settings(max_examples=3, deadline=None)
@given(st.data())
def test_histograms_come_back_equal(storage: str, axis: str, data: st.DataObject) -> None:
    histogram = random_histogram(data.draw, storage, axis)
    histogram.metadata = {"of": ("x", 1.5, True)}
    histogram.axes[0].metadata = [1, "two"]
    again_histogram = unpack(again(pack(histogram)))
    assert same(again_histogram, histogram)
    assert repr(again_histogram) == repr(histogram)


def test_axes_that_grew_and_edges_in_the_last_bit() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        low = rng.normal() * 10.0 ** rng.integers(-3, 4)
        axis = hist.axis.Regular(int(rng.integers(1, 40)), low, low + rng.exponential(), growth=True)
        histogram = hist.Hist(axis, hist.axis.Integer(0, 3, growth=True))
        histogram.fill(rng.normal(low, 2, 20), rng.integers(-5, 9, 20))
        assert same(unpack(again(pack(histogram))), histogram)


def test_other_classes_of_histograms() -> None:
    for histogram in (bh.Histogram(bh.axis.Regular(2, 0, 1)), hist.NamedHist(hist.axis.Regular(2, 0, 1, name="x"))):
        found = unpack(again(pack(histogram)))
        assert type(found) is type(histogram)
        assert found == histogram
        assert found.__dict__ == histogram.__dict__


@SLOW
@given(outputs(MERGED_BY_US), st.sampled_from([0, 1 << 20]))
def test_merging_equals_merge_outputs(parts: list[dict[str, Any]], batch_bytes: int) -> None:
    with np.errstate(all="ignore"):
        expected = reduce(merge_outputs, copy.deepcopy(parts))
    assert same(merged(parts, batch_bytes), expected)


# Left out: candidates and lists (tests of their own), and what accumulate adds in place only from the third part on, which
# awkward arrays refuse and data frames answer with the rows of the first: here both are added as merge_outputs adds them.
NOT_COFFEAS = ("candidates", "coffea list", "awkward", "indexed frame")


@SLOW
@given(outputs(tuple(kind for kind in LEAVES if kind not in NOT_COFFEAS)), st.sampled_from([0, 1 << 20]))
def test_merging_equals_coffeas_accumulate(parts: list[dict[str, Any]], batch_bytes: int) -> None:
    with np.errstate(all="ignore"):
        expected = accumulate(copy.deepcopy(parts))
    assert same(merged(parts, batch_bytes), expected)


@SLOW
@given(outputs(COUNTS, most=5))
def test_counts_and_candidates_merge_the_same_in_any_tree(parts: list[dict[str, Any]]) -> None:
    packed = [pack(part) for part in parts]
    left = merge(packed)
    right = reduce(lambda late, early: merge([early, late]), reversed(packed))
    assert left is not None
    assert right is not None
    assert same(unpack(left), unpack(right))


@pytest.mark.parametrize("storage", STORAGES)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_histograms_merge_as_boost_histogram_adds(storage: str, data: st.DataObject) -> None:
    parts = [{"h": random_histogram(data.draw, storage, "integer")} for _ in range(data.draw(st.integers(2, 5)))]
    assert same(merged(parts), reduce(merge_outputs, copy.deepcopy(parts)))
    assert same(merged(parts), accumulate(copy.deepcopy(parts)))


def test_coffeas_lists_add_where_accumulate_breaks() -> None:
    parts = [{"l": list_accumulator([number])} for number in range(4)]
    assert same(merged(parts[:2]), accumulate(parts[:2]))
    with pytest.raises(AttributeError):
        accumulate(parts)
    assert merged(parts) == {"l": [0, 1, 2, 3]}


def test_none_takes_the_others_value() -> None:
    parts = [
        {"a": None, "b": 1.0, "c": None},
        {"a": [1], "b": None, "c": None},
        {"a": None, "b": 2.0, "c": None},
        {"a": [2]},
    ]
    assert merged(parts) == reduce(merge_outputs, parts) == {"a": [1, 2], "b": 3.0, "c": None}


def test_no_parts_and_one_part() -> None:
    one = pack({"a": 1})
    assert merge([]) is None
    assert merge([one]) is one


def test_types_that_change_on_the_way_are_added_as_objects() -> None:
    parts = [
        {"n": 1, "a": np.ones(3, np.int64)},
        {"n": 0.5, "a": np.full(3, 0.5)},
        {"n": 2, "a": np.ones(1)},
        {"n": 1 << 70, "a": 1},
    ]
    expected = {"n": 1 + 0.5 + 2 + (1 << 70), "a": np.full(3, 3.5)}
    assert same(merged(parts), expected)
    assert merged([{"n": 1 << 61}] * 9) == {"n": 9 << 61}


def test_parts_are_not_changed_and_read_one_at_a_time() -> None:
    parts = [pack({"a": np.ones(3), "n": {"x": number}}) for number in range(4)]
    before = [part.to_bytes() for part in parts]
    held = []

    def lazily() -> Any:
        for part in parts:
            held.append(len(held))
            yield part

    merge(lazily())
    assert [part.to_bytes() for part in parts] == before


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"a": {"f": lambda: 0}}, r"output\['a'\]\['f'\]: a value of type builtins.function cannot be kept in a file. Accepted are dicts"),
        ({"a": [1, object()]}, r"output\['a'\]\[1\]: a value of type builtins.object"),
        ({"a": defaultdict_accumulator(lambda: 5)}, r"output\['a'\]: a default factory .*lambda.* or return dict\(value\)"),
        ({frozenset(): 1}, r"output: a key of type builtins.frozenset"),
        ({"a": np.array([None])}, r"a numpy array of dtype object"),
        ({"h": hist.Hist(hist.axis.Regular(2, 0, 1, metadata=object()))}, r"output\['h'\]: a hist.Hist with metadata of type builtins.object"),
        ({"h": hist.Hist(hist.axis.Regular(2, 0, 1), storage=hist.storage.Unlimited())}, r"storage Unlimited .* storages Double, Int64"),
    ],
)  # fmt: skip
def test_what_only_pickle_could_write_is_refused_by_name(output: Any, message: str) -> None:
    with pytest.raises(UnpackableError, match=message):
        pack(output)


def test_frames_with_categories_come_back() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["x", "y", "x"]), "t": ["long", None, ""]}, index=[3, 1, 2])
    assert same(unpack(again(pack({"f": frame}))), {"f": frame})
    with pytest.raises(UnpackableError, match=r"output\['f'\]: a data frame"):
        pack({"f": pd.DataFrame({"a": [1, "mixed", object()]})})


def test_results_that_do_not_add_are_refused_by_name() -> None:
    one, two = ({"h": {"x": hist.Hist(hist.axis.Regular(bins, 0, 1))}} for bins in (2, 3))
    with pytest.raises(
        MergeError, match=r"output\['h'\]\['x'\]: two chunks .*hist.hist.Hist and hist.hist.Hist: axes not mergable"
    ):
        merge([pack(one), pack(two)])
    with pytest.raises(MergeError, match=r"output\['h'\]: .* dict and list"):
        merge([pack({"h": {}}), pack({"h": [1]})])


@pytest.fixture(scope="module")
def sound() -> bytes:
    histogram = hist.Hist(
        hist.axis.StrCategory(["a"], growth=True), hist.axis.Regular(3, 0, 1), storage=hist.storage.Weight()
    )
    histogram.fill("a", np.linspace(0, 1, 9), weight=0.1)
    return pack({"h": histogram, "n": 3, "t": ["x", 1.5], "cut": {"all": np.ones(2)}}).to_bytes()


def test_a_cut_anywhere_is_seen(sound: bytes) -> None:
    for length in range(len(sound)):
        with pytest.raises(InputFileError, match=r"chunk-1: (is cut|is not a packed|is damaged)"):
            Packed.from_bytes(sound[:length], "chunk-1")
    with pytest.raises(InputFileError, match="is cut or damaged"):
        Packed.from_bytes(sound + b"\0", "chunk-1")


def test_a_flipped_bit_anywhere_is_seen(sound: bytes) -> None:
    for place in range(len(sound)):
        for bit in range(8):
            damaged = bytearray(sound)
            damaged[place] ^= 1 << bit
            with pytest.raises(InputFileError, match=r"chunk-1: .*(damaged|version)"):
                Packed.from_bytes(bytes(damaged), "chunk-1")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_other_damage_is_seen(sound: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(sound) - 1))
    stop = data.draw(st.integers(start + 1, len(sound)))
    junk = data.draw(st.binary(max_size=stop - start + 4))
    damaged = sound[:start] + junk + sound[stop:]
    if damaged != sound:
        with pytest.raises(InputFileError):
            Packed.from_bytes(damaged)
