"""The generator's history of an event as NanoAOD keeps it: ``GenPart`` with mothers and status flags.

Kept are the hard process, the first and last copies of heavy and new particles and of prompt leptons, taus, electrons
and muons from hadrons above 1 GeV, prompt photons above 10 GeV, the last copies of bottom and charm hadrons above
5 GeV, and all hadrons of a dark sector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

FLAGS: tuple[str, ...] = (
    "isPrompt",
    "isDecayedLeptonHadron",
    "isTauDecayProduct",
    "isPromptTauDecayProduct",
    "isDirectTauDecayProduct",
    "isDirectPromptTauDecayProduct",
    "isDirectHadronDecayProduct",
    "isHardProcess",
    "fromHardProcess",
    "isHardProcessTauDecayProduct",
    "isDirectHardProcessTauDecayProduct",
    "fromHardProcessBeforeFSR",
    "isFirstCopy",
    "isLastCopy",
    "isLastCopyBeforeFSR",
)
"""Names of the bits of ``statusFlags``, lowest first, as in CMS NanoAOD."""

HEAVY_IDS = (6, 23, 24, 25, *range(32, 38), *range(51, 61))
NEW_IDS = 1_000_000
NUCLEI = 1_000_000_000
INTERNAL_IDS = range(9_902_000, 9_950_000)
LEPTONS, ELECTRON, MUON, TAU, PHOTON = range(11, 17), 11, 13, 15, 22
PHOTON_PT_MIN_GEV, LEPTON_PT_MIN_GEV = 10.0, 1.0
HADRON_PT_MIN_GEV = 5.0
INCOMING = -21
MM_TO_CM = 0.1
INTEGERS = ("pdgId", "status", "statusFlags", "genPartIdxMother")
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("pt", "eta", "phi", "mass", "vx", "vy", "vz"), "float32"),
        **dict.fromkeys(INTEGERS, "int32"),
    }
)
"""Columns of ``GenPart``: pt and mass in GeV, phi in rad, the production point in cm (not in NanoAOD), and integers."""

Ints = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]


def history(particles: ak.Array, hadron: ak.Array, heavy: ak.Array) -> ak.Array:
    """What NanoAOD keeps of the generator's particles.

    Args:
        particles: Pythia's record, ``events * var * {id, status, mother1, p, m, vProd, ...}``, the whole event first.
        hadron: whether each particle is a hadron of the Standard Model or a dark one, ``events * var * bool``.
        heavy: 5 or 4 for hadrons with bottom or charm, else 0, ``events * var * int``.

    Returns:
        ``events * var`` records of `COLUMNS`. The mother is the nearest kept ancestor along Pythia's first mothers, -1
        if there is none and for what comes into the hard process.
    """
    counts = np.asarray(ak.to_numpy(ak.num(particles.id)), dtype=np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    kind, status, mother = (
        np.asarray(ak.to_numpy(ak.flatten(particles[name])), dtype=np.int64) for name in ("id", "status", "mother1")
    )
    mother = np.where(mother > 0, mother + starts, np.arange(len(kind)))  # its own mother where there is none
    beam = (np.abs(status) > 10) & (np.abs(status) < 20) | (kind == 90)
    facts = _facts(kind, status, mother, np.asarray(ak.to_numpy(ak.flatten(hadron))) & ~beam)
    momentum = ak.flatten(particles.p)
    pt = np.hypot(ak.to_numpy(momentum.px), ak.to_numpy(momentum.py))
    kept = _kept(kind, status, pt, np.asarray(ak.to_numpy(ak.flatten(heavy))), facts) & ~beam
    chosen = np.flatnonzero(kept)
    number = np.cumsum(kept) - 1
    per_event = np.bincount(np.repeat(np.arange(len(counts)), counts)[chosen], minlength=len(counts))
    first = np.repeat(np.cumsum(per_event) - per_event, per_event)
    found = np.where(status[chosen] == INCOMING, -1, _nearest(chosen, mother, kept))
    pz = ak.to_numpy(momentum.pz)[chosen]
    point = {axis: ak.to_numpy(ak.fill_none(ak.flatten(particles.vProd[f"p{axis}"]), 0.0))[chosen] for axis in "xyz"}
    columns: dict[str, Any] = {
        "pt": pt[chosen],
        "eta": np.arcsinh(np.clip(pz / np.maximum(pt[chosen], 1e-12), -1e6, 1e6)),
        "phi": np.arctan2(ak.to_numpy(momentum.py), ak.to_numpy(momentum.px))[chosen],
        "mass": np.maximum(ak.to_numpy(ak.flatten(particles.m))[chosen], 0.0),
        **{f"v{axis}": MM_TO_CM * values for axis, values in point.items()},
        "pdgId": kind[chosen],
        "status": _status(status, facts)[chosen],
        "statusFlags": sum((facts[name][chosen].astype(np.int64) << bit for bit, name in enumerate(FLAGS))),
        "genPartIdxMother": np.where(found >= 0, number[found] - first, -1),
    }
    return ak.unflatten(ak.zip({name: values.astype(COLUMNS[name]) for name, values in columns.items()}), per_event)


def _facts(kind: Ints, status: Ints, mother: Ints, hadron: Flags) -> dict[str, Flags]:
    """`FLAGS` of each particle, in the sense of CMSSW's MCTruthHelper; and ``decayed``."""
    here = np.arange(len(kind))
    absolute, final = np.abs(kind), status > 0
    copy = (kind[mother] == kind) & (mother != here)
    copied = np.zeros(len(kind), dtype=bool)
    copied[mother[copy]] = True
    copy_of = np.where(copy, mother, here)
    original = copy_of
    while not np.array_equal(further := original[original], original):
        original = further
    children = np.bincount(mother[mother != here], minlength=len(kind))
    radiates = copy & (children[mother] > 1) & (np.abs(status) > 50) & (np.abs(status) < 60)
    radiates_next = np.zeros(len(kind), dtype=bool)
    radiates_next[mother[radiates]] = True
    hard = (np.abs(status) > 20) & (np.abs(status) < 30)
    tau, muon = ((absolute == lepton) & ~final for lepton in (TAU, MUON))
    parent = mother[original]  # of the first copy
    above = _above(copy_of, here, [hard, radiates])
    from_hard, radiated = hard | above[0], radiates | above[1]
    from_hadron, from_tau, from_muon, from_hard_tau = _above(parent, original, [hadron, tau, muon, tau & from_hard])
    prompt = ~(from_hadron | from_tau | from_muon)
    (from_prompt_tau,) = _above(parent, original, [tau & prompt])
    direct_tau = tau[parent] & (parent != original)
    return {
        "isPrompt": prompt,
        "isDecayedLeptonHadron": ~final & (hadron | tau | muon),
        "isTauDecayProduct": from_tau,
        "isPromptTauDecayProduct": from_prompt_tau,
        "isDirectTauDecayProduct": direct_tau,
        "isDirectPromptTauDecayProduct": direct_tau & prompt[parent],
        "isDirectHadronDecayProduct": hadron[parent] & (parent != original),
        "isHardProcess": hard,
        "fromHardProcess": from_hard,
        "isHardProcessTauDecayProduct": from_hard_tau,
        "isDirectHardProcessTauDecayProduct": direct_tau & from_hard[parent],
        "fromHardProcessBeforeFSR": from_hard & ~radiated,
        "isFirstCopy": ~copy,
        "isLastCopy": ~copied,
        "isLastCopyBeforeFSR": ~radiated & (~copied | radiates_next),
        "decayed": ~final & ~copied & (hadron | (absolute == TAU) | (absolute == MUON)),
    }


