"""Stage two: one pass over the events, locally or on Dask."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from darkop_dist.config.datasets import EVENT_FORMATS
from darkop_dist.errors import InputValueError
from darkop_dist.events.identity import identity_size
from darkop_dist.execution import Chunk, Ledger, Task, Watch, execute, plan_chunks
from darkop_dist.execution.execute import cluster_of, look_on
from darkop_dist.execution.plan import Look, look_here
from darkop_dist.execution.timeline import RunClock
from darkop_dist.execution.who import worker_name
from darkop_dist.histograms import HistogramSet, load_histograms, save_candidates, save_groups, save_histograms
from darkop_dist.runs import RunDirectory, write_json
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.waiting import is_elsewhere
from darkop_dist.stages.luminosity import write_luminosity
from darkop_dist.stages.search import Search
from darkop_dist.stages.settings import search_settings

CUTFLOW_SCHEMA = "darkop.cutflow/1"
INPUTS_SCHEMA = "darkop.inputs/1"
Planned = Callable[[Sequence[Chunk]], None]


@dataclass(frozen=True)
class EventsResult:
    """What the pass over the events gave.

    Attributes:
        ledger: what became of every chunk.
        histograms: everything that was filled.
    """

    ledger: Ledger
    histograms: HistogramSet


def run_events(
    search: Search,
    run: RunDirectory,
    scorer: Scorer | None,
    *,
    planned: Planned = lambda _: None,
    watch: Watch | None = None,
    earlier: RunDirectory | None = None,
) -> EventsResult:
    """Read, select, score and fill every chunk; writes ledger, timeline, histograms, cutflow and candidates.

    Args:
        search: the search.
        run: where the files go.
        scorer: scores the events; None for a search without an operator.
        planned: is told the plan.
        watch: is told what happens.
        earlier: a run whose results are taken up where they still hold.

    Raises:
        UserError: a file or a value in it cannot be used.
        ChunkError: the processor failed.
    """
    processor = search.processor(search_settings(search), scorer)
    stores = () if earlier is None else (earlier.chunks,)
    watch = watch or Watch()
    settings = search.document.execution
    with cluster_of(settings, watch) as client:
        tasks = plan_tasks(search, scorer.fingerprint if scorer else None, look_on(client))
        planned([task.chunk for task in tasks])
        write_json(run.inputs, INPUTS_SCHEMA, {"files": list_inputs(tasks)})
        began_s = time.time()
        result = execute(
            tasks,
            processor,
            settings,
            store=run.chunks,
            earlier=stores,
            watch=watch,
            client=client,
            performance=run.performance,
            waits=is_elsewhere(scorer),
        )
    RunClock(began_s, result.ended_s, settings.workers, result.merges, worker_name()).save(run.timeline)
    if result.unkept:
        watch.say(f"results that cannot be packed were not kept for a resume: {result.unkept}")
    fingerprint = scorer.fingerprint if scorer else None
    result.ledger.save(run.ledger)
    data = [record.name for record in search.records if record.kind == "data"]
    write_luminosity(search.document.corrections, data, result.ledger, run.lumi)
    output = processor.postprocess(result.output) if result.output is not None else None
    if output is None:
        result.ledger.require_closed()
        raise InputValueError(search.document.name, "no chunk gave a result", "Look at the ledger")
    histograms = HistogramSet(
        histograms=output["histograms"],
        score_counts=output["score_counts"],
        fingerprint=fingerprint,
        ledger_digest=result.ledger.digest,
        score_weights=output.get("score_weights"),
        weight_sizes=output.get("weight_sizes", {}),
        category_counts=output.get("category_counts"),
    )
    save_histograms(run.histograms, histograms)
    write_json(run.cutflow, CUTFLOW_SCHEMA, _cutflow_content(output))
    save_candidates(run.candidates, output["candidates"].table)
    if output.get("score_groups") is not None:
        save_groups(run.groups, output["score_groups"])
    return EventsResult(result.ledger, load_histograms(run.histograms))


def plan_tasks(search: Search, fingerprint: str | None, look: Look = look_here) -> tuple[Task, ...]:
    """The chunks of a search, each with what a worker needs.

    Args:
        search: the search.
        fingerprint: of the operator; None without one.
        look: opens the files; in this process by default.
    """
    execution = search.document.execution
    whole = bool(getattr(search.processor, "whole_files", False))
    plan = plan_chunks(
        search.datasets, chunk_events=execution.chunk_events, whole_files=whole, retries=execution.retries, look=look
    )
    records = {record.name: record.model_copy(update={"files": ()}) for record in search.records}
    return tuple(
        Task(
            chunk,
            records[chunk.dataset],
            execution.retries,
            fingerprint,
            execution.chunk_timeout_s,
            search.document.access,
        )
        for chunk in plan
    )


def list_inputs(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Every file of a plan once: where it was found, how large it is and what tells it from every other."""
    files: dict[tuple[str, str], dict[str, Any]] = {}
    for task in tasks:
        chunk, layout = task.chunk, task.record.format
        file = files.setdefault(
            (chunk.dataset, chunk.label),
            {
                "dataset": chunk.dataset,
                "label": chunk.label,
                "path": chunk.path,
                "bytes": identity_size(chunk.identity),
                "entries": chunk.file_entries,
                "identity": chunk.identity,
            },
        )
        if chunk.lost:
            file["lost"] = chunk.lost
        elif task.record.kind == "simulation" and layout in EVENT_FORMATS and chunk.file_sum_weights is None:
            file["generated_unknown"] = True
    return list(files.values())


