"""Compiled loops over events with lists of objects; each works on flat columns and the offsets of the lists.

numba compiles a loop once per machine and type of numbers and keeps the result beside this file, or in the user's cache
directory if that cannot be written. No loop reorders sums or contracts products: results are the same to the last bit
on every machine, and numbers of single precision stay so, as with numpy and awkward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Compile a loop when it is first called."""
    made: Loop = numba.njit(cache=True, nogil=True)(loop)
    return made


@compiled
def wrapped(angle: Any, pi: Any, period: Any) -> Any:
    """An azimuth in [-pi, pi), as numpy's ``(angle + pi) % period - pi``; all three of one precision."""
    x = angle + pi
    if x >= period:
        if x - period < period:
            return (x - period) - pi
    elif x >= pi - pi:
        return x - pi
    elif x > -period:
        return (x + period) - pi
    rest = np.fmod(x, period)
    return (rest + period) - pi if rest < pi - pi else rest - pi


@compiled
def drop_near(
    events: Any,
    kept: Any,
    offsets: Any,
    eta: Any,
    phi: Any,
    others_kept: Any,
    others_offsets: Any,
    others_eta: Any,
    others_phi: Any,
    squared_radius: Any,
    clearly_far: Any,
    pi: Any,
    period: Any,
) -> None:
    """Take the mark off objects that are not farther from every marked other object than a distance in (eta, phi).

    ``events`` are those that have other objects at all; ``clearly_far`` is a distance in eta alone beyond which no
    rounding can bring an object near.
    """
    for event in events:
        for other in range(others_offsets[event], others_offsets[event + 1]):
            if not others_kept[other]:
                continue
            for one in range(offsets[event], offsets[event + 1]):
                deta = eta[one] - others_eta[other]
                if deta > clearly_far or -deta > clearly_far:
                    continue
                dphi = wrapped(phi[one] - others_phi[other], pi, period)
                kept[one] &= deta * deta + dphi * dphi > squared_radius


@compiled
def count_kept(kept: Any, offsets: Any, counts: Any) -> None:
    """Number of marked objects per event."""
    for event in range(len(offsets) - 1):
        number = 0
        for one in range(offsets[event], offsets[event + 1]):
            number += kept[one]
        counts[event] = number


@compiled
def first_kept(kept: Any, offsets: Any, found: Any) -> None:
    """Positions of the first marked objects of each event in the order of the file; -1 where there are fewer."""
    for event in range(len(offsets) - 1):
        at = 0
        for one in range(offsets[event], offsets[event + 1]):
            if kept[one] and at < found.shape[1]:
                found[event, at] = one
                at += 1
        found[event, at:] = -1


@compiled
def sum_kept(kept: Any, offsets: Any, values: Any, zero: Any, sums: Any) -> None:
    """Sum of a value over the marked objects of each event, in the precision of ``zero``."""
    for event in range(len(offsets) - 1):
        total = zero
        for one in range(offsets[event], offsets[event + 1]):
            if kept[one]:
                total += values[one]
        sums[event] = total


@compiled
def sum_products(events: Any, kept: Any, offsets: Any, pt: Any, cos: Any, sin: Any, zero: Any, sums: Any) -> None:
    """Components of the vector sum of the marked objects of each event, in the precision of ``zero``."""
    for row in range(len(events)):
        event = events[row]
        along, across = zero, zero
        for one in range(offsets[event], offsets[event + 1]):
            if kept[one]:
                along += pt[one] * cos[one]
                across += pt[one] * sin[one]
        sums[0, row], sums[1, row] = along, across


@compiled
def sum_changed(
    events: Any, kept: Any, offsets: Any, pt: Any, cos: Any, sin: Any, zero: Any, own: Any, own_zero: Any, sums: Any
) -> None:
    """``sum_products`` for two momenta of the same objects, in their own precisions: rows 0 and 1, and 2 and 3."""
    for row in range(len(events)):
        event = events[row]
        along, across, own_along, own_across = zero, zero, own_zero, own_zero
        for one in range(offsets[event], offsets[event + 1]):
            if kept[one]:
                along += pt[one] * cos[one]
                across += pt[one] * sin[one]
                own_along += own[one] * cos[one]
                own_across += own[one] * sin[one]
        sums[0, row], sums[1, row] = along, across
        sums[2, row], sums[3, row] = own_along, own_across


@compiled
def sum_changes(events: Any, offsets: Any, pt: Any, own: Any, rounding: float, sums: Any) -> None:
    """How much two momenta of the same objects differ, in double precision and never too little, for each event."""
    for row in range(len(events)):
        event, total = events[row], 0.0
        for one in range(offsets[event], offsets[event + 1]):
            after, before = np.float64(pt[one]), np.float64(own[one])
            total += abs(after - before) + rounding * (abs(after) + abs(before))
        sums[row] = total


