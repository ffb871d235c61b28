"""Results and models of a run, or of workspaces in files, in the formats of other programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from darkop_dist.config import slug
from darkop_dist.errors import InputFileError, StatisticsError, UnknownNameError, UserError
from darkop_dist.limits import LimitsFile, SignalResult, Workspace, fit, upper_limit
from darkop_dist.limits.interchange import (
    Cutflow,
    Facts,
    Interchange,
    datacard,
    hepdata_submission,
    patchset,
    read_datacard,
)
from darkop_dist.limits.interchange.files import require_absent, united
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.context import RunContext, load_context
from darkop_dist.stages.limits import workspace_path

CARD_SUFFIX = ".txt"


@dataclass(frozen=True)
class Export:
    """What to write.

    Attributes:
        sources: a run directory, or workspaces in JSON, or datacards of Combine.
        to: the format.
        output: the directory to make.
        labels: axes of a grid of signals, such as ``m_zprime``.
        points: place of each signal on the axes.
    """

    sources: tuple[Path, ...]
    to: str
    output: Path
    labels: tuple[str, ...] = ()
    points: Mapping[str, tuple[float, ...]] | None = None


@dataclass(frozen=True)
class _Material:
    """What there is to export, by signal.

    Attributes:
        workspaces: the models.
        results: limits and fits; empty until they are needed.
        facts: what is known of the search.
    """

    workspaces: dict[str, Workspace]
    results: tuple[SignalResult, ...]
    facts: Facts


def export(request: Export) -> Interchange:
    """Write a run or workspaces in another format.

    Args:
        request: what to write.

    Returns:
        What was written, with notes on what is not exact.

    Raises:
        UnknownNameError: a format that does not exist.
        InputFileError: a source that cannot be read.
        OutputError: the directory exists already or cannot be written.
        StatisticsError: what the format cannot express, by name.
    """
    if request.to not in FORMATS:
        raise UnknownNameError("format", request.to, FORMATS, f"The formats are {', '.join(FORMATS)} and rocrate.")
    require_absent(request.output)
    made = FORMATS[request.to](_material(request.sources), request)
    made.save(request.output)
    return made


def _material(sources: Sequence[Path]) -> _Material:
    if len(sources) == 1 and sources[0].is_dir():
        return _of_run(RunDirectory(sources[0]))
    found: dict[str, Workspace] = {}
    for source in sources:
        workspace = read_datacard(source) if source.suffix == CARD_SUFFIX else Workspace.load(source)
        name = workspace.signal if len(sources) == 1 and workspace.signal else source.stem
        if name in found:
            raise UserError(f"two files are named {name}; the signals are told apart by their files' names")
        found[name] = workspace
    return _Material(found, (), Facts())


def _of_run(run: RunDirectory) -> _Material:
    context = load_context(run)
    results = LimitsFile.load(run.require(run.limits, "darkop limits")).results
    workspaces = {result.signal: Workspace.load(_place(context, result.signal)) for result in results}
    for result in results:
        if workspaces[result.signal].sha256 != result.workspace_sha256:
            problem = "is not the workspace that limits.json was made from"
            raise InputFileError(str(_place(context, result.signal)), problem, "Run darkop limits again.")
    return _Material(
        {name: _with_edges(workspace, results) for name, workspace in workspaces.items()}, results, _facts(context)
    )


def _place(context: RunContext, signal: str) -> Path:
    return context.run.require(workspace_path(context, signal), "darkop limits")


def _with_edges(workspace: Workspace, results: Sequence[SignalResult]) -> Workspace:
    """The workspace with its bin edges, which its file does not hold but the fits do."""
    fits = [result.background_fit for result in results if result.background_fit is not None]
    edges = {region.region: region.edges for fitted in fits for region in fitted.prefit}
    return Workspace(workspace.signal, workspace.spec, workspace.observed, edges, workspace.notes)


def _facts(context: RunContext) -> Facts:
    section = context.document.limits
    histograms = context.histograms.histograms
    name = (section.observable if section else None) or next(iter(histograms))
    title = re.fullmatch(r"(?P<label>.*?)(?:\s*\[(?P<unit>[^\]]*)\])?", str(histograms[name].axes[-1].label or name))
    cutflows = [
        Cutflow(
            region=region,
            dataset=dataset,
            steps=tuple(str(step) for step, _, _ in steps),
            events=tuple(float(weight) * context.scales[dataset] for _, _, weight in steps),
        )
        for dataset, regions in context.cutflow.items()
        for region, steps in regions.items()
    ]
    return Facts(
        description=" ".join(f"{context.document.name}. {context.document.description}".split()),
        sqrt_s_tev=context.document.energy_tev,
        lumi_ifb=context.lumi_ifb,
        observable=title["label"] if title else name,
        unit=(title["unit"] or "") if title else "",
        cutflows=tuple(cutflows),
    )


def _results_of(signal: str, workspace: Workspace) -> SignalResult:
    """Limits and fit of a workspace from a file."""
    if not workspace.signal_rows:
        raise StatisticsError(
            f"the workspace {signal} has no signal: no sample carries its parameter of interest {workspace.poi!r}"
        )
    return SignalResult(
        signal=signal,
        label=signal,
        workspace_sha256=workspace.sha256,
        observed=workspace.observed,
        limit=upper_limit(workspace, signal=signal),
        background_fit=fit(workspace, hypothesis="background-only"),
        signal_fit=None,
        notes=workspace.notes,
    )


def _hepdata(material: _Material, request: Export) -> Interchange:
    results = material.results or tuple(_results_of(name, one) for name, one in material.workspaces.items())
    if request.points and len(request.labels) != 1:
        raise UserError(f"a table of limits has one axis, not {len(request.labels)}; give one label")
    facts = replace(
        material.facts,
        point_label=request.labels[0] if request.labels else "",
        points={name: point[0] for name, point in (request.points or {}).items()},
    )
    return hepdata_submission(results, material.workspaces, facts)


def _combine(material: _Material, _: Export) -> Interchange:
    return united({slug(name) or name: datacard(workspace) for name, workspace in material.workspaces.items()})


def _patchset(material: _Material, request: Export) -> Interchange:
    return patchset(
        material.workspaces,
        labels=request.labels or ("signal",),
        points=request.points,
        description=material.facts.description,
    )


def _pyhf(material: _Material, _: Export) -> Interchange:
    notes = tuple(f"{name}: {note}" for name, workspace in material.workspaces.items() for note in workspace.notes)
    files = {f"{_file_name(name)}.json": workspace.text.encode() for name, workspace in material.workspaces.items()}
    return Interchange(files, notes)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.\-]+", "-", name)


FORMATS: Mapping[str, Callable[[_Material, Export], Interchange]] = {
    "hepdata": _hepdata,
    "combine": _combine,
    "patchset": _patchset,
    "pyhf": _pyhf,
}
