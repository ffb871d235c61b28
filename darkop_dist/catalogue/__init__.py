"""catalogue: which datasets exist, and which files they are.

A *record* says what a dataset is, where its files are and how it is normalised. Records come from JSON files in
``catalogue/records``, each with its provenance, and from the user's own TOML or JSON files. An *entry* of a document (a
name, a pattern, a file or a record) becomes records here; a record becomes *resolved files*, paths and addresses that
can be opened. Long lists of files stand in *file lists*, which are read when a dataset is looked up. A *query* asks the
CERN Open Data portal or the ATLAS Open Data service for records. What is not certain in a record is a *doubt*.
docs/catalogue.md has the format, the names and the doubts. A file can be *fetched* from a server to its place, resumed
and checked, and kept in the *cache* of downloads below a ceiling; how bytes come from a server is the business of the
*transport*, which another room brings. Nothing in this room looks into the files themselves.

In: ``Document.datasets`` and ``Document.catalogue``. Out: ``DatasetRecord`` and ``ResolvedFile``. On disk: archives
unpacked once, in ``<cache>/archives/<sha256 of the archive>/files``; ``<cache>/downloads`` (see ``cache.py``); record
files that a query writes.
"""

from darkop_dist.catalogue.archive import UnpackedArchive, unpack_archive
from darkop_dist.catalogue.file_lists import with_files
from darkop_dist.catalogue.files import ResolvedFile, resolve_files
from darkop_dist.catalogue.records_file import read_records
from darkop_dist.catalogue.search import Catalogue, find_datasets, load_catalogue, record_of_file
from darkop_dist.config.datasets import DatasetFile, DatasetRecord, Doubt, GeneratedBy, WeightColumns

__all__ = [
    "Catalogue",
    "DatasetFile",
    "DatasetRecord",
    "Doubt",
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
    "with_files",
]
