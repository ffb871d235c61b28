"""Workers retire before their job ends, whatever the walltime."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.execution.sites.lifetime import clock, lifetime_of

DAY = 86_400


@pytest.mark.parametrize(
    ("walltime", "margin", "lifetime", "stagger"),
    [
        (60, None, 43, 2),  # a quarter of the walltime is the margin
        (3600, None, 3249, 171),  # three minutes: a twentieth
        (7200, None, 6498, 342),
        (2 * DAY, None, 2 * DAY - 600 - 600, 600),  # both margins have an end
        (7200, 1800, 5130, 270),  # the user's own margin
    ],
)
def test_known_walltimes(walltime: int, margin: int | None, lifetime: int, stagger: int) -> None:
    found = lifetime_of(walltime, margin)
    assert (found.walltime_s, found.lifetime_s, found.stagger_s) == (walltime, lifetime, stagger)


@given(st.integers(2, 30 * DAY), st.data())
def test_no_worker_outlives_its_job(walltime: int, data: st.DataObject) -> None:
    margin = data.draw(st.none() | st.integers(1, walltime - 1))
    found = lifetime_of(walltime, margin)
    assert found.lifetime_s >= 1
    assert 0 <= found.stagger_s < found.lifetime_s
    latest = found.lifetime_s + found.stagger_s
    assert latest <= walltime - (margin or 0)
    if margin is None and walltime >= 240:
        assert latest <= walltime - 60
        assert found.lifetime_s - found.stagger_s >= walltime / 2  # and not much of the job is wasted


@given(st.integers(0, 100 * DAY))
def test_clock_is_read_back(seconds: int) -> None:
    hours, minutes, rest = map(int, clock(seconds).split(":"))
    assert (hours * 60 + minutes) * 60 + rest == seconds
    hours, minutes = map(int, clock(seconds, with_seconds=False).split(":"))
    assert 0 <= (hours * 60 + minutes) * 60 - seconds < 60
