"""Jets with their constituents as arrays of fixed shape, from files of PFNano's layout.

PFNano links jets to particle-flow candidates by a collection of pairs, ``FatJetPFCands_jetIdx`` and
``FatJetPFCands_pFCandsIdx``. Here each jet gets its candidates in order of falling pT, cut at a largest number and
padded with zeros. The default features and their order are those of AspenOpenJets (arXiv:2412.10504); names of relative
features follow JetClass (arXiv:2202.03772), but ``deta`` is not multiplied by the sign of the jet's eta as there.

Constituents are as the detector's reconstruction has them: not multiplied by their PUPPI weights, and without the jet's
energy correction. The sum of a FatJet's constituents, each times ``puppiWeight``, is its raw four-momentum,
``(1 - rawFactor)`` times the corrected one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputValueError, UnknownNameError

Collection = Literal["FatJet", "Jet"]
Floats = npt.NDArray[np.float32]
ASPEN = ("px", "py", "pz", "energy", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId", "puppiWeight")
"""The features of AspenOpenJets, in its order."""
STORED = {
    "pt": "GeV", "eta": "", "phi": "rad", "mass": "GeV", "d0": "cm", "d0Err": "cm", "dz": "cm", "dzErr": "cm",
    "charge": "e", "pdgId": "", "puppiWeight": "", "pvAssocQuality": "",
}  # fmt: skip
"""Columns of candidates that can be features, with their units."""
JET_TAGGING = ("nConstituents", "tau1", "tau2", "tau3", "tau4", "rawFactor", "jetId", "hadronFlavour")
"""Columns of jets that are kept where a file has them."""


@dataclass(frozen=True)
class JetSetRules:
    """What a set of jets holds.

    Attributes:
        collection: ``FatJet`` or ``Jet``.
        pt_min: smallest pT of a jet in GeV, inclusive.
        constituents: most constituents of a jet; those of lower pT are left out.
        features: of each constituent: those of ``FEATURES``.
    """

    collection: Collection = "FatJet"
    pt_min: float = 0.0
    constituents: int = 150
    features: tuple[str, ...] = ASPEN

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            UnknownNameError: there is no such collection or feature.
            InputValueError: a number is out of range.
        """
        if self.collection not in ("FatJet", "Jet"):
            raise UnknownNameError("collection of jets", self.collection, ("FatJet", "Jet"), "Use FatJet or Jet.")
        for name in self.features:
            if name not in FEATURES:
                raise UnknownNameError("feature", name, FEATURES, f"Features are {', '.join(FEATURES)}.")
        if self.constituents < 1 or not self.features or not np.isfinite(self.pt_min):
            told = f"{self.constituents} constituents, {len(self.features)} features, jets from {self.pt_min} GeV"
            raise InputValueError("the jet set", f"cannot have {told}", "Ask for at least one of each")

    @property
    def jet_kinematics(self) -> tuple[str, ...]:
        """Columns of the jets' kinematics: with the soft-drop mass for large jets, as in AspenOpenJets."""
        return ("pt", "eta", "phi", "msoftdrop" if self.collection == "FatJet" else "mass")

    def columns(self, known: frozenset[str]) -> tuple[str, ...]:
        """The branches that the set is made of, in a file with those branches."""
        links = (f"{self.collection}PFCands_jetIdx", f"{self.collection}PFCands_pFCandsIdx")
        jets = [f"{self.collection}_{name}" for name in self.jet_kinematics]
        jets += [name for name in self._tagging(known) if name not in jets]
        stored = {name for feature in self.features for name in NEEDS.get(feature, (feature,))} | {"pt"}
        return (*jets, *links, *(f"PFCands_{name}" for name in STORED if name in stored))

    def _tagging(self, known: frozenset[str]) -> list[str]:
        names = [f"{self.collection}_{name}" for name in ("mass", *JET_TAGGING)]
        return [name for name in names if name in known]


@dataclass(frozen=True)
class JetSet:
    """Jets of some events, in their order.

    Attributes:
        entry: position of each jet's event among those given, shape (jets,).
        jet_index: position of each jet in its event's collection, shape (jets,).
        jets: columns of the jets by name without collection, each of shape (jets,).
        features: by name, float32 of shape (jets, constituents), zero where there is none.
        mask: which places hold a constituent, shape (jets, constituents).
        counts: number of constituents before the cut, shape (jets,).
    """

    entry: npt.NDArray[np.int64]
    jet_index: npt.NDArray[np.int32]
    jets: Mapping[str, npt.NDArray[Any]]
    features: Mapping[str, Floats]
    mask: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Members:
    """Constituents and the jets that they belong to, both of shape (constituents in all jets,)."""

    of: Mapping[str, npt.NDArray[np.float64]]
    jet: Mapping[str, npt.NDArray[np.float64]]

    def deta(self) -> Any:
        return self.of["eta"] - self.jet["eta"]

    def dphi(self) -> Any:
        return (self.of["phi"] - self.jet["phi"] + np.pi) % (2 * np.pi) - np.pi

    def energy(self) -> Any:
        return np.sqrt((self.of["pt"] * np.cosh(self.of["eta"])) ** 2 + self.of["mass"] ** 2)


