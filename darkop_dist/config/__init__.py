"""config: the analysis document.

A *document* is one YAML file that describes one search; a *section* is one of its top-level keys, with one file of this
room each. Reading goes YAML -> plain values with lines -> frozen pydantic objects -> checks across sections. Every
mistake is reported at once, each with its line, key path, value and what would be accepted.

- *Relative paths* count from the directory that holds the document. Only ``output``, when it is not given, counts from
  the current directory (``results/<name>``). Environment variables and ``~`` are not expanded.
- A *dataset entry* is a name of the catalogue, a pattern over names, a file (anything with a slash or the ending of a
  data file), or a full *record*.
- A *sample* is a process in fits and plots; several datasets may share one.

In: one ``.yml`` file. Out: ``LoadedDocument``, which holds the ``Document`` and the lines for the checks of later
stages: ``check_datasets`` once the catalogue has been asked, ``check_parameters`` once the processor is known.
"""

from darkop_dist.config.anomaly import CONTROL_REGION, AnomalyDetection
from darkop_dist.config.cluster import Cluster, Tls, parse_duration, parse_size
from darkop_dist.config.corrections import Corrections, JetEnergy, Pileup
from darkop_dist.config.datasets import (
    DatasetFile,
    DatasetRecord,
    GeneratedBy,
    WeightColumns,
    is_file_entry,
    is_pattern,
)
from darkop_dist.config.document import MEASURED, Document, luminosity_ifb, slug
from darkop_dist.config.execution import Execution, check_cluster, kind_of
from darkop_dist.config.limits import P_VALUE, Limits
from darkop_dist.config.load import (
    LoadedDocument,
    check_datasets,
    check_parameters,
    load_document,
    resolve_paths,
    resolve_record,
)
from darkop_dist.config.operator import Operator, Training
from darkop_dist.config.processor import ProcessorReference, parse_processor
from darkop_dist.config.report import Report
from darkop_dist.config.schema import document_schema
from darkop_dist.config.selection import Selection, Term, parse_selection

__all__ = [
    "CONTROL_REGION",
    "MEASURED",
    "P_VALUE",
    "AnomalyDetection",
    "Cluster",
    "Corrections",
    "DatasetFile",
    "DatasetRecord",
    "Document",
    "Execution",
    "GeneratedBy",
    "JetEnergy",
    "Limits",
    "LoadedDocument",
    "Operator",
    "Pileup",
    "ProcessorReference",
    "Report",
    "Selection",
    "Term",
    "Tls",
    "Training",
    "WeightColumns",
    "check_cluster",
    "check_datasets",
    "check_parameters",
    "document_schema",
    "is_file_entry",
    "is_pattern",
    "kind_of",
    "load_document",
    "luminosity_ifb",
    "parse_duration",
    "parse_processor",
    "parse_selection",
    "parse_size",
    "resolve_paths",
    "resolve_record",
    "slug",
]
