"""Mono-jet search: one hard central jet recoiling against missing momentum, with muon control regions.

The selection follows the CMS search for dark matter with 2016-2018 data (arXiv:2107.13021, section 4): every threshold
stands in the document's parameters. In the control regions the muons are added to the missing momentum, so that the
recoil stands for the boson's transverse momentum in all regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt
from coffea import processor
from pydantic import BaseModel, ConfigDict, Field

from darkop_dist.errors import InputFileError
from darkop_dist.events.event_columns import ChosenColumns, EventColumns, gathered
from darkop_dist.events.funnel import Codes, Funnel, Mask, Numbers, Positions
from darkop_dist.events.jet_shifts import JetShift, jet_shifts, met_limit, shifts_of_jets, unshifted
from darkop_dist.events.marked import (
    MarkedObjects,
    Note,
    all_objects,
    away_from,
    mark_objects,
    no_objects,
    of_events,
    take,
)
from darkop_dist.events.masses import pair_mass, transverse_mass
from darkop_dist.events.objects import IdCut, ObjectCuts, delta_phi
from darkop_dist.events.read import require_columns
from darkop_dist.events.recoil import CUTS, LeadingJetCuts, cut_on_leading_jet, first_veto, jet_columns
from darkop_dist.events.settings import SearchSettings
from darkop_dist.events.systematics import ShiftSizes, weight_variations
from darkop_dist.events.weights import event_numbers, generator_weights
from darkop_dist.histograms import NOMINAL, Edges, Observable, Output, OutputBuilder
from darkop_dist.scoring.apply import ScoredRegion, fill_scores, output_builder, score_events
from darkop_dist.scoring.contract import Scorer

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
"""Observables that only some regions have; all others are filled in every region."""


class Bins(BaseModel):
    """Bin edges of the fitted observable.

    Attributes:
        recoil: edges in GeV.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recoil: Edges


