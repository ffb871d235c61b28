"""Section ``datasets``: what is known of a dataset, and how a document names one."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationInfo, field_validator

from darkop_dist.config.section import SECTION, Name, rejected

FILE_SUFFIXES = (".root", ".csv", ".parquet", ".pq")
"""Endings that mark an entry as a file rather than as a name of the catalogue."""

_ROOT = re.compile(r"\.root(\.[0-9*?\[\]-]+)?$", re.IGNORECASE)


EVENT_FORMATS = ("nanoaod", "pfnano", "physlite")
"""Formats whose files hold physics objects under NanoAOD's names, with event numbers and generator weights."""


class DatasetFile(BaseModel):
    """One file of a dataset."""

    model_config = SECTION

    uri: Name
    """Local path, glob or address; ``tar://MEMBERS::ARCHIVE`` names members of a tar archive."""
    bytes: Annotated[int, Field(ge=0)] | None = None
    """Size in bytes, where known."""
    adler32: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None = None
    """Checksum as eight hexadecimal digits, where known."""
    events: Annotated[int, Field(ge=0)] | None = None
    """Number of entries, where known."""
    replicas: tuple[Name, ...] = ()
    """Other addresses of the same file, tried in this order when the first cannot be read."""


class WeightColumns(BaseModel):
    """Where the generator weights of flat columns are."""

    model_config = SECTION

    weight: Name
    """Column of event weights."""
    use: Literal["value", "sign"] = "value"
    """``value`` takes the weight as it is, ``sign`` only its sign."""
    sum_weights: Name | None = None
    """Column that repeats, in every row, the sum of weights generated for the file."""


class PhysliteColumn(BaseModel):
    """Where a column comes from that the mapping of PHYSLITE does not have, or has from elsewhere."""

    model_config = SECTION

    variable: Name
    """Variable of the collection's container, such as ``Width`` for ``AnalysisJetsAuxDyn.Width``."""
    container: str = ""
    """Container of a collection that the mapping does not know, such as ``egammaClusters``."""
    factor: float = 1.0
    """What its values are multiplied by: 1.0e-3 turns MeV into GeV."""
    type: Literal["int8", "int32", "int64", "float32", "float64"] | None = None
    """Type of the column; the variable's own by default."""
    element: Annotated[int, Field(ge=0)] | None = None
    """Position in the inner list, for variables that are lists of lists."""


class GeneratedBy(BaseModel):
    """How a dataset is made on demand."""

    model_config = SECTION

    process: Name
    """Name of a process of the generation room."""
    events: Annotated[int, Field(gt=0)]
    """Number of events."""
    seed: int
    """Seed of the generator."""
    settings: dict[str, float | int | str] = {}
    """Settings that replace the process's own."""


class Doubt(BaseModel):
    """A fact of a dataset that is not certain."""

    model_config = SECTION

    fact: Name
    """Key of the record, such as ``xsec_pb``; it may be absent from the record because of this doubt."""
    why: Name
    """What is not certain, and why."""


def _file_tag(value: object) -> str | None:
    if isinstance(value, str):
        return "<address>"
    return "<file>" if isinstance(value, dict | DatasetFile) else None


FileEntry = Annotated[
    Annotated[Name, Tag("<address>")] | Annotated[DatasetFile, Tag("<file>")],
    Discriminator(
        _file_tag,
        custom_error_type="rejected",
        custom_error_message="must be a path, an address or a mapping with the key uri",
    ),
]