_MADE: Mapping[str, tuple[str, tuple[str, ...], Callable[[_Members], Any]]] = {
    "px": ("GeV", ("pt", "phi"), lambda m: m.of["pt"] * np.cos(m.of["phi"])),
    "py": ("GeV", ("pt", "phi"), lambda m: m.of["pt"] * np.sin(m.of["phi"])),
    "pz": ("GeV", ("pt", "eta"), lambda m: m.of["pt"] * np.sinh(m.of["eta"])),
    "energy": ("GeV", ("pt", "eta", "mass"), lambda m: m.energy()),
    "deta": ("", ("eta",), lambda m: m.deta()),
    "dphi": ("rad", ("phi",), lambda m: m.dphi()),
    "deltaR": ("", ("eta", "phi"), lambda m: np.hypot(m.deta(), m.dphi())),
    "pt_log": ("", ("pt",), lambda m: np.log(m.of["pt"])),
    "e_log": ("", ("pt", "eta", "mass"), lambda m: np.log(m.energy())),
    "logptrel": ("", ("pt",), lambda m: np.log(m.of["pt"] / m.jet["pt"])),
    "logerel": ("", ("pt", "eta", "mass"), lambda m: np.log(m.energy() / _energy(m.jet))),
}
NEEDS: Mapping[str, tuple[str, ...]] = {name: needs for name, (_, needs, _) in _MADE.items()}
FEATURES: Mapping[str, str] = {**STORED, **{name: unit for name, (unit, _, _) in _MADE.items()}}
"""All features of constituents, with their units."""


def _energy(jet: Mapping[str, Any]) -> Any:
    return np.sqrt((jet["pt"] * np.cosh(jet["eta"])) ** 2 + jet["mass"] ** 2)


def make_jet_set(columns: Mapping[str, ak.Array], rules: JetSetRules) -> JetSet:
    """Bring jets and their constituents into fixed shape.

    Args:
        columns: those of ``rules.columns``, one list per event.
        rules: what the set holds.

    Raises:
        InputValueError: a link points to a candidate that its event does not have.
    """
    name = rules.collection
    counts, flat = _flat(columns, f"{name}_")
    candidates, of_candidates = _flat(columns, "PFCands_")
    links, of_links = _flat(columns, f"{name}PFCands_")
    jet_starts, candidate_starts = _starts(counts), _starts(candidates)
    event = np.repeat(np.arange(len(links)), links)
    jet_of, candidate_of = (np.asarray(of_links[key], np.int64) for key in ("jetIdx", "pFCandsIdx"))
    linked = (jet_of >= 0) & (jet_of < counts[event])  # PFNano links to jets that the slimming has dropped, too
    event, jet_of, candidate_of = event[linked], jet_of[linked], candidate_of[linked]
    if np.any((candidate_of < 0) | (candidate_of >= candidates[event])):
        raise InputValueError(f"{name}PFCands_pFCandsIdx", "points to candidates that are not there", "Check the file")
    jet, candidate = jet_starts[event] + jet_of, candidate_starts[event] + candidate_of
    chosen = np.flatnonzero(np.asarray(flat["pt"]) >= rules.pt_min)
    place = np.full(len(flat["pt"]), -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    keep = place[jet] >= 0
    jet, candidate = jet[keep], candidate[keep]
    row, column, members = _ranked(place[jet], candidate, np.asarray(of_candidates["pt"]), len(chosen))
    inside = column < rules.constituents
    row, column, candidate = row[inside], column[inside], candidate[members][inside]
    return JetSet(
        entry=np.repeat(np.arange(len(counts)), counts)[chosen],
        jet_index=(chosen - jet_starts[np.repeat(np.arange(len(counts)), counts)[chosen]]).astype(np.int32),
        jets={key: np.asarray(values)[chosen] for key, values in flat.items()},
        features=_features(rules, flat, of_candidates, chosen[row], candidate, (row, column), len(chosen)),
        mask=_scattered(np.ones(len(row), np.bool_), (row, column), len(chosen), rules.constituents),
        counts=np.bincount(place[jet], minlength=len(chosen)).astype(np.int32),
    )


def _flat(columns: Mapping[str, ak.Array], prefix: str) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
    """Counts per event of a collection, and its columns with all events one after another."""
    own = {name[len(prefix) :]: array for name, array in columns.items() if name.startswith(prefix)}
    counts = np.asarray(ak.to_numpy(ak.num(next(iter(own.values())))), np.int64)
    return counts, {name: ak.to_numpy(ak.flatten(array)) for name, array in own.items()}


def _starts(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)[:-1]])[: len(counts)]


def _ranked(
    row: npt.NDArray[np.int64], candidate: npt.NDArray[np.int64], pt: npt.NDArray[Any], jets: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Jets and ranks by falling pT of their members, and the order of the members; ties stay as they were."""
    order = np.lexsort((-pt[candidate], row))
    sizes = np.bincount(row, minlength=jets)
    rank = np.arange(len(row)) - np.repeat(_starts(sizes), sizes)
    return row[order], rank, order


def _features(
    rules: JetSetRules,
    jets: Mapping[str, Any],
    candidates: Mapping[str, Any],
    jet: npt.NDArray[np.int64],
    candidate: npt.NDArray[np.int64],
    where: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    count: int,
) -> dict[str, Floats]:
    members = _Members(
        {name: np.asarray(values[candidate], np.float64) for name, values in candidates.items()},
        {name: np.asarray(jets[name][jet], np.float64) for name in ("pt", "eta", "phi", "mass") if name in jets},
    )
    found = {}
    for name in rules.features:
        values = members.of[name] if name not in _MADE else _MADE[name][2](members)
        found[name] = _scattered(np.asarray(values, np.float32), where, count, rules.constituents)
    return found


def _scattered(values: npt.NDArray[Any], where: Any, jets: int, constituents: int) -> npt.NDArray[Any]:
    found = np.zeros((jets, constituents), values.dtype)
    found[where] = values
    return found
