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
def members(offsets: Any, event: Any) -> Any:
    """Positions of the objects of an event; unsigned, as numba would look at each whether it counts from the end."""
    return range(np.uint64(offsets[event]), np.uint64(offsets[event + 1]))


@compiled
def wrapped(angle: Any, pi: Any, period: Any) -> Any:
    """An azimuth in [-pi, pi), as numpy's ``(angle + pi) % period - pi``; all three of one precision.

    Within three half turns there is no branch that depends on the angle: a branch that goes either way costs more than
    the whole computation.
    """
    none = pi - pi
    x = angle + pi
    turned = x + (period if x < none else (-period if x >= period else none))
    if turned >= none and turned < period:
        return turned - pi
    if x > -period and x < none:
        return (x + period) - pi
    rest = np.fmod(x, period)
    return (rest + period) - pi if rest < none else rest - pi


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
    pi: Any,
    period: Any,
    wraps_once: Any,
) -> None:
    """Take the mark off objects that are not farther from every marked other object than a distance in (eta, phi).

    ``events`` are those that have other objects at all. Where azimuths are known to wrap at most once, ``wrapped`` is
    written out without branches, which takes half the time.
    """
    none = pi - pi
    for event in events:
        for other in members(others_offsets, event):
            if not others_kept[other]:
                continue
            other_eta, other_phi = others_eta[other], others_phi[other]
            if wraps_once:
                for one in members(offsets, event):
                    deta, x = eta[one] - other_eta, (phi[one] - other_phi) + pi
                    dphi = (x + (period if x < none else (-period if x >= period else none))) - pi
                    kept[one] = kept[one] & (deta * deta + dphi * dphi > squared_radius)
            else:
                for one in members(offsets, event):
                    deta, dphi = eta[one] - other_eta, wrapped(phi[one] - other_phi, pi, period)
                    kept[one] = kept[one] & (deta * deta + dphi * dphi > squared_radius)


@compiled
def count_kept(kept: Any, offsets: Any, counts: Any) -> None:
    """Number of marked objects per event."""
    seen = np.empty(len(kept) + 1, np.int64)
    seen[0] = 0
    for one in range(len(kept)):
        seen[one + 1] = seen[one] + kept[one]
    for event in range(len(offsets) - 1):
        counts[event] = seen[offsets[event + 1]] - seen[offsets[event]]


@compiled
def first_kept(events: Any, kept: Any, offsets: Any, found: Any) -> None:
    """Positions of the first marked objects of chosen events in the order of the file; -1 where there are fewer."""
    for row in range(len(events)):
        event, at = events[row], 0
        for one in members(offsets, event):
            if kept[one] and at < found.shape[1]:
                found[row, at] = one
                at += 1
        found[row, at:] = -1


@compiled
def sum_kept(events: Any, kept: Any, offsets: Any, values: Any, zero: Any, sums: Any) -> None:
    """Sum of a value over the marked objects of chosen events, in the precision of ``zero``."""
    for row in range(len(events)):
        event, total = events[row], zero
        for one in members(offsets, event):
            if kept[one]:
                total += values[one]
        sums[row] = total


@compiled
def sum_products(events: Any, kept: Any, offsets: Any, pt: Any, cos: Any, sin: Any, zero: Any, sums: Any) -> None:
    """Components of the vector sum of the marked objects of each event, in the precision of ``zero``."""
    for row in range(len(events)):
        event = events[row]
        along, across = zero, zero
        for one in members(offsets, event):
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
        for one in members(offsets, event):
            if kept[one]:
                along += pt[one] * cos[one]
                across += pt[one] * sin[one]
                own_along += own[one] * cos[one]
                own_across += own[one] * sin[one]
        sums[0, row], sums[1, row] = along, across
        sums[2, row], sums[3, row] = own_along, own_across


@compiled
def sum_sizes(events: Any, offsets: Any, values: Any, sums: Any) -> None:
    """Sum of the absolute values of the objects of chosen events, in double precision."""
    for row in range(len(events)):
        total = 0.0
        for one in members(offsets, events[row]):
            total += abs(np.float64(values[one]))
        sums[row] = total


@compiled
def place_members(events: Any, offsets: Any, places: Any) -> None:
    """Positions of the objects of chosen events, one event after another."""
    at = 0
    for event in events:
        for one in members(offsets, event):
            places[at] = one
            at += 1


@compiled
def gather(values: Any, places: Any, gathered: Any) -> None:
    """Values at positions that are known to exist."""
    for at in range(len(places)):
        gathered[at] = values[np.uint64(places[at])]


@compiled
def take_matched(index: Any, offsets: Any, values: Any, values_offsets: Any, own: Any, matched: Any) -> None:
    """For each object the value of its partner in another collection of the event, or its own value without one."""
    for event in range(len(offsets) - 1):
        first, last = values_offsets[event], values_offsets[event + 1]
        for one in members(offsets, event):
            partner = index[one]
            matched[one] = values[first + partner] if 0 <= partner < last - first else own[one]


@compiled
def take(values: Any, positions: Any, absent: float, taken: Any) -> None:
    """Values at positions; ``absent`` where the position is negative."""
    for at in range(len(positions)):
        position = positions[at]
        taken[at] = values[position] if position >= 0 else absent


@compiled
def _goes_before(one: Any, other: Any) -> Any:
    return (not np.isnan(other)) & (np.isnan(one) | (one > other))


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
        for one in members(offsets, event):
            if not kept[one]:
                continue
            above = pt[one] > pt_min
            number += above
            total += np.float64(pt[one]) if above else 0.0
            if size == len(hard) and not _goes_before(pt[one], pt[hard[size - 1]]):
                continue
            size = min(size + 1, len(hard))
            at = size - 1
            while at > 0 and _goes_before(pt[one], pt[hard[at - 1]]):
                hard[at] = hard[at - 1]
                at -= 1
            hard[at] = one
        least = np.inf
        for at in range(min(size, most)):
            one = hard[at]
            distance = abs(wrapped(np.float64(phi[one]) - direction[row], pi, period))
            least = min(least, distance if pt[one] > pt_min else np.inf)
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
    pt_zero: Any,
    first: Any,
    number_tagged: Any,
    first_failed: Any,
    failed: Any,
) -> None:
    """Cuts 0 to 7 of ``darkop_dist.events.recoil``."""
    for row in range(len(events)):
        event, lead, hardest, count = events[row], np.int64(-1), pt_zero, 0
        for one in members(offsets, event):
            if kept[one] and (lead < 0 or _goes_before(pt[one], hardest)):
                lead, hardest = np.int64(one), pt[one]
            count += tagged[one] & (pt[one] > tagged_pt_min)
        first[row], number_tagged[row] = lead, count
        if lead < 0:
            first_failed[row], failed[row] = 0, -1
            continue
        # Sums of truths and few branches: which cuts fail is hard to foretell.
        soft, forward = not hardest > pt_min, not abs(eta[lead]) < abs_eta_max
        below, above = low[lead] <= low_min, high[lead] >= high_max
        number = soft + forward + below + above + (count > 0)
        begin = 0 if soft else (1 if forward else (2 if below else (3 if above else (7 if count > 0 else 127))))
        veto = vetoed[event]
        first_failed[row] = min(begin, 3 + veto) if veto > 0 else begin
        failed[row] = -1 if (veto > 0) | (number > spared[event]) else begin