class DatasetRecord(BaseModel):
    """A dataset: what it is, where its files are and how it is normalised."""

    model_config = SECTION

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]
    """The name that documents use: letters, digits, ``_``, ``.`` and ``-``."""
    title: str = ""
    """One line for people."""
    experiment: Literal["CMS", "ATLAS", "simulation"] = "CMS"
    """Whose collisions, or whose simulation."""
    kind: Literal["data", "simulation"]
    """Collision data or simulation."""
    sample: Name | None = None
    """Name of the process in fits and plots; several datasets may share one. The name itself by default."""
    label: str | None = None
    """How plots name the sample; LaTeX between dollar signs."""
    format: Literal["nanoaod", "pfnano", "physlite", "flat", "hdf5"] = "nanoaod"
    """Layout of the files; ``hdf5`` are arrays for machine learning that no stage opens as events."""
    tree: Name = "Events"
    """Name of the tree in ROOT files."""
    files: tuple[FileEntry, ...] = ()
    """The files, or patterns for them; relative paths count from the directory that holds the document or record."""
    file_list: Name | None = None
    """A file that lists the files, in place of ``files``; a relative path counts as those of ``files`` do."""
    file_count: Annotated[int, Field(ge=0)] | None = None
    """Number of files, where known."""
    bytes: Annotated[int, Field(ge=0)] | None = None
    """Size of all files in bytes, where known."""
    generated: GeneratedBy | None = None
    """Set if the dataset is made on demand instead of read."""
    weights: WeightColumns | None = None
    """Where the weights of flat columns are; NanoAOD needs none."""
    columns: dict[Name, PhysliteColumn] = {}
    """More columns of PHYSLITE by NanoAOD's name, such as ``Jet.width``; they replace those of the mapping."""
    allow_empty: bool = False
    """Whether files without rows are expected, as skims have them; otherwise an empty file is an error."""
    events: Annotated[int, Field(ge=0)] | None = None
    """Number of entries in all files, where known."""
    xsec_pb: Annotated[float, Field(gt=0)] | None = None
    """Cross section in pb."""
    filter_efficiency: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Fraction of the generated events that the sample holds."""
    k_factor: Annotated[float, Field(gt=0)] = 1.0
    """Correction of the cross section to higher order."""
    lumi_ifb: Annotated[float, Field(gt=0)] | None = None
    """Integrated luminosity of collision data in 1/fb."""
    year: int | None = None
    """Year of data taking."""
    years: tuple[int, ...] = ()
    """Years whose collisions a simulation stands for, if they are several."""
    dsid: int | None = None
    """Number of the sample in ATLAS."""
    recid: int | None = None
    """Record of the CERN Open Data portal."""
    doi: str | None = None
    """Digital object identifier."""
    licence: str | None = None
    """Licence of the data."""
    provenance: str = ""
    """Where these facts come from."""
    uncertain: tuple[Doubt, ...] = ()
    """Facts that are not certain."""

    @field_validator("file_list")
    @classmethod
    def _one_of_two(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("files"):
            raise rejected("a dataset has files or a file_list: remove one of the two")
        return value

    @field_validator("uncertain")
    @classmethod
    def _facts_are_keys(cls, value: tuple[Doubt, ...]) -> tuple[Doubt, ...]:
        for doubt in value:
            if doubt.fact not in cls.model_fields:
                message = f"a doubt must be about a key of the record, not about {doubt.fact!r}"
                raise rejected(message, value=doubt.fact, choices=cls.model_fields)
        return value

    def doubts(self, fact: str) -> tuple[str, ...]:
        """Why a fact is not certain; empty if it is."""
        return tuple(doubt.why for doubt in self.uncertain if doubt.fact == fact)

    @property
    def uris(self) -> tuple[str, ...]:
        """The files' addresses or patterns, as they were written."""
        return tuple(file if isinstance(file, str) else file.uri for file in self.files)

    @property
    def sample_name(self) -> str:
        """The process that the dataset belongs to in fits and plots."""
        return self.sample or self.name


def _dataset_tag(value: object) -> str | None:
    if isinstance(value, str):
        return "<name>"
    return "<record>" if isinstance(value, dict | DatasetRecord) else None


DatasetEntry = Annotated[
    Annotated[Name, Tag("<name>")] | Annotated[DatasetRecord, Tag("<record>")],
    Discriminator(
        _dataset_tag,
        custom_error_type="rejected",
        custom_error_message="must be a name of the catalogue, a pattern, a file or a mapping that describes a dataset",
    ),
]
"""A name or pattern of the catalogue, a file, or a full record."""


def is_root_file(path: str) -> bool:
    """Whether a path, pattern or address names ROOT files: ``.root``, or ``.root.N`` as ATLAS has it.

    >>> [is_root_file(path) for path in ("a.root", "DAOD_PHYSLITE.1._000001.pool.root.1", "*.root.?", "a.root.csv")]
    [True, True, True, False]
    """
    return _ROOT.search(path) is not None


def is_file_entry(entry: str) -> bool:
    """Whether a dataset entry means files rather than names of the catalogue.

    Anything with a slash or with the ending of a data file means files.

    >>> is_file_entry("data/met_*.root"), is_file_entry("cms-2016*-met")
    (True, False)
    """
    return "/" in entry or entry.lower().endswith(FILE_SUFFIXES) or is_root_file(entry)


def is_pattern(entry: str) -> bool:
    """Whether an entry is a glob over names.

    >>> is_pattern("cms-2016?-met"), is_pattern("cms-2016g-met")
    (True, False)
    """
    return any(character in entry for character in "*?[")
