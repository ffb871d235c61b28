"""Made-up events in NanoAOD's layout for the mono-jet selection: 49 branches, spectra and multiplicities as in simulation.

A boson with an exponential pT spectrum recoils against the leading jet; it decays to neutrinos, a muon and a neutrino, or
two muons. Further jets, leptons, photons and taus are added at random, so that every veto, overlap and region has events.
Floats keep 12 bits of mantissa, as those of NanoAOD, which is what makes them compressible.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

COMPRESSIONS = {"lz4": uproot.LZ4(4), "zstd": uproot.ZSTD(5), "zlib": uproot.ZLIB(4), "lzma": uproot.LZMA(5)}
NEUTRINOS, ONE_MUON, TWO_MUONS = 0, 1, 2
TAU_WORKING_POINTS = (1, 3, 7, 15, 31)


def write_sample(
    path: Path,
    events: int,
    *,
    seed: int = 1,
    compression: str = "zstd",
    basket_events: int = 50_000,
    with_generator_jets: bool = False,
) -> Path:
    """Write a file with one basket per branch and ``basket_events`` events."""
    rng = np.random.default_rng(seed)
    with uproot.recreate(path, compression=COMPRESSIONS[compression]) as file:
        for start in range(0, events, basket_events):
            content = _events(rng, min(basket_events, events - start), start, with_generator_jets=with_generator_jets)
            if start == 0:
                kinds = {k: v.type if isinstance(v, ak.Array) else v.dtype for k, v in content.items()}
                file.mktree("Events", kinds)
            file["Events"].extend(content)
    return path


def _events(rng: np.random.Generator, count: int, start: int, *, with_generator_jets: bool) -> dict[str, Any]:
    boson_pt = 30.0 + rng.exponential(110.0, count)
    boson_phi = rng.uniform(-np.pi, np.pi, count)
    decay = rng.choice((NEUTRINOS, ONE_MUON, TWO_MUONS), count, p=(0.7, 0.15, 0.15))
    content = _jets(rng, boson_pt, boson_phi, with_generator_jets=with_generator_jets)
    content["Muon"] = _muons(rng, boson_phi, decay)
    content["Electron"] = _leptons(rng, rng.poisson(0.35, count), mass=0.000511, ids=(5, "cutBased"))
    content["Photon"] = _leptons(rng, rng.poisson(0.5, count), mass=None, ids=(4, "cutBased"))
    content["Tau"] = _leptons(rng, rng.poisson(0.4, count), mass=1.777, ids=(0, "idDeepTau2017v2p1VSjet"))
    seen = boson_pt * np.where(decay == NEUTRINOS, 1.0, 0.3)
    x, y = (seen * f(boson_phi) + rng.normal(0.0, 15.0, count) for f in (np.cos, np.sin))
    content["MET_pt"], content["MET_phi"] = _short(np.hypot(x, y)), _short(np.arctan2(y, x))
    content["run"] = np.ones(count, np.uint32)
    content["luminosityBlock"] = ((start + np.arange(count)) // 1000).astype(np.uint32)
    content["event"] = (start + np.arange(count)).astype(np.uint64)
    content["genWeight"] = (1.7 * rng.choice((-1.0, 1.0), count, p=(0.1, 0.9))).astype(np.float32)
    for suffix in ("", "Up", "Down"):
        content[f"puWeight{suffix}"] = _short(rng.normal(1.0, 0.1, count))
    content["PV_npvs"] = rng.poisson(30.0, count).astype(np.int32)
    for axis, width in (("x", 0.002), ("y", 0.002), ("z", 3.5)):
        content[f"PV_{axis}"] = _short(rng.normal(0.0, width, count))
    return content


def _jets(
    rng: np.random.Generator, boson_pt: np.ndarray, boson_phi: np.ndarray, *, with_generator_jets: bool
) -> dict[str, ak.Array]:
    counts = 1 + rng.poisson(4.5, len(boson_pt))
    counts[rng.random(len(counts)) < 0.02] = 0
    event, position = _positions(counts)
    first = position == 0
    pt = 15.0 + np.where(first, boson_pt[event] * rng.normal(1.0, 0.1, len(event)).clip(0.3), 0.0)
    pt += np.where(first, 0.0, rng.exponential(14.0, len(event)))
    phi = np.where(first, boson_phi[event] + np.pi + rng.normal(0.0, 0.1, len(event)), rng.uniform(0, 7, len(event)))
    eta = rng.normal(0.0, np.where(first, 1.2, 2.2)).clip(-4.9, 4.9)
    order = np.lexsort((-pt, event))
    columns = {
        "pt": pt,
        "eta": eta,
        "phi": (phi + np.pi) % (2 * np.pi) - np.pi,
        "mass": pt * 0.12 * rng.uniform(0.5, 1.5, len(pt)),
        "chHEF": rng.beta(5.0, 3.0, len(pt)),
        "neHEF": rng.beta(1.5, 9.0, len(pt)),
        "btagDeepFlavB": rng.beta(0.4, 3.0, len(pt)),
    }
    jets: dict[str, Any] = {name: _short(values[order]) for name, values in columns.items()}
    if not with_generator_jets:
        return {"Jet": _collection(jets, counts)}
    jets["genJetIdx"] = np.where(rng.random(len(pt)) < 0.85, position, -1).astype(np.int32)
    generator = {name: jets[name] for name in ("eta", "phi", "mass")}
    generator["pt"] = _short(jets["pt"] * rng.normal(1.0, 0.1, len(pt)))
    return {"Jet": _collection(jets, counts), "GenJet": _collection(generator, counts)}


def _muons(rng: np.random.Generator, boson_phi: np.ndarray, decay: np.ndarray) -> ak.Array:
    counts = decay + rng.poisson(0.15, len(decay))
    event, position = _positions(counts)
    prompt = position < decay[event]
    pt = np.where(prompt, 20.0 + rng.exponential(50.0, len(event)), 3.0 + rng.exponential(10.0, len(event)))
    phi = np.where(prompt, boson_phi[event] + rng.normal(0.0, 0.5, len(event)), rng.uniform(0, 7, len(event)))
    columns = {
        "pt": _short(pt),
        "eta": _short(rng.uniform(-2.5, 2.5, len(event))),
        "phi": _short((phi + np.pi) % (2 * np.pi) - np.pi),
        "mass": np.full(len(event), 0.1057, np.float32),
        "charge": np.where((position + event) % 2, 1, -1).astype(np.int32),
        "looseId": rng.random(len(event)) < np.where(prompt, 0.98, 0.5),
        "tightId": rng.random(len(event)) < np.where(prompt, 0.95, 0.3),
        "pfRelIso04_all": _short(rng.exponential(np.where(prompt, 0.04, 1.0))),
    }
    return _collection(columns, counts)


def _leptons(rng: np.random.Generator, counts: np.ndarray, *, mass: float | None, ids: tuple[int, str]) -> ak.Array:
    size, (levels, name) = int(counts.sum()), ids
    columns: dict[str, Any] = {
        "pt": _short(3.0 + rng.exponential(10.0, size)),
        "eta": _short(rng.uniform(-2.5, 2.5, size)),
        "phi": _short(rng.uniform(-np.pi, np.pi, size)),
    }
    if mass is not None:
        columns["mass"] = np.full(size, mass, np.float32)
        columns["charge"] = rng.choice((-1, 1), size).astype(np.int32)
    if levels:
        columns[name] = rng.choice(levels, size, p=(0.7, *np.full(levels - 1, 0.3 / (levels - 1)))).astype(np.int32)
    else:
        columns[name] = rng.choice(TAU_WORKING_POINTS, size, p=(0.6, 0.2, 0.1, 0.05, 0.05)).astype(np.uint8)
    return _collection(columns, counts)


def _positions(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    event = np.repeat(np.arange(len(counts)), counts)
    return event, np.arange(len(event)) - np.repeat(np.cumsum(counts) - counts, counts)


def _collection(columns: dict[str, Any], counts: np.ndarray) -> ak.Array:
    return ak.zip({name: ak.unflatten(values, counts) for name, values in columns.items()})


def _short(values: np.ndarray) -> np.ndarray:
    """Single precision with the mantissa rounded to 12 bits."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    return np.ldexp(np.round(mantissa * 2**12) / 2**12, exponent).astype(np.float32)
