"""Neighbours in (eta, phi): the nearest object, sums and maxima in a cone. Loops are compiled."""

from __future__ import annotations

import math
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.events.kernels import compiled, members

TURN = 2 * math.pi


def nearest(objects: ak.Array, others: ak.Array, *, cone: float) -> ak.Array:
    """Index of the nearest other object within a cone in (eta, phi), -1 if none; type ``events * var * int``."""
    found = _nearest(*_directions(objects), *_directions(others), cone**2)
    return ak.unflatten(found, ak.num(objects))


def sum_in_cone(objects: ak.Array, others: ak.Array, values: ak.Array, *, cone: float) -> ak.Array:
    """Sum of a number of the others in a cone about each object, without any exactly on its axis.

    Args:
        objects: ``events * var * {eta, phi}``.
        others: the same.
        values: one number for each other, ``events * var``.
        cone: its radius.
    """
    found = _gathered(*_directions(objects), *_directions(others), _flat(values), cone**2, False)
    return ak.unflatten(found, ak.num(objects))


def largest_in_cone(objects: ak.Array, others: ak.Array, values: ak.Array, *, cone: float) -> ak.Array:
    """As ``sum_in_cone``, the largest number in place of the sum, also one on the axis; 0 if there is none above 0."""
    found = _gathered(*_directions(objects), *_directions(others), _flat(values), cone**2, True)
    return ak.unflatten(found, ak.num(objects))


def _directions(objects: ak.Array) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    counts = np.asarray(ak.to_numpy(ak.num(objects)), dtype=np.int64)
    return np.concatenate(([0], np.cumsum(counts))), _flat(objects.eta), _flat(objects.phi)


def _flat(values: ak.Array) -> npt.NDArray[np.float64]:
    return np.asarray(ak.to_numpy(ak.flatten(values)), dtype=np.float64)


@compiled
def distance2(eta: Any, phi: Any, other_eta: Any, other_phi: Any) -> Any:
    """Squared distance in (eta, phi) of azimuths in [-pi, pi]."""
    d_phi = abs(phi - other_phi)
    d_phi = min(d_phi, TURN - d_phi)
    return (eta - other_eta) ** 2 + d_phi**2


@compiled
def _nearest(offsets: Any, eta: Any, phi: Any, other_offsets: Any, other_eta: Any, other_phi: Any, cone2: Any) -> Any:
    found = np.full(len(eta), -1, np.int32)
    for event in range(len(offsets) - 1):
        for i in members(offsets, event):
            best = cone2
            for j in members(other_offsets, event):
                d2 = distance2(eta[i], phi[i], other_eta[j], other_phi[j])
                if d2 < best:
                    best = d2
                    found[i] = np.int64(j) - other_offsets[event]
    return found


@compiled
def _gathered(
    offsets: Any,
    eta: Any,
    phi: Any,
    other_offsets: Any,
    other_eta: Any,
    other_phi: Any,
    values: Any,
    cone2: Any,
    largest: Any,
) -> Any:
    """The largest value in the cone, or the sum of those off its axis."""
    found = np.zeros(len(eta))
    for event in range(len(offsets) - 1):
        for i in members(offsets, event):
            for j in members(other_offsets, event):
                d2 = distance2(eta[i], phi[i], other_eta[j], other_phi[j])
                if largest and d2 < cone2:
                    found[i] = max(found[i], values[j])
                elif 0.0 < d2 < cone2:
                    found[i] += values[j]
    return found
