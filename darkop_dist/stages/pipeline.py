"""All stages of a search in their order."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from darkop_dist.config import Document
from darkop_dist.config.serving import Serving
from darkop_dist.errors import (
    ChunkError,
    DarkopError,
    FingerprintError,
    LedgerError,
    UnknownNameError,
    UserError,
)
from darkop_dist.execution import Chunk, ChunkResult, Watch
from darkop_dist.runs import RunDirectory, start_run
from darkop_dist.scoring.contract import Scorer
from darkop_dist.scoring.resolve import resolve
from darkop_dist.stages.calibrate import calibrate_run, write_displays
from darkop_dist.stages.choose import choose_operator
from darkop_dist.stages.context import load_context, save_document
from darkop_dist.stages.foreign import is_foreign, run_foreign_document
from darkop_dist.stages.limits import write_limits
from darkop_dist.stages.open_run import put_open_run
from darkop_dist.stages.provenance import Stopwatch, write_provenance
from darkop_dist.stages.report import write_report
from darkop_dist.stages.run_events import run_events
from darkop_dist.stages.search import Search, prepare_search
from darkop_dist.stages.served import keep_served
from darkop_dist.stages.sources import keep_sources
from darkop_dist.stages.train import train_operator
from darkop_dist.stages.training_record import is_trained, note_training, plan_training, require_whole_training

KEPT = "what was processed is kept: darkop run --resume goes on with it, --force begins anew"


class Monitor(Protocol):
    """Whoever watches a run."""

    def say(self, text: str) -> None:
        """Something happens that takes a while."""

    def planned(self, chunks: Sequence[Chunk]) -> None:
        """These chunks will be processed."""

    def processed(self, result: ChunkResult) -> None:
        """A chunk has been processed, taken over from an earlier run, or given up."""

    def dashboard(self, link: str) -> None:
        """The Dask dashboard can be seen there."""


@dataclass(frozen=True)
class Silent:
    """Watches without a word."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def planned(self, chunks: Sequence[Chunk]) -> None:
        """Say nothing."""

    def dashboard(self, link: str) -> None:
        """Say nothing."""

    def processed(self, result: ChunkResult) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Request:
    """What to run and where to.

    Attributes:
        document: path of the analysis document.
        output: directory of the result; the document's by default.
        force: replace an existing result.
        resume: take up what an unfinished or finished run at that place has processed, where it still holds.
        accept_loss: datasets whose lost events are accepted.
        arguments: the command line, for the provenance.
        cached: read remote files from the cache, fetched first if need be.
        taught: a directory with the ``checkpoint`` that an earlier run trained or chose, and its ``training.json`` or
            ``choice.json``: it is taken instead of training or choosing again.
        generated: where datasets are generated and looked for; the cache by default.
        page: draw the result page.
    """

    document: Path
    output: Path | None = None
    force: bool = False
    resume: bool = False
    accept_loss: Sequence[str] = ()
    arguments: list[str] = field(default_factory=lambda: ["darkop", "run"])
    cached: bool = False
    taught: Path | None = None
    generated: Path | None = None
    page: bool = True


def run_search(request: Request, monitor: Monitor | None = None) -> RunDirectory:
    """Run a search from its document to its page.

    The result appears at its place when it is whole, and not at all if a stage fails. A run that lost events takes the
    place of no other that holds more.

    Args:
        request: what to run.
        monitor: is told what happens.

    Returns:
        The directory of the result.

    Raises:
        UserError: the document, its files or the output cannot be used.
        RunError: the run failed.
    """
    watch = monitor or Silent()
    stopwatch = Stopwatch()
    pending = None
    try:
        with stopwatch.stage("prepare"):
            output = output_of(request)
            pending = start_run(output, force=request.force, resume=request.resume)
            if is_foreign(request.document):
                return run_foreign_document(request, pending, watch)
            search = prepare_search(request.document, cached=request.cached, say=watch.say, generated=request.generated)
            _require_datasets(search, request.accept_loss)
            save_document(search, pending.run)
            sources = keep_sources(search, pending.run)
        run = pending.run
        with stopwatch.stage("operator"):
            earlier = [pending.earlier] if pending.earlier else []
            taught = RunDirectory(request.taught) if request.taught else None
            scorer = _taught(search, run, taught) if taught else operator_of(search, run, watch, earlier)
            if search.document.operator is not None and scorer is not None:
                keep_served(run, search.document.operator, scorer)
        with stopwatch.stage("events"):
            watch.say("reading, selecting, scoring and filling")
            whom = Watch(watch.say, watch.processed, watch.dashboard)
            result = run_events(search, run, scorer, planned=watch.planned, watch=whom, earlier=pending.earlier)
        note = partial(
            write_provenance,
            search,
            run,
            stopwatch,
            fingerprint=scorer.fingerprint if scorer else None,
            arguments=request.arguments,
            accepted=request.accept_loss,
            code=sources.code,
        )
        try:
            result.ledger.require_closed(request.accept_loss)
            require_whole_training(run, request.accept_loss)
        except LedgerError as error:
            note()
            with suppress(
                DarkopError
            ):  # the page shows what was lost and where the time went; the loss is what is said
                write_report(load_context(run))
            kept, where = put_open_run(pending, result.ledger)
            raise LedgerError(
                f"{error}\n{where} Once the loss is accepted: "
                f"darkop calibrate {kept}, darkop limits {kept} --accept-loss DATASET, darkop report {kept}"
            ) from error
        after_events(run, watch, stopwatch, accept_loss=request.accept_loss, report=False)
        note()
        if request.page:
            with stopwatch.stage("report"):
                watch.say("drawing the result page")
                write_report(load_context(run))
            note()
        return pending.finish()
    except BaseException as error:
        is_kept = pending.abandon() if pending is not None else False
        if isinstance(error, ChunkError):
            raise _with_debugger(error, request) from error
        if is_kept and isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped; {KEPT}") from error
        if is_kept and isinstance(error, DarkopError) and "--resume" not in str(error):
            error.add_note(KEPT)
        raise


