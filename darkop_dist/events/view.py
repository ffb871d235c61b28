"""One event as the few objects that a person looks at: plain numbers, ready for JSON and for event displays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from darkop_dist.errors import InputValueError

if TYPE_CHECKING:
    import awkward as ak

ObjectKind = Literal["jet", "fatjet", "muon", "electron", "photon", "tau", "met"]

COLLECTIONS: Mapping[ObjectKind, tuple[str, ...]] = MappingProxyType(
    {
        "jet": ("Jet",),
        "fatjet": ("FatJet",),
        "muon": ("Muon",),
        "electron": ("Electron",),
        "photon": ("Photon",),
        "tau": ("Tau",),
        "met": ("MET", "PuppiMET", "PFMET"),
    }
)
"""NanoAOD collections of each kind; the first that the event has is taken."""

MIN_PT_GEV: Mapping[ObjectKind, float] = MappingProxyType(
    {"jet": 30.0, "fatjet": 170.0, "muon": 10.0, "electron": 10.0, "photon": 15.0, "tau": 18.0, "met": 0.0}
)
"""Default thresholds in transverse momentum, in GeV."""

LOOSEST_IDENTIFICATION: Mapping[ObjectKind, tuple[tuple[str, int], ...]] = MappingProxyType(
    {
        "muon": (("looseId", 1), ("DFCommonMuonPassPreselection", 1)),
        "electron": (("cutBased", 1), ("DFCommonElectronsLHLoose", 1)),
        "photon": (("cutBased", 1), ("cutBasedBitmap", 1), ("DFCommonPhotonsIsEMLoose", 1)),
        "tau": (
            ("idDeepTau2017v2p1VSjet", 4),
            ("idDecayModeOldDMs", 1),
            ("idDecayMode", 1),
            ("JetDeepSetLoose", 1),
            ("GNTauL_v0prune", 1),
        ),
    }
)
"""Column and least value of the loosest identification; the first column that exists decides, none keeps all."""

BTAG_COLUMNS = ("btagDeepFlavB", "btagPNetB", "btagUParTAK4B", "btagDeepB", "btagCSVV2", "btag")
LOGARITHMIC_BTAG_COLUMNS = ("btagGN2v01", "btagGN2v00", "btagDL1dv01")
"""ATLAS' discriminants are logarithms, of which negative values are as good as others."""
MASS_GEV: Mapping[ObjectKind, float] = MappingProxyType({"muon": 0.1057, "electron": 0.000511, "tau": 1.777})
"""Masses used where the collection has no mass column, in GeV (PDG 2024)."""


@dataclass(frozen=True)
class DisplayObject:
    """One reconstructed object.

    Attributes:
        kind: what it is.
        pt_gev: transverse momentum in GeV; for ``met`` the missing transverse momentum.
        eta: pseudorapidity; None for ``met``, which is known only in the transverse plane.
        phi: azimuth in rad, in [-pi, pi].
        mass_gev: mass in GeV.
        btag: b-tag discriminant of a jet; None where the file has none or marks it as undefined (CMS by a negative
            value, ATLAS' logarithms by NaN).
    """

    kind: ObjectKind
    pt_gev: float
    eta: float | None
    phi: float
    mass_gev: float = 0.0
    btag: float | None = None


