"""Pile-up: profiles, the pool and what lies over an event."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest

pytest.importorskip("pythia8mc")

from darkop_dist.errors import InputFileError, InputValueError, UnknownNameError
from darkop_dist.generation import generate, pileup
from darkop_dist.generation.part import request_of
from darkop_dist.generation.pileup import Pool, load_pool, overlay
from darkop_dist.generation.pileup_profile import read_profile
from darkop_dist.generation.plan import Measurement, plan_parts
from darkop_dist.generation.truth import Truth, generate_truth

POOL_EVENTS = 100  # of the session's pool
BEAM_SPOT_MM = 35.0


@pytest.fixture(scope="module")
def hard() -> Truth:
    return generate_truth(request_of(plan_parts("z-nunu-jets", 200, seed=3, settings={"mpi": "off"})[0]))


@pytest.fixture(scope="module")
def pool(pool_cache: Path) -> Pool:
    return load_pool(POOL_EVENTS, pool_cache)


def test_a_profile_has_the_mean_of_its_source() -> None:
    profile = read_profile("cms-2016")
    assert sum(profile.probabilities) == pytest.approx(1)
    assert float(np.dot(profile.means, profile.probabilities)) == pytest.approx(31.0, abs=0.5)
    assert read_profile("20").means == (20.0,)


def test_a_profile_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "profile.txt"
    file.write_text("# mean weight\n10 3\n30 1\n40 0\n")
    profile = read_profile(str(file))
    assert (profile.means, profile.probabilities) == ((10.0, 30.0), (0.75, 0.25))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ten one\n", "is no pile-up profile"),
        ("1 2 3\n", "has 3 columns, not 2"),
        ("10 -1\n20 2\n", "negative weights"),
        ("10 0\n", "none above zero"),
        ("-3 1\n", "-3 is no mean number"),
    ],
)
def test_a_file_that_is_no_profile_says_why(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "profile.txt"
    file.write_text(content)
    with pytest.raises((InputFileError, InputValueError), match=message):
        read_profile(str(file))


@pytest.mark.parametrize("number", ["-1", "nan", "1e6"])
def test_a_mean_number_out_of_range_is_refused(number: str) -> None:
    with pytest.raises(InputValueError, match="Use a number from 0 to 300"):
        read_profile(number)


def test_an_unknown_profile_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="cms-2016"):
        read_profile("cms-2061")


def test_the_pool_is_kept_and_read_again(pool: Pool, pool_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = pool_cache.iterdir()
    assert file.suffix == ".npz"
    monkeypatch.setattr(pileup, "_generated", None)
    load_pool.cache_clear()
    again = load_pool(POOL_EVENTS, pool_cache)
    assert all(np.array_equal(pool.columns[name], again.columns[name]) for name in pool.columns)
    assert len(again.offsets) == POOL_EVENTS + 1


def test_crossings_have_the_asked_number_of_collisions_at_points_of_the_beam_spot(hard: Truth, pool: Pool) -> None:
    crossed = overlay(hard, read_profile("12"), pool, beam_spot_mm=BEAM_SPOT_MM, rng=np.random.default_rng(1))
    assert crossed.collisions is not None
    assert float(np.mean(crossed.collisions)) == pytest.approx(12, abs=4 * np.sqrt(12 / 200))
    particles = crossed.particles
    assert ak.all(particles.vertex[:, :1] == 0)
    counts = np.array([len(set(event) - {0}) for event in particles.vertex.to_list()])
    assert np.all(counts <= crossed.collisions)
    prompt = particles[(particles.vertex > 0) & (np.hypot(particles.x, particles.y) < 1e-3)]
    z = ak.to_numpy(ak.flatten(prompt.z))
    assert np.std(z) == pytest.approx(np.sqrt(2) * BEAM_SPOT_MM, rel=0.1)  # both points scatter


def test_the_hard_collision_stays_as_it_was(hard: Truth, pool: Pool) -> None:
    crossed = overlay(hard, read_profile("5"), pool, beam_spot_mm=BEAM_SPOT_MM, rng=np.random.default_rng(1))
    kept = crossed.particles[crossed.particles.vertex == 0]
    for name in hard.particles.fields:
        assert ak.all(kept[name] == hard.particles[name])


def test_turning_a_collision_keeps_momenta_and_directions_of_flight(hard: Truth, pool: Pool) -> None:
    crossed = overlay(hard, read_profile("5"), pool, beam_spot_mm=0.0, rng=np.random.default_rng(1))
    added = ak.flatten(crossed.particles[crossed.particles.vertex > 0])
    pt, known = (np.sort(np.hypot(ak.to_numpy(x["px"]), ak.to_numpy(x["py"]))) for x in (added, pool.columns))
    above = np.clip(np.searchsorted(known, pt), 1, len(known) - 1)
    nearest = np.where(known[above] - pt < pt - known[above - 1], known[above], known[above - 1])
    assert np.max(np.abs(nearest / pt - 1)) < 1e-5  # each is one of the pool's
    far = np.hypot(added.x, added.y) > 1
    along = (added.x * added.px + added.y * added.py)[far]
    away = (pool.columns["x"] * pool.columns["px"] + pool.columns["y"] * pool.columns["py"])[
        np.hypot(pool.columns["x"], pool.columns["y"]) > 1
    ]
    assert ak.mean(along > 0) == pytest.approx(np.mean(away > 0), abs=0.1)


def test_a_sample_with_pileup_says_so(
    tmp_path: Path, pool_cache: Path, monkeypatch: pytest.MonkeyPatch, open_with_coffea: object
) -> None:
    monkeypatch.setenv("DARKOP_CACHE", str(pool_cache))
    small = read_profile("8", pool_events=POOL_EVENTS)
    made = [
        generate(
            "z-nunu-jets",
            60,
            tmp_path / f"{place}.root",
            seed=4,
            settings={"mpi": "off"},
            measurement=Measurement("cms", pileup=small),
        )
        for place in range(2)
    ]
    first, second = (open_with_coffea(sample.file) for sample in made)  # type: ignore[operator]
    assert ak.all(first.Pileup.nTrueInt == 8)
    assert ak.mean(first.Pileup.nPU) == pytest.approx(8, abs=1.5)
    assert ak.mean(first.PV.npvs) > 5
    assert ak.all(first.MET.pt == second.MET.pt)
    assert made[0].recipe["pileup"]["means"] == (8.0,)
