"""Jet energies from correctionlib: corrections, their uncertainties, and the resolution of the data for simulation.

The energy of the file's correction is undone with ``rawFactor``; what comes instead is propagated to the missing
momentum by the change of the vector sum of the jets above 15 GeV, as type-1 corrections are where both corrections
share their L1 step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from correctionlib import schemav2

from darkop_dist.errors import InputFileError
from darkop_dist.events.corrections.tables import CorrectionTable, table_of
from darkop_dist.events.event_columns import EventColumns, Values
from darkop_dist.events.marked import MarkedObjects, all_objects, changed_sums
from darkop_dist.events.read import require_columns

Note = Callable[[str], None]
Numbers = npt.NDArray[np.float64]
RESOLUTION = "jet_energy_resolution"
RHO = ("fixedGridRhoFastjetAll", "Rho.fixedGridRhoFastjetAll")
"""Where NanoAOD keeps the energy density, Run 2 first."""
PROPAGATED_PT_MIN = 15.0
"""Jets above this pT in GeV, as they are in the file, change the missing momentum."""
MATCH_RADIUS = 0.2
"""Half the cone of the jets: farther away, a generator jet is not theirs."""
MATCH_SIGMAS = 3.0
"""Farther than so many resolutions in pT it is not theirs either."""
DRAWS = table_of(
    "smearing",
    schemav2.Correction.model_validate(
        {
            "name": "normal",
            "version": 1,
            "inputs": [
                {"name": "JetPt", "type": "real"},
                {"name": "JetEta", "type": "real"},
                {"name": "JetPhi", "type": "real"},
                {"name": "event", "type": "int"},
            ],
            "output": {"name": "draw", "type": "real"},
            "data": {
                "nodetype": "hashprng",
                "inputs": ["JetPt", "JetEta", "JetPhi", "event"],
                "distribution": "normal",
            },
        }
    ),
)
"""Standard normal numbers that depend on the jet alone: the same in any chunk, on any machine."""


@dataclass(frozen=True)
class JetEnergies:
    """What is applied to jets.

    Attributes:
        table: file of corrections.
        simulation: correction of simulation.
        data: correction of collision data, by dataset.
        uncertainties: correction with the relative uncertainty, by nuisance such as ``jet_energy_scale_FlavorQCD``.
        resolution: correction with the relative resolution; None for no smearing.
        scale_factor: correction with the ratio of the resolutions.
    """

    table: CorrectionTable
    simulation: str
    data: Mapping[str, str] = field(default_factory=dict)
    uncertainties: Mapping[str, str] = field(default_factory=dict)
    resolution: str | None = None
    scale_factor: str | None = None


def corrected_columns(
    read: EventColumns, met: str, energies: JetEnergies, systematics: Sequence[str], note: Note
) -> dict[str, Values]:
    """Columns that replace those of the file, and the sizes of the variations.

    Args:
        read: the events.
        met: name of the missing momentum.
        energies: what to apply.
        systematics: names of the variations.
        note: is told about what could not be done.

    Returns:
        ``Jet.pt``, ``Jet.mass`` where the file has it, and the missing momentum; for simulation also
        ``Jet.<nuisance>``, the relative size of a scale variation, and ``Jet.jet_energy_resolution_up`` and ``_down``,
        the factor on pT of the resolution's. Empty for data without a correction of their own.

    Raises:
        InputFileError: the file lacks a column that is needed.
        InputValueError: a correction needs another input, or does not cover a value.
    """
    dataset = str((read.events.metadata or {}).get("dataset", ""))
    correction = energies.data.get(dataset) if read.is_data else energies.simulation
    if correction is None:
        note("no jet energy correction is named for these data: their jets are as they are in the file")
        return {}
    jets = all_objects(read, "Jet")
    inputs = _inputs(read, jets, energies, correction)
    corrected = inputs["JetPt"] * energies.table.evaluate(correction, inputs)
    smeared: dict[str, Numbers] = {}
    if not read.is_data and energies.resolution is not None:
        smeared = _smearing(read, jets, corrected, inputs, energies, note)
        corrected = corrected * smeared["nominal"]
    pt = corrected.astype(np.float32)
    found: dict[str, Values] = {"Jet.pt": pt, **_missing_momentum(read, jets, met, pt)}
    if read.has("Jet.mass"):
        ratio = np.divide(corrected, jets.pt, out=np.ones_like(corrected), where=jets.pt > 0)
        found["Jet.mass"] = (read.per_object("Jet.mass") * ratio).astype(np.float32)
    if read.is_data:
        return found
    here = inputs | {"JetPt": pt.astype(np.float64)}
    for name in systematics:
        if name in energies.uncertainties:
            found[f"Jet.{name}"] = energies.table.evaluate(energies.uncertainties[name], here).astype(np.float32)
    if RESOLUTION in systematics and smeared:
        for way in ("up", "down"):
            nominal = smeared["nominal"]
            ratio = np.divide(smeared[way], nominal, out=np.zeros_like(nominal), where=nominal > 0)
            found[f"Jet.{RESOLUTION}_{way}"] = ratio.astype(np.float32)
    return found


def columns_needed(read: EventColumns) -> list[str]:
    """Columns that corrections of jets read, as far as the file has them."""
    names = ["Jet.rawFactor", "Jet.area", "Jet.mass", "Jet.genJetIdx", "GenJet.pt", "GenJet.eta", "GenJet.phi", "event"]
    return [name for name in (*names, *RHO, "run") if read.has(name)]


def _inputs(read: EventColumns, jets: MarkedObjects, energies: JetEnergies, correction: str) -> dict[str, Numbers]:
    """What corrections may ask for, one number per jet, under the names that CMS gives them."""
    require_columns(read.events, ("Jet.rawFactor", "Jet.area"))
    asked = {*energies.table.inputs(correction), *(["Rho"] if energies.resolution else [])}
    raw = jets.pt.astype(np.float64) * (1.0 - read.per_object("Jet.rawFactor").astype(np.float64))
    found = {"JetPt": raw, "JetA": read.per_object("Jet.area"), "JetEta": jets.eta, "JetPhi": jets.phi}
    counts = np.diff(jets.offsets)
    if "Rho" in asked:
        column = next((name for name in RHO if read.has(name)), None)
        if column is None:
            names = " or ".join(name.replace(".", "_") for name in RHO)
            path = str((read.events.metadata or {}).get("filename", "events"))
            raise InputFileError(path, f"has no branch {names}", "Jet corrections need the energy density.")
        found["Rho"] = np.repeat(read.per_event(column), counts)
    if "run" in asked:
        require_columns(read.events, ("run",))
        found["run"] = np.repeat(read.per_event("run"), counts)
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def _missing_momentum(read: EventColumns, jets: MarkedObjects, met: str, pt: Values) -> dict[str, Values]:
    counted = MarkedObjects(jets.offsets, jets.pt > PROPAGATED_PT_MIN, jets.pt, jets.eta, jets.phi)
    sums = changed_sums(counted, pt, jets.directions(), np.arange(len(read)))
    size, angle = (read.per_event(f"{met}.{part}").astype(np.float64) for part in ("pt", "phi"))
    x, y = size * np.cos(angle) - sums[0] + sums[2], size * np.sin(angle) - sums[1] + sums[3]
    return {f"{met}.pt": np.hypot(x, y), f"{met}.phi": np.arctan2(y, x)}


def _smearing(
    read: EventColumns,
    jets: MarkedObjects,
    pt: Numbers,
    inputs: Mapping[str, Numbers],
    energies: JetEnergies,
    note: Note,
) -> dict[str, Numbers]:
    """Factors on pT, nominal and with the scale factor up and down; the hybrid method.

    With a generator jet within half the cone and three resolutions: 1 + (s - 1)(pT - pT(gen)) / pT; without one
    1 + draw * resolution * sqrt(max(s^2 - 1, 0)). Never below zero. CMS recommends this method for Run 2.
    """
    require_columns(read.events, ("event",))
    here = {**inputs, "JetPt": pt}
    resolution = energies.table.evaluate(str(energies.resolution), here)
    numbers = np.repeat(read.per_event("event").astype(np.uint64).view(np.int64), np.diff(jets.offsets))
    draws = DRAWS.evaluate("normal", {**here, "event": numbers})
    difference, matched = _matched(read, jets, pt, resolution, note)
    found = {}
    for way, name in (("nominal", "nom"), ("up", "up"), ("down", "down")):
        factor = energies.table.evaluate(str(energies.scale_factor), {**here, "systematic": name})
        drawn = draws * resolution * np.sqrt(np.maximum(factor**2 - 1.0, 0.0))
        relative = np.divide(difference, pt, out=np.zeros_like(pt), where=pt > 0)
        found[way] = np.maximum(1.0 + np.where(matched, (factor - 1.0) * relative, drawn), 0.0)
    return found


def _matched(
    read: EventColumns, jets: MarkedObjects, pt: Numbers, resolution: Numbers, note: Note
) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Difference in pT to the generator jet in GeV, and whether there is one."""
    names = ("Jet.genJetIdx", "GenJet.pt", "GenJet.eta", "GenJet.phi")
    if not all(read.has(name) for name in names):
        note("no generator jets in the file: all jets are smeared with random numbers")
        return np.zeros(len(pt)), np.zeros(len(pt), np.bool_)
    index = read.per_object("Jet.genJetIdx").astype(np.int64)
    starts, counts = read.offsets("GenJet"), np.diff(jets.offsets)
    here = (index >= 0) & (index < np.repeat(np.diff(starts), counts))
    place = np.where(here, index + np.repeat(starts[:-1], counts), 0)
    if not len(read.per_object("GenJet.pt")):
        return np.zeros(len(pt)), np.zeros(len(pt), np.bool_)
    gen_pt, gen_eta, gen_phi = (read.per_object(name).astype(np.float64)[place] for name in names[1:])
    away = np.hypot(jets.eta - gen_eta, (jets.phi - gen_phi + np.pi) % (2 * np.pi) - np.pi)
    difference = pt - gen_pt
    return difference, here & (away < MATCH_RADIUS) & (np.abs(difference) < MATCH_SIGMAS * resolution * pt)