class MonoJetParameters(BaseModel):
    """What the document sets; all momenta in GeV.

    Attributes:
        met: which missing momentum: ``MET`` or ``PuppiMET``.
        recoil_min: smallest recoil, exclusive.
        jet_pt_min: smallest pT of the leading jet, exclusive.
        jet_abs_eta_max: largest absolute pseudorapidity of the leading jet, exclusive.
        charged_fraction_min: smallest charged-hadron energy fraction of the leading jet, exclusive.
        neutral_fraction_max: largest neutral-hadron energy fraction of the leading jet, exclusive.
        dphi_min: smallest azimuthal distance between the recoil and the first jets, exclusive.
        dphi_jets: how many jets that is.
        dphi_jet_pt_min: the pT from which a jet counts there, exclusive.
        electron: electrons that veto.
        muon: muons that veto, and that the control regions count.
        photon: photons that veto.
        tau: hadronic taus that veto.
        b_jet: jets that veto if tagged; ``ids`` are the working points.
        tight_muon: the muon of the control regions.
        z_mass: window of the dimuon mass.
        w_mt_max: largest transverse mass of muon and missing momentum.
        overlap: jets closer than this to a veto muon, electron or photon are dropped.
        shifts: sizes of the jet variations.
        bins: binning of the recoil.
        missing_columns: ``fail`` if a file lacks the columns of a cut, or ``skip`` the cut and note it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    met: Literal["MET", "PuppiMET"] = "MET"
    recoil_min: Annotated[float, Field(ge=0)]
    jet_pt_min: Annotated[float, Field(ge=0)]
    jet_abs_eta_max: Annotated[float, Field(gt=0)]
    charged_fraction_min: Annotated[float, Field(ge=0, lt=1)]
    neutral_fraction_max: Annotated[float, Field(gt=0, le=1)]
    dphi_min: Annotated[float, Field(ge=0, lt=3.2)]
    dphi_jets: Annotated[int, Field(ge=1)] = 4
    dphi_jet_pt_min: Annotated[float, Field(ge=0)] = 30.0
    electron: ObjectCuts
    muon: ObjectCuts
    photon: ObjectCuts
    tau: ObjectCuts
    b_jet: ObjectCuts
    tight_muon: ObjectCuts
    z_mass: tuple[float, float] = (60.0, 120.0)
    w_mt_max: Annotated[float, Field(gt=0)] = 160.0
    overlap: Annotated[float, Field(ge=0)] = 0.4
    shifts: ShiftSizes = ShiftSizes()
    bins: Bins
    missing_columns: Literal["fail", "skip"] = "fail"


@dataclass(frozen=True)
class Objects:
    """What no variation changes.

    Attributes:
        jets: all jets; those count that are away from veto muons, electrons and photons.
        charged: charged-hadron energy fraction of the jets, shape (jets,).
        neutral: neutral-hadron energy fraction of the jets, shape (jets,).
        tagged: which of those are b-tagged if their pT is high enough, shape (jets,).
        good: events in certified sections that pass the MET filters and a trigger, as far as asked; shape (events,).
        usable: good events without veto objects and with the muons of a region, shape (events,).
        vetoed: the first veto that strikes, see ``first_veto``; shape (events,).
        muon_objects: all muons; the veto muons count.
        muons: number of veto muons, shape (events,).
        tight: number of muons of the control regions, shape (events,).
        charge: sum of the veto muons' charges, shape (events,); their number in files without charges.
        muon_x: x component in GeV of the veto muons' vector sum, shape (events,).
        muon_y: its y component.
        vertices: number of primary vertices, shape (events,); NaN in files that do not say.
    """

    jets: MarkedObjects
    charged: npt.NDArray[Any]
    neutral: npt.NDArray[Any]
    tagged: Mask
    good: Mask
    usable: Mask
    vetoed: Codes
    muon_objects: MarkedObjects
    muons: Positions
    tight: Positions
    charge: npt.NDArray[Any]
    muon_x: Numbers
    muon_y: Numbers
    vertices: npt.NDArray[Any]

    def muon_limit(self, events: Positions) -> Numbers:
        """What the length of the veto muons' vector sum does not exceed, in GeV, for chosen events."""
        x, y = self.muon_x[events], self.muon_y[events]
        return np.asarray(1.0001 * np.sqrt(x * x + y * y))  # hypot costs ten times as much for the last bit

    def of(self, events: Positions) -> Objects:
        """Those of chosen events, brought together."""
        jets, jet_places = of_events(self.jets, events)
        muons, _ = of_events(self.muon_objects, events)
        ours: dict[str, Any] = {"jets": jets, "muon_objects": muons}
        ours |= {name: gathered(getattr(self, name), jet_places) for name in ("charged", "neutral", "tagged")}
        others = [item.name for item in fields(self) if item.name not in ours]
        return Objects(**ours | {name: gathered(getattr(self, name), events) for name in others})


@dataclass(frozen=True)
class Selected:
    """Events of one variation that pass the cuts of all regions, and for the nominal one those that fail one of them.

    Attributes:
        shared: the events that were followed, with the cuts that all regions share.
        inner: those of them with all observables: the ones that pass.
        cuts: the other cuts of the inner events by region and name.
    """

    shared: Funnel
    inner: Funnel
    cuts: dict[str, dict[str, Mask]]

    def mask(self, region: str) -> npt.NDArray[np.bool_]:
        """Which of the inner events are in a region."""
        return np.asarray(np.logical_and.reduce([self.inner.passed(), *self.cuts[region].values()]), dtype=np.bool_)