def normalisation_scales(
    search_records: Any, ledger: Ledger, lumi_ifb: float | None, *, measured: bool = False
) -> dict[str, float]:
    """Factors from raw weights to expected events, by dataset: 1 for data.

    The factor is xsec x k-factor x filter efficiency x luminosity / sum of weights of what was processed. If collision
    data were lost, the luminosity counts by the fraction of their entries that was processed, which takes the loss for
    a fair sample of the data; a luminosity that was measured needs no such factor. Simulation without cross section
    or luminosity stays at its raw weights.

    Args:
        search_records: the dataset records.
        ledger: says what was processed.
        lumi_ifb: integrated luminosity in 1/fb.
        measured: whether it is that of the data that were processed.

    Raises:
        InputValueError: the sum of weights of a dataset is zero, negative or not finite.
    """
    sums = {closure.dataset: closure.sum_weights for closure in ledger.closure()}
    if lumi_ifb is not None and not measured:
        lumi_ifb *= data_fraction(search_records, ledger)
    scales = {}
    for record in search_records:
        scales[record.name] = 1.0
        sum_weights = sums.get(record.name)
        if record.kind == "data":
            continue
        if sum_weights is not None and not (np.isfinite(sum_weights) and sum_weights > 0):
            raise InputValueError(
                f"dataset {record.name}",
                f"the total generator weight is {sum_weights:g}: it must be a positive number to normalise with",
                "Check the weight column of its files, or leave the dataset out",
            )
        if record.xsec_pb is None or lumi_ifb is None:
            continue
        if sum_weights is None:
            raise InputValueError(
                f"dataset {record.name}",
                "has a cross section, but its files do not say how much was generated",
                "Name the column with weights.sum_weights, or use files with genWeight or a Runs tree",
            )
        expected = record.xsec_pb * record.k_factor * record.filter_efficiency * lumi_ifb * 1000.0
        scales[record.name] = expected / sum_weights
    return scales


def data_fraction(records: Any, ledger: Ledger) -> float:
    """Fraction of the entries of collision data that was processed; 1 without collision data.

    A lost file of which nobody knows how many entries it holds counts as one of average size.
    """
    names = {record.name for record in records if record.kind == "data"}
    closures = [closure for closure in ledger.closure() if closure.dataset in names]
    expected = sum(found.expected * found.files / max(found.files - found.files_lost, 1) for found in closures)
    return sum(closure.processed for closure in closures) / expected if expected else 1.0


def _cutflow_content(output: Mapping[str, Any]) -> dict[str, Any]:
    """What cutflow.json holds."""
    return {"cutflow": _plain(output["cutflow"]), "notes": output["notes"], "tallies": output.get("tallies", {})}


def _plain(cutflow: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The cutflow as lists of [step, events, sum of weights]."""
    return {
        dataset: {
            region: [[step, int(numbers[0]), float(numbers[1])] for step, numbers in steps.items()]
            for region, steps in regions.items()
        }
        for dataset, regions in cutflow.items()
    }