@compiled
def place_members(events: Any, offsets: Any, places: Any) -> None:
    """Positions of the objects of chosen events, one event after another."""
    at = 0
    for event in events:
        for one in range(offsets[event], offsets[event + 1]):
            places[at] = one
            at += 1


@compiled
def take_matched(index: Any, offsets: Any, values: Any, values_offsets: Any, own: Any, matched: Any) -> None:
    """For each object the value of its partner in another collection of the event, or its own value without one."""
    for event in range(len(offsets) - 1):
        first, last = values_offsets[event], values_offsets[event + 1]
        for one in range(offsets[event], offsets[event + 1]):
            partner = index[one]
            matched[one] = values[first + partner] if 0 <= partner < last - first else own[one]


@compiled
def take(values: Any, positions: Any, absent: float, taken: Any) -> None:
    """Values at positions; ``absent`` where the position is negative."""
    for at in range(len(positions)):
        position = positions[at]
        taken[at] = values[position] if position >= 0 else absent


@compiled
def _goes_before(one: Any, other: Any) -> bool:
    return not np.isnan(other) and (np.isnan(one) or one > other)


@compiled
def around(
    events: Any,
    offsets: Any,
    pt: Any,
    eta: Any,
    phi: Any,
    kept: Any,
    pt_min: Any,
    most: Any,
    direction: Any,
    hard: Any,
    found: Any,
) -> None:
    """Columns of ``darkop_dist.events.recoil.JetColumns`` in its order; ``hard`` is memory for positions.

    Jets of equal pT stay in the order of the file. A pT that is not a number comes first, as in awkward's argsort.
    """
    pi, period = np.pi, 2 * np.pi
    for row in range(len(events)):
        event, size, number, total = events[row], 0, 0, 0.0
        for one in range(offsets[event], offsets[event + 1]):
            if not kept[one]:
                continue
            if pt[one] > pt_min:
                number += 1
                total += pt[one]
            at = size
            while at > 0 and _goes_before(pt[one], pt[hard[at - 1]]):
                at -= 1
            if at == len(hard):
                continue
            size = min(size + 1, len(hard))
            for later in range(size - 1, at, -1):
                hard[later] = hard[later - 1]
            hard[at] = one
        least = np.inf
        for at in range(min(size, most)):
            one = hard[at]
            if pt[one] > pt_min:
                least = min(least, abs(wrapped(np.float64(phi[one]) - direction[row], pi, period)))
        found[0, row] = pi if least == np.inf else least
        found[1, row] = number
        found[2, row] = total
        found[3, row] = phi[hard[0]] if size > 0 else np.nan
        found[4, row] = pt[hard[1]] if size > 1 else np.nan
        found[5, row] = eta[hard[1]] if size > 1 else np.nan


@compiled
def cut_on_leading(
    events: Any,
    offsets: Any,
    pt: Any,
    eta: Any,
    kept: Any,
    low: Any,
    high: Any,
    tagged: Any,
    vetoed: Any,
    spared: Any,
    pt_min: Any,
    abs_eta_max: Any,
    low_min: Any,
    high_max: Any,
    tagged_pt_min: Any,
    first: Any,
    number_tagged: Any,
    first_failed: Any,
    failed: Any,
) -> None:
    """Cuts 0 to 7 of ``darkop_dist.events.recoil``, and nothing more for an event than it takes to drop it."""
    for row in range(len(events)):
        event, lead = events[row], -1
        for one in range(offsets[event], offsets[event + 1]):
            if kept[one] and (lead < 0 or _goes_before(pt[one], pt[lead])):
                lead = one
        first[row] = lead
        number, begin = 0, 127
        if lead < 0 or not pt[lead] > pt_min:
            number, begin = 1, 0
        if lead < 0 or not abs(eta[lead]) < abs_eta_max:
            number, begin = number + 1, min(begin, 1)
        if lead >= 0 and low[lead] <= low_min:
            number, begin = number + 1, min(begin, 2)
        if lead >= 0 and high[lead] >= high_max:
            number, begin = number + 1, min(begin, 3)
        if vetoed[event] > 0:
            first_failed[row], failed[row] = min(begin, 3 + vetoed[event]), -1
            continue
        if number > 1 or (number == 1 and not spared[event]):
            first_failed[row], failed[row] = begin, -1
            continue
        count = 0
        for one in range(offsets[event], offsets[event + 1]):
            count += tagged[one] & (pt[one] > tagged_pt_min)
        number_tagged[row] = count
        if count > 0:
            number, begin = number + 1, min(begin, 7)
        first_failed[row] = begin
        failed[row] = -1 if number > 1 or (number == 1 and not spared[event]) else begin