def after_events(
    run: RunDirectory, watch: Monitor, stopwatch: Stopwatch, *, accept_loss: Sequence[str] = (), report: bool = True
) -> None:
    """The stages after the pass over the events; each reads the run directory alone."""
    context = load_context(run)
    context.require_closed(accept_loss)
    with stopwatch.stage("calibrate"):
        calibrate_run(context)
        if context.histograms.score_counts is not None:
            write_displays(context)
    if context.document.limits is not None:
        with stopwatch.stage("limits"):
            watch.say("fitting and setting limits")
            write_limits(context, accept_loss=accept_loss)
    if report:
        with stopwatch.stage("report"):
            write_report(context)


def operator_of(
    search: Search, run: RunDirectory, watch: Monitor, earlier: Sequence[RunDirectory] = ()
) -> Scorer | None:
    """The scorer that the document asks for, trained or chosen first if it says so; None without one.

    A training that an unfinished or earlier run has done is not done again if nothing that it depends on has changed.
    """
    operator = search.document.operator
    run.choice.unlink(missing_ok=True)
    if operator is None or operator.train is None:
        _forget_training(run)
    if operator is None:
        return None
    if operator.checkpoint is not None:
        return resolve(operator.checkpoint, operator.serve)
    if operator.choose_from is not None:
        return choose_operator(search, run, say=watch.say)
    plan = plan_training(search)
    for place in (run, *earlier):
        if is_trained(plan, place):
            if place is not run:
                _forget_training(run)
                shutil.copytree(place.checkpoint, run.checkpoint)
                shutil.copy(place.training, run.training)
            return trained_scorer(run, operator.serve)
    run.training.unlink(missing_ok=True)  # it must not vouch for a checkpoint that it did not see
    trained = train_operator(search, run.checkpoint, name=_checkpoint_name(search.document), say=watch.say, plan=plan)
    note_training(trained.record, run)
    return trained_scorer(run, operator.serve)


def trained_scorer(run: RunDirectory, serving: Serving) -> Scorer:
    """The scorer of the model that the run trained or chose; a server must hold that very model.

    Raises:
        UserError: it does not; says how to serve the model, and how to go on.
    """
    try:
        return resolve(run.checkpoint, serving)
    except (UnknownNameError, FingerprintError) as error:
        own = resolve(run.checkpoint).fingerprint
        raise UserError(
            f"the run's own model, with the fingerprint {own}, is not served at {serving.at}. Serve it and go on: "
            f"darkop serve {run.checkpoint}, then darkop run --resume"
        ) from error


def _taught(search: Search, run: RunDirectory, earlier: RunDirectory) -> Scorer:
    """The scorer that an earlier run trained or chose, with what is known of that."""
    operator = search.document.operator
    _forget_training(run)
    shutil.copytree(earlier.checkpoint, run.checkpoint)
    for name in ("training", "choice"):
        file: Path = getattr(run, name)
        file.unlink(missing_ok=True)
        if getattr(earlier, name).exists():
            shutil.copyfile(getattr(earlier, name), file)
    return trained_scorer(run, operator.serve) if operator else resolve(run.checkpoint)


def _forget_training(run: RunDirectory) -> None:
    """Remove the training of a run that was killed, or of another document."""
    run.training.unlink(missing_ok=True)
    shutil.rmtree(run.checkpoint, ignore_errors=True)


def _with_debugger(error: ChunkError, request: Request) -> ChunkError:
    if error.index < 0:  # it is no chunk of the pass over the events
        return error
    words = ["darkop", "chunk", str(request.document), str(error.index), "--debug"]
    command = shlex.join(words + (["--output", str(request.output)] if request.output else []))
    return ChunkError(f"{error.problem}Rerun just this chunk here, under a debugger: {command}", error.index)


def _require_datasets(search: Search, accepted: Sequence[str]) -> None:
    names = [record.name for record in search.records]
    for name in accepted:
        if name not in names:
            raise UnknownNameError("dataset", name, names, f"The document has {', '.join(names)}.")


def _checkpoint_name(document: Document) -> str:
    return f"{document.output_directory.name}-operator"


def output_of(request: Request) -> Path:
    """Where the result of a request goes."""
    from darkop_dist.config import load_document

    return request.output or load_document(request.document).document.output_directory