@dataclass(frozen=True)
class EventView:
    """One event for a display.

    Attributes:
        experiment: ``CMS``, ``ATLAS`` or ``simulation``.
        run: run number; -1 if the file has none.
        luminosity_block: luminosity block (CMS: luminosity section); 0 if the file has none.
        event: event number; 0 if the file has none.
        objects: the objects, by kind and falling transverse momentum.
        dataset: the dataset that the event comes from.
        score: anomaly score, larger is more anomalous.
        p_value: conformal p-value of the score.
    """

    experiment: str
    run: int
    luminosity_block: int
    event: int
    objects: tuple[DisplayObject, ...]
    dataset: str = ""
    score: float | None = None
    p_value: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON objects; `from_dict` is the inverse."""
        return {**asdict(self), "objects": [asdict(item) for item in self.objects]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EventView:
        """Read what `to_dict` wrote.

        Raises:
            InputValueError: a key is missing or unknown, or an object is of an unknown kind.
        """
        try:
            view = cls(**{**values, "objects": tuple(DisplayObject(**item) for item in values["objects"])})
        except (KeyError, TypeError) as error:
            raise InputValueError("event view", f"not the content of an event: {error}", "Write it again.") from error
        kinds = get_args(ObjectKind)
        for item in view.objects:
            if item.kind not in kinds:
                raise InputValueError("event view", f"unknown object {item.kind!r}", f"Use one of {', '.join(kinds)}.")
        return view

    def scored(self, *, score: float | None, p_value: float | None, dataset: str | None = None) -> EventView:
        """The same event with its score and p-value, and a dataset if one is given."""
        return replace(self, score=score, p_value=p_value, dataset=self.dataset if dataset is None else dataset)


def view_of(
    event: ak.Record | ak.Array,
    *,
    experiment: str | None = None,
    min_pt_gev: Mapping[ObjectKind, float] = MIN_PT_GEV,
) -> EventView:
    """Take the displayed objects out of one NanoEvents event.

    Collections that the event does not have are left out. Leptons, photons and taus must pass the loosest
    identification that the file holds (`LOOSEST_IDENTIFICATION`); jets are taken as they are. No overlap is removed:
    an electron is usually also in a jet.

    Args:
        event: one NanoEvents record, or NanoEvents of length one.
        experiment: ``CMS``, ``ATLAS`` or ``simulation``; what the events' metadata say by default, else CMS.
        min_pt_gev: thresholds in GeV; a kind that is absent has none.

    Returns:
        The event; the run is -1, and luminosity block and event 0, where the file does not number its events.

    Raises:
        InputValueError: not exactly one event was given.
    """
    import awkward as ak

    if isinstance(event, ak.Array):
        if event.ndim != 1 or len(event) != 1:
            raise InputValueError("events", f"{len(event)} events, where one is displayed", "Index one: events[i].")
        event = event[0]
    if experiment is None:
        experiment = str((getattr(event, "metadata", None) or {}).get("experiment", "CMS"))
    found: list[DisplayObject] = []
    for kind, names in COLLECTIONS.items():
        collection = next((event[name] for name in names if name in event.fields), None)
        if collection is None:
            continue
        objects = [_met(collection)] if kind == "met" else _objects(kind, collection)
        kept = [item for item in objects if math.isfinite(item.pt_gev) and item.pt_gev >= min_pt_gev.get(kind, 0.0)]
        found += sorted(kept, key=lambda item: -item.pt_gev)
    numbered = "run" in event.fields
    return EventView(
        experiment=experiment,
        run=int(event["run"]) if numbered else -1,
        luminosity_block=int(event["luminosityBlock"]) if numbered and "luminosityBlock" in event.fields else 0,
        event=int(event["event"]) if numbered and "event" in event.fields else 0,
        objects=tuple(found),
    )


def _met(collection: Any) -> DisplayObject:
    return DisplayObject("met", float(collection["pt"]), None, float(collection["phi"]))


def _objects(kind: ObjectKind, collection: Any) -> list[DisplayObject]:
    fields = collection.fields
    passes = next(((name, least) for name, least in LOOSEST_IDENTIFICATION.get(kind, ()) if name in fields), None)
    tags = (*BTAG_COLUMNS, *LOGARITHMIC_BTAG_COLUMNS) if kind == "jet" else ()
    btag = next((name for name in tags if name in fields), None)
    return [
        DisplayObject(
            kind=kind,
            pt_gev=float(item["pt"]),
            eta=float(item["eta"]),
            phi=float(item["phi"]),
            mass_gev=float(item["mass"]) if "mass" in fields else MASS_GEV.get(kind, 0.0),
            btag=None if btag is None or _is_undefined(btag, item[btag]) else float(item[btag]),
        )
        for item in collection
        if passes is None or int(item[passes[0]]) >= passes[1]
    ]


def _is_undefined(column: str, value: float) -> bool:
    return math.isnan(value) if column in LOGARITHMIC_BTAG_COLUMNS else value < 0.0