def _above(mother: Ints, start: Ints, marks: Sequence[Flags]) -> list[Flags]:
    """For each mark, whether any particle above each one bears it; the distance that is seen doubles at each step."""
    marked = sum((mark.astype(np.uint8) << bit for bit, mark in enumerate(marks)), start=np.zeros(1, np.uint8))
    found = np.where(mother != start, marked[mother], 0).astype(np.uint8)
    step = mother
    while not np.array_equal(further := step[step], step):
        found |= found[step]
        step = further
    return [(found >> bit & 1).astype(bool) for bit in range(len(marks))]


def _kept(kind: Ints, status: Ints, pt: npt.NDArray[np.float64], heavy: Ints, facts: dict[str, Flags]) -> Flags:
    absolute = np.abs(kind)
    end = facts["isFirstCopy"] | facts["isLastCopy"]
    new = np.isin(absolute, HEAVY_IDS) | ((absolute > NEW_IDS) & (absolute < NUCLEI))
    new &= ~np.isin(absolute, INTERNAL_IDS)  # diffractive systems and coloured onia
    lepton = np.isin(absolute, LEPTONS) & (facts["isPrompt"] | facts["isPromptTauDecayProduct"] | (absolute == TAU))
    soft = ((absolute == ELECTRON) | (absolute == MUON)) & (status > 0) & (pt > LEPTON_PT_MIN_GEV)
    photon = (kind == PHOTON) & (status > 0) & (pt > PHOTON_PT_MIN_GEV) & facts["isPrompt"]
    hadron = (heavy > 0) & facts["isLastCopy"] & (pt > HADRON_PT_MIN_GEV)
    return np.asarray(facts["isHardProcess"] | ((new | lepton) & end) | soft | photon | hadron)


def _nearest(chosen: Ints, mother: Ints, kept: Flags) -> Ints:
    """The nearest kept ancestor of the chosen particles, -1 if there is none."""
    found = mother[chosen]
    while len(lost := np.flatnonzero(~kept[found] & (mother[found] != found))):
        found[lost] = mother[found[lost]]
    return np.where(kept[found] & (found != chosen), found, -1)


def _status(status: Ints, facts: dict[str, Flags]) -> Ints:
    """HepMC's code: 1 for final, 2 for decayed hadrons and leptons, else Pythia's without its sign."""
    return np.where(status > 0, 1, np.where(facts["decayed"], 2, np.abs(status)))
