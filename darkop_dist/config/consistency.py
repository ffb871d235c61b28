"""Checks across sections: what each section accepts on its own may still contradict another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from darkop_dist.config.anomaly import CONTROL_REGION, REGION, WEIGHTED, YEAR
from darkop_dist.config.corrections import SCALE, TOTAL, Pileup
from darkop_dist.config.datasets import DatasetRecord, is_file_entry
from darkop_dist.config.document import MEASURED, Document, luminosity_ifb
from darkop_dist.config.execution import check_cluster
from darkop_dist.config.limits import P_VALUE, Limits
from darkop_dist.config.parse import KeyPath
from darkop_dist.config.processor import parse_processor
from darkop_dist.errors import nearest_names


@dataclass(frozen=True)
class Finding:
    """A contradiction.

    Attributes:
        path: key path of the culprit.
        message: what is wrong and what to do.
        nearest: valid choices, nearest first.
    """

    path: KeyPath
    message: str
    nearest: tuple[str, ...] = ()


def check_sections(document: Document) -> Iterator[Finding]:
    """Contradictions that can be seen before the catalogue is asked.

    Args:
        document: a document with resolved paths.

    Yields:
        Every contradiction.
    """
    yield from _check_duplicates(document)
    yield from _check_files(document)
    yield from _check_operator(document)
    yield from _check_corrections(document)
    for key, message, nearest in check_cluster(document.execution):
        yield Finding(("execution", "cluster", *([] if key is None else [key])), message, nearest)
    if document.anomaly_detection is not None and document.operator is None:
        yield Finding(("anomaly_detection",), "p-values need scores: add the section operator, or remove this one")
    yield from _check_anomaly(document)
    for index, entry in enumerate(document.datasets):
        if isinstance(entry, str):
            if document.limits is not None and is_file_entry(entry):
                message = "limits need to know what a file holds: write it as a mapping with name, kind and files"
                yield Finding(("datasets", index), message)
        elif (entry.files or entry.file_list) and entry.generated is not None:
            yield Finding(
                ("datasets", index), "a dataset is either read from files or generated: remove one of the two"
            )
        elif not (entry.files or entry.file_list) and entry.generated is None:
            yield Finding(("datasets", index), "a dataset needs files, or generated to say how it is made")


def check_records(document: Document, records: Sequence[DatasetRecord]) -> Iterator[Finding]:
    """Contradictions between the document and its datasets.

    Args:
        document: the document.
        records: the record of every dataset of the document.

    Yields:
        Every contradiction.
    """
    names = tuple(dict.fromkeys(name for record in records for name in (record.name, record.sample_name)))
    for path, name in _references(document):
        if name not in names:
            message = f"no dataset or sample of this document has this name: must be one of {', '.join(names)}"
            yield Finding(path, message, nearest_names(name, names))
    yield from _check_background(document, records)
    if document.limits is not None:
        yield from _check_limits(document, records)


def _references(document: Document) -> Iterator[tuple[KeyPath, str]]:
    """Every mention of a dataset or sample outside of the section datasets."""
    sections: list[tuple[KeyPath, tuple[str, ...]]] = []
    if document.operator is not None and document.operator.train is not None:
        sections.append((("operator", "train", "datasets"), document.operator.train.datasets))
    if document.anomaly_detection is not None:
        sections.append((("anomaly_detection", "background"), document.anomaly_detection.background))
    if document.limits is not None:
        sections.append((("limits", "signal"), document.limits.signal))
        yield from _samples_of_limits(document.limits)
    for path, names in sections:
        for index, name in enumerate(names):
            if path[0] != "anomaly_detection" or name != CONTROL_REGION:
                yield (*path, index), name


def _samples_of_limits(limits: Limits) -> Iterator[tuple[KeyPath, str]]:
    """Every sample that the statistical model names beside its signals."""
    yield from ((("limits", "normalisation", name), name) for name in limits.normalisation)
    yield from ((("limits", "free_normalisation", name), name) for name in limits.free_normalisation)
    for index, size in enumerate(limits.bin_uncertainties):
        yield ("limits", "bin_uncertainties", index, "sample"), size.sample
    for index, factors in enumerate(limits.transfer_factors):
        for region, names in factors.samples.items():
            yield from ((("limits", "transfer_factors", index, "samples", region), name) for name in names)
    for index, name in enumerate(limits.abcd.replaces if limits.abcd else ()):
        yield ("limits", "abcd", "replaces", index), name


def _check_p_value(document: Document, limits: Limits) -> Iterator[Finding]:
    """The observable p_value needs a calibration and bins, and has a background of its own."""
    if limits.observable != P_VALUE:
        if limits.p_value_bins is not None:
            yield Finding(
                ("limits", "p_value_bins"), f"these are bins of the observable {P_VALUE}: set limits.observable"
            )
        return
    if document.anomaly_detection is None:
        yield Finding(("limits", "observable"), f"{P_VALUE} needs the section anomaly_detection, which calibrates")
    if limits.p_value_bins is None:
        yield Finding(("limits", "p_value_bins"), "the observable p_value needs bins, such as [1e-4, 1e-3, 1e-2]")
    if limits.bins is not None:
        yield Finding(("limits", "bins"), "the observable p_value has p_value_bins: remove this key")
    if len(limits.regions) > 1:
        yield Finding(
            ("limits", "regions"), "the observable p_value has one region: a calibration is used up by its first"
        )
    for key, value in (("transfer_factors", limits.transfer_factors), ("abcd", limits.abcd)):
        if value:
            yield Finding(
                ("limits", key), "the observable p_value has its background from the calibration: remove this key"
            )


def _check_duplicates(document: Document) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, entry in enumerate(document.datasets):
        path: KeyPath = ("datasets", index) if isinstance(entry, str) else ("datasets", index, "name")
        name = entry if isinstance(entry, str) else entry.name
        if name in first:
            yield Finding(path, f"this dataset is given twice, first as datasets[{first[name]}]: keep one")
        first.setdefault(name, index)


def _check_files(document: Document) -> Iterator[Finding]:
    processor = parse_processor(document.processor).file
    if processor is not None and not processor.is_file():
        yield Finding(("processor",), f"no file {processor}: relative paths count from the document's directory")
    for index, path in enumerate(document.catalogue):
        if not path.is_file():
            yield Finding(("catalogue", index), f"no file {path}: relative paths count from the document's directory")


def _check_corrections(document: Document) -> Iterator[Finding]:
    section = document.corrections
    for path, file in section.files():
        if not file.is_file():
            yield Finding(("corrections", *path), f"no file {file}: relative paths count from the document's directory")
    if document.lumi_ifb == MEASURED and not section.luminosity_csv:
        yield Finding(("lumi_ifb",), "a measured luminosity needs corrections.luminosity_csv")
    jets, pileup = section.jet_energy, section.pileup
    if jets is not None and TOTAL in jets.uncertainties and len(jets.uncertainties) > 1:
        path = ("corrections", "jet_energy", "uncertainties")
        yield Finding(path, f"{TOTAL} holds all sources: name it alone, or the sources without it")
    if jets is not None and (jets.resolution is None) != (jets.scale_factor is None):
        yield Finding(("corrections", "jet_energy"), "smearing needs both resolution and scale_factor")
    if jets is not None and SCALE in document.systematics and not jets.uncertainties:
        message = "the systematic jet_energy_scale needs the corrections' uncertainties, such as [Total]"
        yield Finding(("corrections", "jet_energy"), message)
    if jets is not None and "jet_energy_resolution" in document.systematics and jets.resolution is None:
        message = "the systematic jet_energy_resolution needs resolution and scale_factor of the corrections"
        yield Finding(("corrections", "jet_energy"), message)
    if pileup is not None:
        yield from _check_pileup(pileup)


def _check_pileup(pileup: Pileup) -> Iterator[Finding]:
    weights = (pileup.file, pileup.correction)
    profiles = (pileup.data, pileup.simulation)
    if any(weights) == any(profiles) or not (all(weights) or all(profiles)):
        yield Finding(("corrections", "pileup"), "must have file and correction, or data and simulation")
    if (pileup.data_up is None) != (pileup.data_down is None) or (pileup.data_up and pileup.data is None):
        yield Finding(("corrections", "pileup"), "data_up and data_down belong together, beside data")


def _check_operator(document: Document) -> Iterator[Finding]:
    operator = document.operator
    if operator is None:
        return
    if sum(given is not None for given in (operator.checkpoint, operator.train, operator.choose_from)) != 1:
        yield Finding(("operator",), "must have exactly one of checkpoint, train and choose_from")
    if operator.choose_from is not None:
        yield from _check_choice(document, operator.choose_from)
    if operator.train is None:
        return
    train, path = operator.train, ("operator", "train")
    if train.model == "density" and not train.columns:
        yield Finding((*path, "columns"), "the density model needs the columns that it takes")
    if train.model != "density" and train.columns:
        yield Finding((*path, "columns"), "only the density model takes columns: remove this key")
    for column in train.transforms:
        if column not in train.columns:
            message = f"no such column in operator.train.columns: must be one of {', '.join(train.columns) or 'none'}"
            yield Finding((*path, "transforms", column), message, nearest_names(column, train.columns))


def _check_choice(document: Document, models: tuple[str, ...]) -> Iterator[Finding]:
    path, section = ("operator", "choose_from"), document.anomaly_detection
    if len(models) == 1:
        yield Finding(path, "one model is no choice: name it as checkpoint, or name several")
    for index, name in enumerate(models):
        if name in models[:index]:
            yield Finding((*path, index), f"the model {name} is named twice: keep one")
    if section is None or CONTROL_REGION in section.background:
        yield Finding(path, "a choice compares data with datasets named in anomaly_detection.background")
    if document.limits is not None and document.limits.observable == "score":
        yield Finding(
            ("limits", "observable"), "a fit of the score counts the events that chose its model: fit another"
        )


def _check_anomaly(document: Document) -> Iterator[Finding]:
    section = document.anomaly_detection
    if section is None or section.category is None:
        return
    path = ("anomaly_detection", "category")
    if section.method == WEIGHTED:
        yield Finding(path, "weighted p-values have no categories in this version: remove this key, or the method")
    if section.category == REGION and (section.region is not None or CONTROL_REGION in section.background):
        yield Finding(path, "with this category every region calibrates itself: name datasets as background, no region")


def _check_background(document: Document, records: Sequence[DatasetRecord]) -> Iterator[Finding]:
    section = document.anomaly_detection
    if section is None:
        return
    if document.operator is not None and document.operator.choose_from and all(r.kind != "data" for r in records):
        yield Finding(("operator", "choose_from"), "a choice without labels needs collision data")
    chosen = [r for r in records if not {r.name, r.sample_name}.isdisjoint(section.background)]
    if section.method == WEIGHTED and (CONTROL_REGION in section.background or any(r.kind == "data" for r in chosen)):
        message = "collision data have no weights: name simulated datasets as background, or take the method conformal"
        yield Finding(("anomaly_detection", "background"), message)
    if section.category == YEAR:
        for record in records:
            if record.year is None and (record.kind == "data" or record in chosen):
                yield Finding(
                    ("anomaly_detection", "category"), f"the dataset {record.name} has no year: give it, as 2016"
                )


def _check_limits(document: Document, records: Sequence[DatasetRecord]) -> Iterator[Finding]:
    limits = document.limits
    if limits is None:
        return
    luminosity = document.lumi_ifb or luminosity_ifb(document, records)
    simulated = [record for record in records if record.kind == "simulation"]
    if simulated and luminosity is None:
        yield Finding(("lumi_ifb",), "limits with simulation need the integrated luminosity in 1/fb")
    yield from _check_p_value(document, limits)
    if "luminosity" in document.systematics and luminosity is None and limits.lumi_uncertainty is None:
        yield Finding(("limits", "lumi_uncertainty"), "the systematic luminosity needs the relative uncertainty")
    for record in simulated:
        if record.xsec_pb is None and record.generated is None:
            yield Finding(
                _place(document, record), f"limits need the cross section of {record.name}: give xsec_pb in pb"
            )
    for index, name in enumerate(limits.signal):
        if any(record.kind == "data" for record in records if name in {record.name, record.sample_name}):
            yield Finding(("limits", "signal", index), "a signal must be simulation, and this is collision data")
    if not any({record.name, record.sample_name}.isdisjoint(limits.signal) for record in simulated):
        yield Finding(("limits", "signal"), "limits need at least one simulated dataset that is not a signal")


def _place(document: Document, record: DatasetRecord) -> KeyPath:
    for index, entry in enumerate(document.datasets):
        if entry == record.name or (isinstance(entry, DatasetRecord) and entry.name == record.name):
            return ("datasets", index)
    return ("datasets",)
