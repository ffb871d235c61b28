"""Section ``corrections``: files and selections that make simulation comparable with collision data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from darkop_dist.config.section import SECTION, Name, as_tuple

TOTAL = "Total"
"""The uncertainty that stands for all sources together."""
RECOMMENDED = "recommended"
"""MET filters as CMS recommends them for the year."""
SCALE = "jet_energy_scale"
LISTS_OF_FILES = ("golden_json", "luminosity_csv")
PILEUP_FILES = ("file", "data", "data_up", "data_down", "simulation")


Words = Annotated[tuple[Name, ...], BeforeValidator(as_tuple, json_schema_input_type=Name | list[Name])]
Paths = Annotated[tuple[Path, ...], BeforeValidator(as_tuple, json_schema_input_type=Name | list[Name])]
Year = Literal["2015", "2016preVFP", "2016postVFP", "2017", "2018"]


class JetEnergy(BaseModel):
    """Jet energy corrections in correctionlib's JSON, as CMS publishes them (``jet_jerc.json.gz``)."""

    model_config = SECTION

    file: Path
    """The file, ``.json`` or ``.json.gz``."""
    correction: Name
    """For simulation, such as ``Summer19UL16_V7_MC_L1L2L3Res_AK4PFchs``."""
    data: dict[Name, Name] = {}
    """For collision data, by dataset or sample: the corrections differ between eras."""
    uncertainties: Words = ()
    """``Total``, or sources such as ``FlavorQCD``, which stand in the place of the level in the correction's name; or
    full names of corrections. Each source is a nuisance of its own, ``jet_energy_scale_<source>``."""
    resolution: Name | None = None
    """Relative resolution, such as ``Summer20UL16_JRV3_MC_PtResolution_AK4PFchs``: simulation is smeared to that of
    data; without it, it is not."""
    scale_factor: Name | None = None
    """Ratio of the resolutions, such as ``Summer20UL16_JRV3_MC_ScaleFactor_AK4PFchs``."""


class Pileup(BaseModel):
    """Pile-up weights: a correctionlib file, or two histograms of the true number of interactions."""

    model_config = SECTION

    file: Path | None = None
    """correctionlib's JSON, as CMS publishes it (``puWeights.json.gz``)."""
    correction: Name | None = None
    """Its name there, such as ``Collisions16_UltraLegacy_goldenJSON``."""
    data: Path | None = None
    """Instead: the profile of the data, a ROOT file or JSON with ``edges`` and ``values``."""
    data_up: Path | None = None
    """The same with the minimum-bias cross section one standard deviation up; else the profile is stretched."""
    data_down: Path | None = None
    """The same, down."""
    simulation: Path | None = None
    """The profile of the simulation."""
    histogram: Name = "pileup"
    """Name of the histogram in ROOT files."""
    cross_section_uncertainty: Annotated[float, Field(gt=0, lt=0.5)] = 0.046
    """Relative uncertainty of the minimum-bias cross section, by which the data's profile is stretched."""


class Corrections(BaseModel):
    """Corrections and event cleaning. The content of each file is part of what results depend on."""

    model_config = SECTION

    year: Year | None = None
    """Data taking, for the tables of MET filters and triggers, of datasets whose record has no year."""
    golden_json: Paths = ()
    """Certified luminosity sections: CMS golden JSON or ATLAS good-runs list (``.xml``). Other data are left out."""
    luminosity_csv: Paths = ()
    """Luminosity by section as ``brilcalc lumi --byls --output-style csv`` writes it."""
    repeated_sections: Literal["warn", "refuse"] = "warn"
    """Whether limits are refused when two files of a dataset hold the same section, which may be the same events."""
    jet_energy: JetEnergy | None = None
    """Energies of the jets, their uncertainties and resolution."""
    pileup: Pileup | None = None
    """Weights of simulation by the true number of interactions."""
    met_filters: Words = ()
    """``recommended``, or names such as ``Flag_goodVertices``; an event has to pass all."""
    triggers: Words = ()
    """HLT paths, or groups of the year: ``met``, ``single_muon``, ``single_electron``, ``single_photon``, ``jet``; an
    event has to pass one. Prescales are not known."""
    optional: Words = ()
    """Filters and paths that files of collision data may lack; else that is an error."""

    def files(self) -> Iterator[tuple[tuple[str | int, ...], Path]]:
        """Every file with its key path below ``corrections``."""
        for key in LISTS_OF_FILES:
            paths: tuple[Path, ...] = getattr(self, key)
            for index, path in enumerate(paths):
                yield ((key, index) if len(paths) > 1 else (key,)), path
        if self.jet_energy is not None:
            yield ("jet_energy", "file"), self.jet_energy.file
        if self.pileup is not None:
            for key in PILEUP_FILES:
                named: Path | None = getattr(self.pileup, key)
                if named is not None:
                    yield ("pileup", key), named

    def scale_variations(self) -> tuple[str, ...]:
        """Names of the variations that the systematic ``jet_energy_scale`` stands for."""
        sources = self.jet_energy.uncertainties if self.jet_energy is not None else ()
        return tuple(map(scale_variation, sources)) or (SCALE,)


def scale_variation(source: str) -> str:
    """Name of the variation of a source of uncertainty.

    >>> scale_variation("Total"), scale_variation("FlavorQCD")
    ('jet_energy_scale', 'jet_energy_scale_FlavorQCD')
    """
    return SCALE if source == TOTAL else f"{SCALE}_{source}"
