"""The mono-jet selection in plain awkward, as it stood before it was compiled: what the compiled one is tested against.

Parameters and binning are those of the compiled one.

Mono-jet search: one hard central jet recoiling against missing momentum, with muon control regions.

The selection follows the CMS search for dark matter with 2016-2018 data (arXiv:2107.13021, section 4): every threshold
stands in the document's parameters. In the control regions the muons are added to the missing momentum, so that the
recoil stands for the boson's transverse momentum in all regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from darkop_dist.errors import InputFileError
from darkop_dist.events.event_columns import EventColumns
from darkop_dist.events.objects import ObjectCuts, away_from, delta_phi, leading, select_objects, vector_sum
from darkop_dist.events.read import has_column, require_columns
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.systematics import ObjectVariation, object_variations, weight_variations
from darkop_dist.events.weights import generator_weights
from darkop_dist.histograms import NOMINAL, Observable, Output, OutputBuilder
from darkop_dist.scoring.apply import output_builder

Columns = dict[str, npt.NDArray[np.float64]]
Masks = dict[str, npt.NDArray[np.bool_]]

REGIONS = ("signal", "dimuon", "single_muon")
STEPS = {
    "jet_pt": "leading jet pT",
    "jet_eta": "leading jet |eta|",
    "charged_fraction": "charged fraction",
    "neutral_fraction": "neutral fraction",
    "b_jets": "b-jet veto",
    "min_dphi": "dphi(jets, recoil)",
}
"""Names of the cuts in the cutflow, where they differ from the observable's."""


ONLY_IN = {
    "muon_pt": ("dimuon", "single_muon"),
    "muon_eta": ("dimuon", "single_muon"),
    "second_muon_pt": ("dimuon",),
    "dimuon_mass": ("dimuon",),
    "transverse_mass": ("single_muon",),
}


@dataclass(frozen=True)
class Leptons:
    """Veto objects of the events, which no variation changes.

    Attributes:
        electrons: veto electrons, jagged.
        muons: veto muons, jagged.
        photons: veto photons, jagged.
        taus: veto taus away from veto muons and electrons, jagged.
        tight: muons of the control regions, jagged.
    """

    electrons: ak.Array
    muons: ak.Array
    photons: ak.Array
    taus: ak.Array
    tight: ak.Array