class MonoJet(processor.ProcessorABC):  # type: ignore[misc]
    """Fills recoil and jet spectra of the signal region and the muon control regions."""

    Parameters = MonoJetParameters
    whole_files = False
    regions = REGIONS
    categories = ("jets",)  # 4 stands for more as well
    corrections = ("golden_json", "met_filters", "triggers", "pileup", "jet_energy")
    region_columns = (
        "recoil",
        "MET",
        "jet_pt",
        "jet_eta",
        "charged_fraction",
        "neutral_fraction",
        "min_dphi",
        "b_jets",
        "dimuon_mass",
        "jet_phi",
        "jets",
        "second_jet_pt",
        "second_jet_eta",
        "ht",
        "dphi_jet_met",
        "muon_pt",
        "muon_eta",
        "second_muon_pt",
        "transverse_mass",
        "vertices",
    )

    def __init__(self, settings: SearchSettings[MonoJetParameters], scorer: Scorer | None = None) -> None:
        """Prepare for any number of chunks.

        Args:
            settings: settings of the search.
            scorer: scores the events; None for a search without an operator.
        """
        self.settings = settings
        self.scorer = scorer
        self.observables = (
            Observable("recoil", settings.parameters.bins.recoil, "recoil", "GeV"),
            Observable("jet_pt", tuple(np.linspace(0.0, 1500.0, 31)), r"leading jet $p_T$", "GeV"),
            Observable("jet_eta", tuple(np.linspace(-5.0, 5.0, 21)), r"leading jet $\eta$"),
            Observable("charged_fraction", tuple(np.linspace(0.0, 1.0, 21)), "leading jet charged fraction"),
            Observable("neutral_fraction", tuple(np.linspace(0.0, 1.0, 21)), "leading jet neutral fraction"),
            Observable("min_dphi", tuple(np.linspace(0.0, 3.2, 17)), r"min $\Delta\phi$(jet, recoil)", "rad"),
            Observable("b_jets", tuple(np.arange(-0.5, 5.5)), "b-tagged jets"),
            Observable("dimuon_mass", tuple(np.linspace(60.0, 120.0, 31)), r"$m_{\mu\mu}$", "GeV"),
            Observable("MET", tuple(np.linspace(0.0, 1500.0, 31)), r"$p_T^{miss}$", "GeV"),
            Observable("jet_phi", tuple(np.linspace(-3.2, 3.2, 17)), r"leading jet $\phi$", "rad"),
            Observable("jets", tuple(np.arange(-0.5, 11.5)), "jets"),
            Observable("second_jet_pt", tuple(np.linspace(0.0, 900.0, 31)), r"second jet $p_T$", "GeV"),
            Observable("second_jet_eta", tuple(np.linspace(-5.0, 5.0, 21)), r"second jet $\eta$"),
            Observable("ht", tuple(np.linspace(0.0, 2400.0, 31)), r"$H_T$", "GeV"),
            Observable(
                "dphi_jet_met", tuple(np.linspace(0.0, 3.2, 17)), r"$\Delta\phi$(leading jet, $p_T^{miss}$)", "rad"
            ),
            Observable("muon_pt", tuple(np.linspace(0.0, 900.0, 31)), r"leading muon $p_T$", "GeV"),
            Observable("muon_eta", tuple(np.linspace(-2.5, 2.5, 21)), r"leading muon $\eta$"),
            Observable("second_muon_pt", tuple(np.linspace(0.0, 450.0, 31)), r"second muon $p_T$", "GeV"),
            Observable("transverse_mass", tuple(np.linspace(0.0, 160.0, 17)), r"$m_T$(muon, $p_T^{miss}$)", "GeV"),
            Observable("vertices", tuple(np.linspace(-0.5, 79.5, 41)), "primary vertices"),
        )

    @staticmethod
    def thresholds(parameters: MonoJetParameters) -> dict[str, tuple[float, str]]:
        """The cuts of the signal region by observable, with the side that they keep, for the plots."""
        return {
            "recoil": (parameters.recoil_min, "above"),
            "jet_pt": (parameters.jet_pt_min, "above"),
            "jet_eta": (parameters.jet_abs_eta_max, "below"),
            "charged_fraction": (parameters.charged_fraction_min, "above"),
            "neutral_fraction": (parameters.neutral_fraction_max, "below"),
            "min_dphi": (parameters.dphi_min, "above"),
            "b_jets": (0.5, "below"),
        }

    def scored_events(self, events: ak.Array) -> ak.Array:
        """The events of the signal region, which the operator sees, with the field ``entry``."""
        builder = OutputBuilder(str(events.metadata["dataset"]), self.observables)
        found, _, read = self._evaluate(events, builder)
        chosen = found.inner.events[found.mask("signal")]
        numbered = ak.with_field(events, event_numbers(events)["entry"], "entry")
        return read.replaced_in(numbered)[chosen]

    def process(self, events: ak.Array) -> Output:
        """Fill one chunk."""
        builder = output_builder(events, self.observables, self.scorer, self.settings.candidates)
        found, weights, read = self._evaluate(events, builder)
        if self.scorer is not None:
            self._fill_scores(events, builder, found, weights, read)
        return builder.output()

    def postprocess(self, accumulator: Output) -> Output:
        """Nothing is left to do."""
        return accumulator

    def _evaluate(self, events: ak.Array, builder: OutputBuilder) -> tuple[Selected, Numbers, EventColumns]:
        """Fill all variations; the events of the nominal one, the weights and columns of all events are returned."""
        parameters = self.settings.parameters
        require_columns(events, ("Jet.pt", "Jet.eta", "Jet.phi", f"{parameters.met}.pt", f"{parameters.met}.phi"))
        noted: dict[str, None] = {}

        def note(text: str) -> None:
            noted.setdefault(text)

        corrections, plain = self.settings.corrections, EventColumns(events)
        plain.load([*self.wanted(plain), *corrections.columns_needed(plain)])
        read = corrections.corrected(plain, parameters.met, self.settings.systematics, note)
        leptons = self._leptons(read, note)
        generated = generator_weights(events)
        pileup = corrections.pileup_factors(events, generated, builder.tally, note)
        factors = weight_variations(events, self.settings.systematics, note, pileup)
        weights = generated * factors["nominal"]
        quality = corrections.quality(events, note)
        objects = self._objects(read, leptons, quality, note)
        found = self._select(unshifted(read, objects.jets, parameters.met), objects)
        for name, factor in factors.items():  # the nominal one first
            self._fill(builder, name, found, generated * factor)
        self._cutflow(builder, found, weights, quality)
        self._all_cuts_but_one(builder, found, objects, weights)
        self._fill_shifts(builder, read, objects, weights, note)
        for text in noted:
            builder.note(text, len(events))
        return found, weights, read

    def _fill_shifts(
        self, builder: OutputBuilder, read: EventColumns, objects: Objects, weights: Numbers, note: Note
    ) -> None:
        """Fill the variations of the jets, with the events alone that can be in a region in one of them."""
        parameters = self.settings.parameters
        if read.is_data or not shifts_of_jets(self.settings.systematics):
            return
        varied = (parameters.met, self.settings.systematics, parameters.shifts)
        usable = np.flatnonzero(objects.usable)
        limit = met_limit(read, objects.jets, *varied, usable) + objects.muon_limit(usable)
        chosen = usable[~(limit < parameters.recoil_min)]
        few = objects.of(chosen)
        for shift in jet_shifts(ChosenColumns(read, chosen), few.jets, *varied, note):
            self._fill(builder, shift.name, self._select(shift, few), weights[chosen])

    def wanted(self, read: EventColumns) -> list[str]:
        """The columns that the selection reads."""
        parameters = self.settings.parameters
        wanted = ["genWeight", "puWeight", "puWeightUp", "puWeightDown", "PV.npvs", "Muon.charge"]
        wanted += [f"{parameters.met}.pt", f"{parameters.met}.phi"]
        wanted += [f"Jet.{field}" for field in ("pt", "eta", "phi", "chHEF", "neHEF")]
        if "jet_energy_resolution" in self.settings.systematics:
            wanted += ["Jet.genJetIdx", "GenJet.pt"]
        chosen = {
            "Electron": (parameters.electron,),
            "Muon": (parameters.muon, parameters.tight_muon),
            "Photon": (parameters.photon,),
            "Tau": (parameters.tau,),
            "Jet": (parameters.b_jet,),
        }
        for collection, several in chosen.items():
            wanted += [f"{collection}.{field}" for field in ("pt", "eta", "phi")]
            for cuts in several:
                for alternatives in (cuts.ids, cuts.isolation):
                    names = [f"{collection}.{cut.column}" for cut in alternatives]
                    wanted += [name for name in names if read.has(name)][:1]
        return [name for name in dict.fromkeys(wanted) if read.has(name)]

    def _leptons(self, read: EventColumns, note: Note) -> dict[str, MarkedObjects]:
        """Veto objects by name; ``tight`` are the muons of the control regions."""
        parameters = self.settings.parameters

        def select(collection: str, cuts: ObjectCuts) -> MarkedObjects:
            if parameters.missing_columns == "skip" and not read.has(f"{collection}.pt"):
                note(f"no collection {collection}: its veto was not applied")
                return no_objects(len(read))
            return mark_objects(read, collection, cuts, note)

        electrons, muons = select("Electron", parameters.electron), select("Muon", parameters.muon)
        photons = away_from(select("Photon", parameters.photon), electrons, radius=parameters.overlap)
        taus = away_from(select("Tau", parameters.tau), electrons, muons, radius=parameters.overlap)
        tight = select("Muon", parameters.tight_muon)
        return {"electron": electrons, "muon": muons, "photon": photons, "tau": taus, "tight": tight}

    def _objects(
        self, read: EventColumns, leptons: dict[str, MarkedObjects], quality: Mapping[str, Mask], note: Note
    ) -> Objects:
        muons, jets = leptons["muon"], all_objects(read, "Jet")
        clean = away_from(jets, muons, leptons["electron"], leptons["photon"], radius=self.settings.parameters.overlap)
        charged, neutral = self._fractions(read, note)
        counts, tight = muons.counts, leptons["tight"].counts
        muon_x, muon_y, charge = np.zeros(len(read)), np.zeros(len(read)), counts.copy()
        x, y = muons.vector_sum(muons.pt, muons.directions(), muons.occupied)
        muon_x[muons.occupied], muon_y[muons.occupied] = x, y
        if read.has("Muon.charge"):
            charge[muons.occupied] = muons.total(read.per_object("Muon.charge"), muons.occupied)
        vetoed = first_veto({f"{name} veto": leptons[name].counts for name in ("electron", "photon", "tau")})
        known = (counts == 0) | ((counts == 1) & (tight == 1)) | ((counts == 2) & (tight >= 1) & (charge == 0))
        good = np.logical_and.reduce([np.ones(len(read), np.bool_), *quality.values()])
        return Objects(
            jets=clean,
            charged=charged,
            neutral=neutral,
            tagged=clean.kept & self._taggable(read, jets, note),
            good=good,
            usable=good & known & (vetoed == 0),
            vetoed=vetoed,
            muon_objects=muons,
            muons=counts,
            tight=tight,
            charge=charge,
            muon_x=muon_x,
            muon_y=muon_y,
            vertices=_vertices(read, note),
        )

    def _select(self, shift: JetShift, objects: Objects) -> Selected:
        """Follow the events of one variation through its cuts.

        The nominal events are followed as long as they fail at most one cut, for the plots with all cuts but one;
        those of other variations must pass all of them.
        """
        parameters = self.settings.parameters
        nominal = shift.name == NOMINAL
        # Only the signal region is drawn with all cuts but one: an event with a muon may fail none.
        spared = (objects.muons == 0) & nominal
        jets, pt, fractions = objects.jets, shift.pt, (objects.charged, objects.neutral)
        start = np.flatnonzero(objects.good)
        begun = cut_on_leading_jet(
            self._leading_jet_cuts(), jets, pt, fractions, objects.tagged, objects.vetoed, spared, start
        )
        funnel = Funnel(start, spare=nominal, keep_flow=nominal)
        funnel.add(first=begun.first, b_jets=begun.tagged)
        funnel.start(CUTS, begun.first_failed, begun.failed)
        # Of most events it is known without azimuths that they fail the recoil, and many fail something else as well.
        hopeless = shift.limit(funnel.events) + objects.muon_limit(funnel.events) < parameters.recoil_min
        funnel.drop(hopeless & ~(funnel.of(spared) & funnel.passed()))
        met_x, met_y = shift.met(funnel.events)
        x, y = met_x + funnel.of(objects.muon_x), met_y + funnel.of(objects.muon_y)
        recoil = np.hypot(x, y)
        funnel.add(recoil=recoil, recoil_x=x, recoil_y=y, met_x=met_x, met_y=met_y)
        funnel.cut("recoil", recoil > parameters.recoil_min)
        first = funnel.column("first")
        funnel.add(jet_pt=take(pt, first, absent=0.0), jet_eta=take(jets.eta, first, absent=99.0))
        funnel.add(charged_fraction=take(objects.charged, first), neutral_fraction=take(objects.neutral, first))
        direction = np.arctan2(funnel.column("recoil_y"), funnel.column("recoil_x"))
        near = jet_columns(
            jets,
            pt,
            funnel.events,
            pt_min=parameters.dphi_jet_pt_min,
            most=parameters.dphi_jets,
            direction=direction,
        )
        funnel.add(min_dphi=near.min_dphi, jets=near.number, ht=near.sum_pt, jet_phi=near.phi)
        funnel.add(second_jet_pt=near.second_pt, second_jet_eta=near.second_eta)
        funnel.cut("min_dphi", near.min_dphi > parameters.dphi_min)
        # A signal region may cut on anything, so then the plots with all cuts but one need all observables.
        inner = funnel if nominal and self.settings.signal_region is not None else funnel.passing()
        self._add_other_columns(inner, objects)
        return Selected(funnel, inner, self._cuts(inner, objects))

    def _leading_jet_cuts(self) -> LeadingJetCuts:
        parameters = self.settings.parameters
        return LeadingJetCuts(
            pt_min=parameters.jet_pt_min,
            abs_eta_max=parameters.jet_abs_eta_max,
            charged_fraction_min=parameters.charged_fraction_min,
            neutral_fraction_max=parameters.neutral_fraction_max,
            tagged_pt_min=parameters.b_jet.pt_min,
        )

    def _add_other_columns(self, funnel: Funnel, objects: Objects) -> None:
        """Observables that the cuts of all regions do without."""
        muons, pair = objects.muon_objects, objects.muon_objects.first(2, funnel.events)
        x, y, muon_pt = funnel.column("met_x"), funnel.column("met_y"), take(objects.muon_objects.pt, pair[:, 0])
        met, met_phi = np.hypot(x, y), np.arctan2(y, x)
        funnel.add(
            MET=met,
            dphi_jet_met=np.abs(delta_phi(funnel.column("jet_phi"), met_phi)),
            muon_pt=muon_pt,
            muon_eta=take(muons.eta, pair[:, 0]),
            second_muon_pt=take(muons.pt, pair[:, 1]),
            dimuon_mass=pair_mass(muons, pair),
            transverse_mass=transverse_mass(muon_pt, take(muons.phi, pair[:, 0]), met, met_phi),
            vertices=funnel.of(objects.vertices).astype(np.float64),
        )

    def _cuts(self, funnel: Funnel, objects: Objects) -> dict[str, dict[str, Mask]]:
        """The cuts of each region, after those that all regions share."""
        parameters, mass = self.settings.parameters, funnel.column("dimuon_mass")
        muons, tight, charge = funnel.of(objects.muons), funnel.of(objects.tight), funnel.of(objects.charge)
        in_window = (mass > parameters.z_mass[0]) & (mass < parameters.z_mass[1])
        region = self.settings.signal_region
        signal: dict[str, Mask] = {"muon veto": muons == 0}
        if region is not None:
            signal["signal region"] = region.evaluate({name: funnel.column(name) for name in self.region_columns})
        return {
            "signal": signal,
            "dimuon": {"two muons": (muons == 2) & (tight >= 1) & (charge == 0), "Z mass": in_window},
            "single_muon": {
                "one muon": (muons == 1) & (tight == 1),
                "transverse mass": funnel.column("transverse_mass") < parameters.w_mt_max,
            },
        }

    def _fill(self, builder: OutputBuilder, variation: str, found: Selected, weights: Numbers) -> None:
        weights = found.inner.of(weights)
        for region in REGIONS:
            names = [item.name for item in self.observables if region in ONLY_IN.get(item.name, REGIONS)]
            values = {name: found.inner.column(name) for name in names}
            builder.fill_known(region, variation, values, weights, np.flatnonzero(found.mask(region)))

    def _cutflow(self, builder: OutputBuilder, found: Selected, weights: Numbers, quality: Mapping[str, Mask]) -> None:
        builder.cut(REGIONS, "events read", weights)
        good = np.ones(len(weights), np.bool_)
        for step, mask in quality.items():
            good &= mask
            builder.cut(REGIONS, step, weights[good])
        for step, left in found.shared.flow.items():
            builder.cut(REGIONS, STEPS.get(step, step), weights[left])
        for region, steps in found.cuts.items():
            passed = found.inner.passed()
            for step, mask in steps.items():
                passed &= mask
                builder.cut(region, step, weights[found.inner.events[passed]])

    def _all_cuts_but_one(self, builder: OutputBuilder, found: Selected, objects: Objects, weights: Numbers) -> None:
        shared = found.shared
        own = found.cuts["signal"] if found.inner is shared else {"muon veto": shared.of(objects.muons) == 0}
        weights = shared.of(weights)
        for observable in self.observables:
            name = observable.name
            if name not in shared.steps:
                continue
            others = [mask for step, mask in own.items() if not (name == "recoil" and step == "signal region")]
            values = shared.column(name)
            chosen = np.flatnonzero(np.logical_and.reduce([shared.passed(but=[name]), *others]) & ~np.isnan(values))
            if len(chosen):
                builder.fill_known("signal without its cut", NOMINAL, {name: values}, weights, chosen)

    def _fill_scores(
        self, events: ak.Array, builder: OutputBuilder, found: Selected, weights: Numbers, read: EventColumns
    ) -> None:
        scorer = self.scorer
        if scorer is None:
            return
        label = str(events.metadata["file_label"])
        masks = {region: mask for region in REGIONS if (mask := found.mask(region)).any()}
        if not masks:
            return
        every, shown = event_numbers(events), ("recoil", "jet_pt", "jet_eta", "min_dphi")
        indices = [found.inner.events[mask] for mask in masks.values()]
        scored = score_events(scorer, read.replaced_in(events)[np.concatenate(indices)])  # a server is asked once
        parted = np.split(scored, np.cumsum([len(chosen) for chosen in indices[:-1]], dtype=np.int64))
        for (region, mask), chosen, scores in zip(masks.items(), indices, parted, strict=True):
            numbers = {name: values[chosen] for name, values in every.items()}
            parts = self.settings.split.assign(builder.dataset, label, numbers["entry"])
            values = {name: found.inner.column(name)[mask] for name in shown}
            asked = self.settings.category
            categories = {asked: np.minimum(found.inner.column("jets")[mask], 4).astype(np.int64)} if asked else {}
            own = ScoredRegion(region, numbers, weights[chosen], parts, values, categories)
            fill_scores(builder, label, scores, own)

    def _fractions(self, read: EventColumns, note: Note) -> tuple[Any, Any]:
        """Charged and neutral energy fractions of the jets, each of shape (jets,)."""
        parameters = self.settings.parameters
        wanted = {"chHEF": parameters.charged_fraction_min, "neHEF": parameters.neutral_fraction_max}
        found = []
        for field, threshold in wanted.items():
            if read.has(f"Jet.{field}"):
                found.append(read.per_object(f"Jet.{field}"))
                continue
            if parameters.missing_columns == "fail":
                require_columns(read.events, (f"Jet.{field}",))
            note(f"no branch Jet_{field}: the cut at {threshold:g} was not applied")
            found.append(np.full(len(read.per_object("Jet.pt")), np.nan))
        return found[0], found[1]

    def _taggable(self, read: EventColumns, jets: MarkedObjects, note: Note) -> npt.NDArray[np.bool_]:
        cuts = self.settings.parameters.b_jet
        working_point = next((cut for cut in cuts.ids if read.has(f"Jet.{cut.column}")), None)
        if working_point is None or working_point.minimum is None:
            if self.settings.parameters.missing_columns == "fail":
                names = ", ".join(f"Jet_{cut.column}" for cut in cuts.ids)
                raise InputFileError(
                    str(read.events.metadata.get("filename", "events")),
                    f"has none of the b-tagging branches {names}",
                    "Add the file's branch to parameters.b_jet.ids, or set parameters.missing_columns to skip",
                )
            note("no b-tagging branch: the b-jet veto was not applied")
            return np.zeros(len(jets.pt), np.bool_)
        discriminant = read.per_object(f"Jet.{working_point.column}")
        return np.asarray((np.abs(jets.eta) < cuts.abs_eta_max) & (discriminant > working_point.minimum))


def _vertices(read: EventColumns, note: Note) -> npt.NDArray[Any]:
    if read.has("PV.npvs"):
        return read.per_event("PV.npvs")
    note("no branch PV_npvs: the vertices were not counted")
    return np.full(len(read), np.nan)


__all__ = ["IdCut", "MonoJet", "MonoJetParameters", "ObjectCuts"]
