"""catalogue: which datasets exist, and which files they are.

A *record* says what a dataset is, where its files are and how it is normalised. Records come from JSON files in
``catalogue/records``, each with its provenance, and from the user's own TOML or JSON files. An *entry* of a document (a
name, a pattern, a file or a record) becomes records here; a record becomes *resolved files*, paths and addresses that
can be opened. Nothing in this room opens the files themselves, and nothing is downloaded.

In: ``Document.datasets`` and ``Document.catalogue``. Out: ``DatasetRecord`` and ``ResolvedFile``. On disk: archives
unpacked once, in ``<cache>/<sha256 of the archive>/files``.
"""

from darkop_dist.catalogue.archive import UnpackedArchive, unpack_archive
from darkop_dist.catalogue.files import ResolvedFile, resolve_files
from darkop_dist.catalogue.records_file import read_records
from darkop_dist.catalogue.search import Catalogue, find_datasets, load_catalogue, record_of_file
from darkop_dist.config.datasets import DatasetFile, DatasetRecord, GeneratedBy, WeightColumns

__all__ = [
    "Catalogue",
    "DatasetFile",
    "DatasetRecord",
    "GeneratedBy",
    "ResolvedFile",
    "UnpackedArchive",
    "WeightColumns",
    "find_datasets",
    "load_catalogue",
    "read_records",
    "record_of_file",
    "resolve_files",
    "unpack_archive",
]