class MonoJet:
    """Fills recoil and jet spectra of the signal region and the muon control regions."""

    def __init__(self, settings: SearchSettings[Any], observables: Sequence[Observable]) -> None:
        """Prepare for any number of chunks, with the parameters and the binning of the compiled selection."""
        self.settings, self.observables = settings, tuple(observables)

    def process(self, events: ak.Array) -> Output:
        """Fill one chunk."""
        builder = output_builder(events, self.observables, None, self.settings.candidates)
        self._evaluate(events, builder)
        return builder.output()

    def _evaluate(self, events: ak.Array, builder: OutputBuilder) -> tuple[Columns, Masks, npt.NDArray[np.float64]]:
        """Fill all variations; columns, region masks and weights of the nominal one are returned."""
        count = len(events)
        parameters = self.settings.parameters
        require_columns(events, ("Jet.pt", "Jet.eta", "Jet.phi", f"{parameters.met}.pt", f"{parameters.met}.phi"))

        def note(text: str) -> None:
            builder.note(text, count)

        corrections = self.settings.corrections
        self.quality = corrections.quality(events, note)
        weights = generator_weights(events)
        pileup = corrections.pileup_factors(events, weights, builder.tally, note)
        factors = weight_variations(events, self.settings.systematics, note, pileup)
        read = corrections.corrected(EventColumns(events), parameters.met, self.settings.systematics, note)
        events = read.replaced_in(events)
        leptons = self._leptons(events, note)
        variations = object_variations(events, parameters.met, self.settings.systematics, parameters.shifts, note)
        nominal: tuple[Columns, Masks] | None = None
        for variation in variations:
            columns, cuts = self._columns_and_cuts(events, variation, leptons, note)
            masks = {region: np.logical_and.reduce(list(steps.values())) for region, steps in cuts.items()}
            self._fill(builder, variation.name, columns, masks, weights * factors["nominal"])
            if variation.name == NOMINAL:
                nominal = columns, masks
                for name, factor in factors.items():
                    if name != "nominal":
                        self._fill(builder, name, columns, masks, weights * factor)
                self._cutflow(builder, cuts, weights * factors["nominal"])
                self._all_cuts_but_one(builder, columns, cuts["signal"], weights * factors["nominal"])
        if nominal is None:
            raise ValueError("the variations hold no nominal one")
        return *nominal, weights * factors["nominal"]

    def _leptons(self, events: ak.Array, note: Any) -> Leptons:
        parameters = self.settings.parameters

        def select(collection: str, cuts: ObjectCuts) -> ak.Array:
            if parameters.missing_columns == "skip" and not has_column(events, f"{collection}.pt"):
                note(f"no collection {collection}: its veto was not applied")
                return events.Jet[events.Jet.pt < 0.0]
            return select_objects(events, collection, cuts, note)

        electrons, muons = select("Electron", parameters.electron), select("Muon", parameters.muon)
        photons = away_from(select("Photon", parameters.photon), electrons, parameters.overlap)
        taus = away_from(select("Tau", parameters.tau), electrons, parameters.overlap)
        return Leptons(
            electrons, muons, photons, away_from(taus, muons, parameters.overlap), select("Muon", parameters.tight_muon)
        )

    def _columns_and_cuts(
        self, events: ak.Array, variation: ObjectVariation, leptons: Leptons, note: Any
    ) -> tuple[Columns, dict[str, Masks]]:
        parameters = self.settings.parameters
        jets = variation.jets
        for others in (leptons.muons, leptons.electrons, leptons.photons):
            jets = away_from(jets, others, parameters.overlap)
        jets = jets[ak.argsort(jets.pt, axis=1, ascending=False)]
        muon_x, muon_y = vector_sum(leptons.muons.pt, leptons.muons.phi)
        x, y = variation.met_x + muon_x, variation.met_y + muon_y
        recoil_phi = np.arctan2(y, x)
        near = jets[jets.pt > parameters.dphi_jet_pt_min][:, : parameters.dphi_jets]
        distance = ak.min(abs(delta_phi(near.phi, ak.Array(recoil_phi))), axis=-1)
        columns = {
            "recoil": np.hypot(x, y),
            "MET": np.hypot(variation.met_x, variation.met_y),
            "jet_pt": leading(jets.pt, absent=0.0),
            "jet_eta": leading(jets.eta, absent=99.0),
            "charged_fraction": self._fraction(events, jets, "chHEF", parameters.charged_fraction_min, note),
            "neutral_fraction": self._fraction(events, jets, "neHEF", parameters.neutral_fraction_max, note),
            "min_dphi": np.asarray(ak.to_numpy(ak.fill_none(distance, np.pi)), dtype=np.float64),
            "b_jets": self._b_jets(events, jets, note),
            "dimuon_mass": _dimuon_mass(leptons.muons),
            **_more(events, jets, leptons.muons, variation, parameters.dphi_jet_pt_min),
        }
        return columns, self._cuts(columns, variation, leptons)

    def _cuts(self, columns: Columns, variation: ObjectVariation, leptons: Leptons) -> dict[str, Masks]:
        parameters = self.settings.parameters
        kinematics: Masks = {
            **self.quality,
            "jet_pt": columns["jet_pt"] > parameters.jet_pt_min,
            "jet_eta": np.abs(columns["jet_eta"]) < parameters.jet_abs_eta_max,
            "charged_fraction": ~(columns["charged_fraction"] <= parameters.charged_fraction_min),
            "neutral_fraction": ~(columns["neutral_fraction"] >= parameters.neutral_fraction_max),
            "electron veto": _count(leptons.electrons) == 0,
            "photon veto": _count(leptons.photons) == 0,
            "tau veto": _count(leptons.taus) == 0,
            "b_jets": columns["b_jets"] == 0,
            "recoil": columns["recoil"] > parameters.recoil_min,
            "min_dphi": columns["min_dphi"] > parameters.dphi_min,
        }
        muons, tight = _count(leptons.muons), _count(leptons.tight)
        charge = np.asarray(ak.to_numpy(ak.sum(leptons.muons.charge, axis=-1))) if _has_charge(leptons.muons) else muons
        in_window = (columns["dimuon_mass"] > parameters.z_mass[0]) & (columns["dimuon_mass"] < parameters.z_mass[1])
        region = self.settings.signal_region
        signal: Masks = {**kinematics, "muon veto": muons == 0}
        if region is not None:
            signal["signal region"] = region.evaluate(columns)
        return {
            "signal": signal,
            "dimuon": {**kinematics, "two muons": (muons == 2) & (tight >= 1) & (charge == 0), "Z mass": in_window},
            "single_muon": {
                **kinematics,
                "one muon": (muons == 1) & (tight == 1),
                "transverse mass": _transverse_mass(leptons.muons, variation) < parameters.w_mt_max,
            },
        }

    def _fill(
        self,
        builder: OutputBuilder,
        variation: str,
        columns: Columns,
        masks: Masks,
        weights: npt.NDArray[np.float64],
    ) -> None:
        for region, mask in masks.items():
            for observable in self.observables:
                name = observable.name
                if region not in ONLY_IN.get(name, REGIONS):
                    continue
                known = mask & ~np.isnan(columns[name])
                builder.fill(name, region, variation, columns[name][known], weights[known])

    def _cutflow(self, builder: OutputBuilder, cuts: dict[str, Masks], weights: npt.NDArray[np.float64]) -> None:
        for region, steps in cuts.items():
            passed = np.ones(len(weights), dtype=np.bool_)
            builder.cut(region, "events read", weights)
            for step, mask in steps.items():
                passed &= mask
                builder.cut(region, STEPS.get(step, step), weights[passed])

    def _all_cuts_but_one(
        self, builder: OutputBuilder, columns: Columns, steps: Masks, weights: npt.NDArray[np.float64]
    ) -> None:
        for observable in self.observables:
            name = observable.name
            if name not in steps:
                continue
            others = [
                mask
                for step, mask in steps.items()
                if step not in (name, "signal region" if name == "recoil" else name)
            ]
            passed = np.logical_and.reduce(others) & ~np.isnan(columns[name])
            if passed.any():
                builder.fill(name, "signal without its cut", NOMINAL, columns[name][passed], weights[passed])

    def _fraction(
        self, events: ak.Array, jets: ak.Array, field: str, threshold: float, note: Any
    ) -> npt.NDArray[np.float64]:
        if has_column(events, f"Jet.{field}"):
            return leading(jets[field])
        if self.settings.parameters.missing_columns == "fail":
            require_columns(events, (f"Jet.{field}",))
        note(f"no branch Jet_{field}: the cut at {threshold:g} was not applied")
        return np.full(len(events), np.nan)

    def _b_jets(self, events: ak.Array, jets: ak.Array, note: Any) -> npt.NDArray[np.float64]:
        cuts = self.settings.parameters.b_jet
        working_point = next((cut for cut in cuts.ids if has_column(events, f"Jet.{cut.column}")), None)
        if working_point is None or working_point.minimum is None:
            if self.settings.parameters.missing_columns == "fail":
                names = ", ".join(f"Jet_{cut.column}" for cut in cuts.ids)
                raise InputFileError(
                    str(events.metadata.get("filename", "events")),
                    f"has none of the b-tagging branches {names}",
                    "Add the file's branch to parameters.b_jet.ids, or set parameters.missing_columns to skip",
                )
            note("no b-tagging branch: the b-jet veto was not applied")
            return np.zeros(len(events))
        tagged = (jets.pt > cuts.pt_min) & (abs(jets.eta) < cuts.abs_eta_max)
        tagged = tagged & (jets[working_point.column] > working_point.minimum)
        return np.asarray(ak.to_numpy(ak.sum(tagged, axis=-1)), dtype=np.float64)


