"""The funnel keeps what plain masks over all events would have kept."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from darkop_dist.events.funnel import DROPPED, NONE_FAILED, Funnel


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 40))
def test_cuts_one_by_one_are_cuts_on_masks(seed: int, spare: bool, events: int) -> None:  # noqa: FBT001
    rng = np.random.default_rng(seed)
    masks = {name: rng.random(events) < 0.6 for name in "abcd"}
    values = rng.normal(size=events)
    funnel = Funnel(np.arange(events), spare=spare, keep_flow=True)
    failures = sum((~masks[name]).astype(int) for name in "ab") + np.zeros(events, int)
    first = np.where(~masks["a"], 0, np.where(~masks["b"], 1, NONE_FAILED)).astype(np.int8)
    failed = np.where(failures > int(spare), DROPPED, first).astype(np.int8)
    funnel.add(early=values)
    funnel.start("ab", first, failed)
    hopeless = ~masks["c"] & ~masks["d"]
    funnel.drop(funnel.of(hopeless))
    for name in "cd":
        funnel.cut(name, funnel.of(masks[name]))
        funnel.add(**{name: values[funnel.events]})
    passed = np.ones(events, bool)
    for name, mask in masks.items():
        passed &= mask
        assert funnel.flow[name].tolist() == np.flatnonzero(passed).tolist()
    assert funnel.events[funnel.passed()].tolist() == np.flatnonzero(passed).tolist()
    for name in ("early", "c", "d"):
        assert funnel.column(name).tolist() == values[funnel.events].tolist()
    inner = funnel.passing()
    assert inner.events.tolist() == np.flatnonzero(passed).tolist()
    assert inner.column("c").tolist() == values[passed].tolist()
    for but in "abcd" if spare else "":
        others = np.logical_and.reduce([mask for name, mask in masks.items() if name != but])
        assert funnel.events[funnel.passed(but=[but])].tolist() == np.flatnonzero(others).tolist()
