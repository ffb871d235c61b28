"""CPU seconds that the response takes for a million soft particles in 500 events, as of a part with pile-up.

Run with: pytest tests/benchmarks/test_response_speed.py --benchmark-only -s.
"""

from __future__ import annotations

import sys
import time

import awkward as ak
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from darkop_dist.generation.card import load_card
from darkop_dist.generation.response import measure

EVENTS, PARTICLES = 500, 2000


def part() -> ak.Array:
    """Soft particles as of minimum bias: a third photons, a half charged, the rest neutral hadrons."""
    rng, size = np.random.default_rng(1), EVENTS * PARTICLES
    pt, eta, phi = rng.exponential(0.6, size) + 0.05, rng.uniform(-6, 6, size), rng.uniform(-np.pi, np.pi, size)
    kind = rng.choice(3, size, p=[0.33, 0.5, 0.17])
    flat = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    flat |= {"E": np.hypot(pt * np.cosh(eta), 0.14), "id": np.array([22, 211, 130])[kind]}
    flat |= {"charge": np.where(kind == 1, 1.0, 0.0), "x": np.zeros(size), "y": np.zeros(size)}
    flat |= {"z": rng.normal(0, 50, size), "vertex": rng.integers(0, 36, size)}
    return ak.zip({name: ak.unflatten(values, np.full(EVENTS, PARTICLES)) for name, values in flat.items()})


@pytest.mark.parametrize("name", ["cms", "atlas"])
@pytest.mark.benchmark(group="a million particles")
def test_the_response_of_a_million_particles(
    name: str, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture
) -> None:
    particles, card = part(), load_card(name)
    began = time.process_time()
    found = benchmark.pedantic(measure, args=(particles, card, np.random.default_rng(2)), rounds=1)
    spent = time.process_time() - began
    assert len(found) == EVENTS
    assert 0.2 * PARTICLES * EVENTS < ak.count(found.px) < PARTICLES * EVENTS
    assert ak.count(found.px[found.charge != 0]) > 0.05 * PARTICLES * EVENTS
    assert ak.all(found.vertex[found.charge == 0] == -1)
    benchmark.extra_info["cpu_s_per_million"] = spent
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {spent:.2f} CPU s per million particles, {len(ak.flatten(found))} candidates\n")