def _count(objects: ak.Array) -> npt.NDArray[np.int64]:
    return np.asarray(ak.to_numpy(ak.num(objects, axis=1)), dtype=np.int64)


def _has_charge(objects: ak.Array) -> bool:
    return "charge" in ak.fields(objects)


def _dimuon_mass(muons: ak.Array) -> npt.NDArray[np.float64]:
    """Invariant mass in GeV of the two leading muons, taken as massless; NaN with fewer."""
    pair = ak.pad_none(muons[["pt", "eta", "phi"]], 2, axis=1)
    first, second = pair[:, 0], pair[:, 1]
    squared = 2 * first.pt * second.pt * (np.cosh(first.eta - second.eta) - np.cos(first.phi - second.phi))
    return np.asarray(ak.to_numpy(ak.fill_none(np.sqrt(squared), np.nan)), dtype=np.float64)


def _more(
    events: ak.Array, jets: ak.Array, muons: ak.Array, variation: ObjectVariation, pt_min: float
) -> dict[str, npt.NDArray[np.float64]]:
    """The observables that only fill histograms; ``jets`` are ordered by pT."""

    def entry(values: ak.Array, position: int) -> npt.NDArray[np.float64]:
        padded = ak.fill_none(ak.pad_none(values, position + 1, axis=1)[:, position], np.nan)
        return np.asarray(ak.to_numpy(padded), dtype=np.float64)

    met_phi = np.arctan2(variation.met_y, variation.met_x)
    hard = ak.values_astype(jets.pt[jets.pt > pt_min], np.float64)
    vertices = events.PV.npvs if has_column(events, "PV.npvs") else np.full(len(events), np.nan)
    return {
        "jet_phi": entry(jets.phi, 0),
        "jets": np.asarray(ak.num(hard, axis=1), dtype=np.float64),
        "ht": np.asarray(ak.sum(hard, axis=1)),
        "second_jet_pt": entry(jets.pt, 1),
        "second_jet_eta": entry(jets.eta, 1),
        "dphi_jet_met": np.abs(delta_phi(entry(jets.phi, 0), met_phi)),
        "muon_pt": entry(muons.pt, 0),
        "muon_eta": entry(muons.eta, 0),
        "second_muon_pt": entry(muons.pt, 1),
        "transverse_mass": _transverse_mass(muons, variation),
        "vertices": np.asarray(ak.to_numpy(vertices), dtype=np.float64),
    }


def _transverse_mass(muons: ak.Array, variation: ObjectVariation) -> npt.NDArray[np.float64]:
    """Transverse mass in GeV of the leading muon and the missing momentum; NaN without a muon."""
    pt, phi = leading(muons.pt), leading(muons.phi)
    met, met_phi = np.hypot(variation.met_x, variation.met_y), np.arctan2(variation.met_y, variation.met_x)
    return np.asarray(np.sqrt(2 * pt * met * (1 - np.cos(phi - met_phi))), dtype=np.float64)
