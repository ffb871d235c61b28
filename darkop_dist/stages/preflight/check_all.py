"""All checks of a document in their order; one that fails does not keep the others from being made."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkop_dist.config import DatasetRecord, LoadedDocument, check_datasets, check_parameters, load_document
from darkop_dist.errors import DarkopError, UserError
from darkop_dist.execution import DatasetFiles
from darkop_dist.generation.materialise import is_materialised, materialise
from darkop_dist.runs import cache_directory
from darkop_dist.scoring.contract import Scorer
from darkop_dist.stages.corrections import check_applied, load_corrections
from darkop_dist.stages.preflight.access import check_access
from darkop_dist.stages.preflight.finding import Finding, failure, in_bytes, in_time
from darkop_dist.stages.preflight.model import check_limits, check_scorer, check_training
from darkop_dist.stages.preflight.needs import (
    Needs,
    check_cache,
    check_memory,
    check_space,
    check_time,
    estimate,
    largest_chunk,
)
from darkop_dist.stages.preflight.trial import FIRST_EVENTS, Trial, measure_cost, try_dataset
from darkop_dist.stages.preflight.workers import Asked, ask_workers
from darkop_dist.stages.search import (
    Say,
    Search,
    check_category,
    check_signal_region,
    files_of,
    find_records,
    load_processor,
    refuse_shared_files,
)
from darkop_dist.stages.settings import search_settings

UNKNOWN_TIME_S = 3600.0


@dataclass(frozen=True)
class _Sample:
    """A generated dataset that is not in the cache, of which a few events were made for the trial."""

    seconds: float
    bytes: int


def check_all(path: Path, *, cluster: bool = True, say: Say = lambda _: None, client: Any = None) -> list[Finding]:
    """Make all checks.

    Args:
        path: the document.
        cluster: start or find the workers that the document asks for, and ask them too.
        say: is told what takes long.
        client: a Dask client whose workers are asked instead; it is not closed.

    Returns:
        One finding or more for each check, in the order of the checks.

    Raises:
        UserError: the document or the processor's file cannot be used at all; every mistake is named.
    """
    loaded = load_document(path)
    processor_class = load_processor(loaded)
    parameters = check_parameters(loaded, processor_class.Parameters)
    check_signal_region(loaded, processor_class)
    check_category(loaded, processor_class)
    records = find_records(loaded)
    check_datasets(loaded, records)
    check_applied(loaded, processor_class)
    corrections = load_corrections(loaded, records)
    findings = [Finding("document", path.name, "ok", f"no mistake; {len(records)} datasets")]
    with tempfile.TemporaryDirectory() as folder:
        datasets, samples, found = _find_all(records, loaded, Path(folder), say)
        findings += found
        search = Search(loaded, datasets, processor_class, parameters, corrections)
        finding, scorer = check_scorer(search)
        findings += [finding, *_check_events(search, scorer, samples, cluster=cluster, say=say, client=client)]
    return findings


def _find_all(
    records: Sequence[DatasetRecord], loaded: LoadedDocument, folder: Path, say: Say
) -> tuple[tuple[DatasetFiles, ...], dict[str, _Sample], list[Finding]]:
    """Files of every dataset; of one that is to be generated, a few events made here."""
    cache = cache_directory() / "generated"
    datasets, samples, findings = [], {}, []
    for record in records:
        try:
            if is_materialised(record, cache):
                datasets.append(files_of(materialise(record, cache), loaded.source.parent, loaded.document.access))
                continue
            made, sample = _generate_few(record, folder, say)
        except DarkopError as error:
            findings.append(failure("files", record.name, error))
            continue
        datasets.append(made)
        samples[record.name] = sample
    try:
        refuse_shared_files(datasets)
    except DarkopError as error:
        findings.append(failure("files", "datasets", error))
    return tuple(datasets), samples, findings


def _generate_few(record: DatasetRecord, folder: Path, say: Say) -> tuple[DatasetFiles, _Sample]:
    from darkop_dist.generation.sample import generate

    request = record.generated
    if request is None:
        raise ValueError("only a record that says how it is generated can be generated")
    say(f"generating {FIRST_EVENTS} events of {record.name}")
    file = folder / f"{record.name}.root"
    events = min(FIRST_EVENTS, request.events)
    made = generate(request.process, events, file, seed=request.seed, settings=request.settings)
    scale = request.events / events
    expected = record.model_copy(update={"events": request.events})
    return DatasetFiles(expected, (str(file),)), _Sample(made.wall_s * scale, round(file.stat().st_size * scale))


def _check_events(
    search: Search, scorer: Scorer | None, samples: dict[str, _Sample], *, cluster: bool, say: Say, client: Any
) -> list[Finding]:
    execution, output = search.document.execution, search.document.output_directory
    processor = search.processor(search_settings(search), scorer)
    trials, findings = _try_all(search.datasets, samples, processor, say)
    findings += [*check_training(search, trials, processor), *check_limits(search, trials, processor)]
    asked = Asked(())
    if client is None and execution.where == "local":
        asked = Asked((Finding("workers", "local", "ok", "processes of this machine, with this environment"),))
    elif not cluster:
        asked = Asked((Finding("workers", execution.where, "skipped", "not asked (--no-cluster)"),))
    else:
        say(f"asking the workers ({execution.where})")
        firsts = {trial.dataset.record.name: trial.task.chunk.path for trial in trials}
        real = {name: path for name, path in firsts.items() if name not in samples}
        asked = ask_workers(
            execution, processor, real, output, say=say, client=client, access=search.document.access, scorer=scorer
        )
    needs = _needs(search, trials, processor, say, findings)
    findings += asked.findings
    if needs is not None:
        findings += [check_memory(needs, execution, asked.limit_bytes), *check_time(needs, execution)]
        findings += check_space(needs, output)
    if samples:
        size = sum(sample.bytes for sample in samples.values())
        findings.append(check_cache(cache_directory(), size, ", ".join(samples) + " to be generated"))
    seconds = UNKNOWN_TIME_S if needs is None else needs.total_s / execution.workers
    findings += check_access(search.datasets, seconds)
    return findings


def _try_all(
    datasets: Sequence[DatasetFiles], samples: dict[str, _Sample], processor: Any, say: Say
) -> tuple[list[Trial], list[Finding]]:
    trials, findings = [], []
    for dataset in datasets:
        name = dataset.record.name
        say(f"trying the processor on {name}")
        try:
            trial = try_dataset(dataset, processor)
        except DarkopError as error:
            findings.append(failure("files", name, error))
            continue
        trials.append(trial)
        findings.append(_tried(trial, samples.get(name)))
    return trials, findings


def _tried(trial: Trial, sample: _Sample | None) -> Finding:
    files, events = len(trial.dataset.paths), min(trial.entries, FIRST_EVENTS)
    selected = ", ".join(f"{region} {count}" for region, count in trial.selected.items())
    message = f"{files} file{'s' if files > 1 else ''}; first {events} events processed"
    message += f", selected: {selected}" if selected else ""
    if sample is not None:
        message = f"not in the cache: takes about {in_time(sample.seconds)} of one core and {in_bytes(sample.bytes)}; "
        message += f"{events} events made and processed" + (f", selected: {selected}" if selected else "")
    numbers = {"files": files, "entries": trial.expected_entries}
    return Finding("files", trial.dataset.record.name, "ok", message, numbers=numbers)


def _needs(search: Search, trials: Sequence[Trial], processor: Any, say: Say, findings: list[Finding]) -> Needs | None:
    """What the run will take, measured on the dataset with the most entries in one file."""
    if not trials:
        findings.append(Finding("memory", "all", "skipped", "no dataset could be tried, so nothing was measured"))
        return None
    whole = bool(getattr(search.processor, "whole_files", False))
    chunk_events = search.document.execution.chunk_events
    measured = max(trials, key=lambda trial: trial.entries)
    say(f"measuring time and memory on {measured.dataset.record.name}")
    try:
        cost = measure_cost(measured, processor, largest_chunk(trials, chunk_events, whole_files=whole))
    except UserError as error:
        findings.append(failure("memory", measured.dataset.record.name, error))
        return None
    return estimate(trials, measured, cost, chunk_events, whole_files=whole)
