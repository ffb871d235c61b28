"""Pile-up: further soft collisions from a pool of minimum-bias events, laid over the hard one."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.generation.pileup_profile import PileupProfile
from darkop_dist.generation.process import load_process, process_file, pythia_lines

if TYPE_CHECKING:
    from darkop_dist.generation.truth import Truth

POOL_PROCESS, POOL_SEED = "minimum-bias", 20_160_901
POOL_BATCH = 500
ETA_MAX = 5.5
MOMENTA, POINTS = ("px", "py", "pz", "E"), ("x", "y", "z")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Visible particles of minimum-bias events, one after another.

    Attributes:
        columns: px, py, pz, E in GeV, x, y, z in mm, id and charge, by name; each of shape (particles,).
        offsets: where each event begins and the last ends, shape (events + 1,).
    """

    columns: dict[str, npt.NDArray[Any]]
    offsets: npt.NDArray[np.int64]


@lru_cache(maxsize=1)
def load_pool(events: int, cache: Path) -> Pool:
    """The pool of minimum-bias events, from the cache or generated into it.

    It is the same for a given number of events and the same versions, wherever it is made.

    Args:
        events: number of events.
        cache: directory for generated files.
    """
    file = _pool_file(events, cache)
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.npz")
        try:
            made = _generated(events)
            arrays: dict[str, Any] = {"offsets": made.offsets, **made.columns}
            np.savez(partial, **arrays)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    with np.load(file, allow_pickle=False) as stored:
        columns = {name: stored[name] for name in stored.files}
    return Pool({name: values for name, values in columns.items() if name != "offsets"}, columns["offsets"])


def is_pooled(events: int, cache: Path) -> bool:
    """Whether the cache has the pool, so that ``load_pool`` generates nothing."""
    return _pool_file(events, cache).is_file()


def _pool_file(events: int, cache: Path) -> Path:
    return cache / f"pileup-{_pool_key(events)[:20]}.npz"


def _pool_key(events: int) -> str:
    content = {
        "process": process_file(POOL_PROCESS).read_text(encoding="utf-8"),
        "events": events,
        "seed": POOL_SEED,
        "batch": POOL_BATCH,
        "pythia8mc": metadata.version("pythia8mc"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _generated(events: int) -> Pool:
    from darkop_dist.generation.pythia_run import PartRequest
    from darkop_dist.generation.truth import generate_truth

    lines = pythia_lines(load_process(POOL_PROCESS), {})
    found: list[ak.Array] = []
    for place, first in enumerate(range(0, events, POOL_BATCH)):
        count = min(POOL_BATCH, events - first)
        request = PartRequest(POOL_PROCESS, lines, own_matrix_elements=False, seed=POOL_SEED + place, events=count)
        particles = generate_truth(request).particles
        near = abs(particles.pz) < np.sinh(ETA_MAX) * np.hypot(particles.px, particles.py)
        found.append(particles[near])
    whole = ak.concatenate(found)
    counts = ak.to_numpy(ak.num(whole))
    columns = {name: ak.to_numpy(ak.flatten(whole[name])).astype(np.float32) for name in (*MOMENTA, *POINTS, "charge")}
    columns["id"] = ak.to_numpy(ak.flatten(whole["id"])).astype(np.int32)
    return Pool(columns, np.concatenate(([0], np.cumsum(counts))).astype(np.int64))


def overlay(
    truth: Truth, profile: PileupProfile, pool: Pool, *, beam_spot_mm: float, rng: np.random.Generator
) -> Truth:
    """Lay collisions of the pool over each event.

    Each crossing draws a mean from the profile and a Poisson number of collisions. A collision is an event of the pool
    with replacement, turned by a random angle about the beam and mirrored in z at random, and moved along the beam by
    the difference of two points of the luminous region. In-time pile-up only.

    Args:
        truth: the hard collisions.
        profile: mean numbers of collisions.
        pool: minimum-bias events.
        beam_spot_mm: standard deviation of the luminous region along the beam in mm.
        rng: source of random numbers.

    Returns:
        The crossings: the particles of pile-up, with ``vertex`` 1, 2, ..., stand after the others.
    """
    particles, events = truth.particles, len(truth.particles)
    mean = rng.choice(np.asarray(profile.means), size=events, p=np.asarray(profile.probabilities))
    collisions = rng.poisson(mean)
    total = int(collisions.sum())
    drawn = rng.integers(0, len(pool.offsets) - 1, total)
    angle, mirror = rng.uniform(0, 2 * np.pi, total), rng.choice((-1.0, 1.0), total)
    hard_z = rng.normal(0.0, beam_spot_mm, events)
    shift = rng.normal(0.0, beam_spot_mm, total) - np.repeat(hard_z, collisions)
    vertex = 1 + np.arange(total) - np.repeat(np.cumsum(collisions) - collisions, collisions)
    sizes = np.diff(pool.offsets)[drawn]
    index = np.arange(sizes.sum()) + np.repeat(pool.offsets[drawn] - (np.cumsum(sizes) - sizes), sizes)
    columns = _turned({name: values[index] for name, values in pool.columns.items()}, np.repeat(angle, sizes))
    for axis in ("pz", "z"):
        columns[axis] = columns[axis] * np.repeat(mirror, sizes)
    columns["z"] = columns["z"] + np.repeat(shift, sizes)
    columns["vertex"] = np.repeat(vertex, sizes).astype(np.int32)
    event = np.repeat(np.repeat(np.arange(events), collisions), sizes)
    added = ak.unflatten(
        ak.zip({name: columns[name].astype(_kind(particles[name])) for name in particles.fields}),
        np.bincount(event, minlength=events),
    )
    together = ak.concatenate([particles, added], axis=1)
    return replace(truth, particles=together, mean_collisions=mean, collisions=np.asarray(collisions, dtype=np.int64))


def _turned(columns: dict[str, npt.NDArray[Any]], angle: Floats) -> dict[str, npt.NDArray[Any]]:
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = {}
    for x, y in (("px", "py"), ("x", "y")):
        turned[x] = cosine * columns[x] - sine * columns[y]
        turned[y] = sine * columns[x] + cosine * columns[y]
    return {**columns, **turned}


def _kind(column: ak.Array) -> np.dtype[Any]:
    return np.asarray(ak.to_numpy(ak.flatten(column[:0]))).dtype
