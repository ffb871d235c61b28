"""A package run again, and every result compared with the one that it holds."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from darkop_dist.errors import DarkopError, OutputError
from darkop_dist.runs import RunDirectory, partial_run, read_json, write_json
from darkop_dist.stages import provenance
from darkop_dist.stages.code_version import package_version
from darkop_dist.stages.pipeline import Monitor, Request, Silent, run_search
from darkop_dist.stages.preservation.compare import Finding, compare
from darkop_dist.stages.preservation.opened import OpenPackage, open_package
from darkop_dist.stages.preservation.staged import Staged, importing, stage

SCHEMA = "darkop.reproduction/1"
ORIGIN_SCHEMA = "darkop.reproduction-origin/1"
ORIGIN = "origin.json"


@dataclass(frozen=True)
class ReproductionRequest:
    """What to run again.

    Attributes:
        package: a directory or a zip file.
        output: directory of the new run; by default, below the current one, the package's name with ``-reproduced``.
        inputs: directories in which local input files are looked for.
        where: where to run, as ``execution.where`` of a document, or a document (.yml) with a section ``execution``;
            this process by default.
        train_again: train, or choose, the operator again instead of taking the one in the package.
        resume: go on with a reproduction of the same package that did not end.
        page: draw the result page of the new run.
    """

    package: Path
    output: Path | None = None
    inputs: Sequence[Path] = ()
    where: str | None = None
    train_again: bool = False
    resume: bool = False
    page: bool = True


@dataclass(frozen=True)
class Change:
    """A version that is not the one of the run.

    Attributes:
        name: of the library.
        recorded: its version in the run.
        here: its version now; empty if it is not installed.
        computes: whether it computes, so that results may differ in their last digits.
    """

    name: str
    recorded: str
    here: str
    computes: bool


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Attributes:
        package: the package.
        sha256: of its metadata.
        run: the new run.
        changes: versions that differ.
        findings: the comparison, a result each.
        notes: on the package, in sentences.
    """

    package: str
    sha256: str
    run: RunDirectory
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether all results agree within their tolerances."""
        return all(finding.agrees for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Plain values; a difference that is no number is null."""
        findings = [asdict(finding) for finding in self.findings]
        for finding in findings:
            finding["difference"] = finding["difference"] if math.isfinite(finding["difference"]) else None
        return {
            "package": self.package,
            "sha256": self.sha256,
            "run": str(self.run.path),
            "agrees": self.agrees,
            "changes": [asdict(change) for change in self.changes],
            "findings": findings,
            "notes": list(self.notes),
        }


def reproduce_package(request: ReproductionRequest, monitor: Monitor | None = None) -> Reproduction:
    """Check a package, run its search again and compare; writes ``reproduction.json`` beside the new run.

    Args:
        request: what to run.
        monitor: is told what happens.

    Returns:
        The comparison; results that differ are no error.

    Raises:
        InputFileError: the package is damaged, or a local input is missing or is another file.
        OutputError: the output exists already or cannot be written.
        UserError, RunError: the search cannot be run, or failed.
    """
    watch = monitor or Silent()
    output = (request.output or Path(f"{request.package.resolve().stem}-reproduced")).absolute()
    with open_package(request.package) as package:
        _require_output(output, package, resume=request.resume)
        told = read_json(package.path / "results" / "provenance.json", provenance.SCHEMA)
        changes = tuple(changed_versions(told))
        for change in changes:
            if change.computes:
                watch.say(f"{change.name} is {change.here or 'not installed'} here, {change.recorded} in the run")
        existed = output.exists()
        try:
            staged = stage(package, output / "staged", request.inputs, where=request.where, say=watch.say)
            write_json(output / ORIGIN, ORIGIN_SCHEMA, {"package": package.shown, "sha256": package.sha256})
            run = _run(request, package, staged, output, watch)
        except BaseException as error:
            if not existed and not _holds_results(output):
                shutil.rmtree(output, ignore_errors=True)
            elif isinstance(error, DarkopError):
                error.add_note(f"Of the reproduction: darkop reproduce {request.package} --output {output} --resume")
            raise
        exact = not any(change.computes for change in changes)
        findings = compare(RunDirectory(package.path / "results"), run, package.inputs, exact=exact)
        notes = (*package.told["notes"], *package.notes)
        made = Reproduction(package.shown, package.sha256, run, changes, tuple(findings), notes)
        write_json(output / "reproduction.json", SCHEMA, made.as_json())
        return made


def changed_versions(told: Mapping[str, Any]) -> list[Change]:
    """Versions and commits that are not those of a run, what computes first.

    Args:
        told: the provenance of the run.
    """
    here = dict(provenance.versions())
    computing = [
        Change(name, recorded, here.get(name, ""), computes=True)
        for name, recorded in told["versions"].items()
        if here.get(name, "") != recorded
    ]
    around = dict(provenance.environment())
    others = [
        Change(name, recorded, around.get(name, ""), computes=False)
        for name, recorded in told["environment"].items()
        if around.get(name, "") != recorded and name not in told["versions"]
    ]
    before, now = told["code"]["darkop-dist"], asdict(package_version())
    if before["commit"] and (before["commit"] != now["commit"] or before["modified"] or now["modified"]):
        shown = [f"{code['commit'] or 'unknown'}{' (modified)' if code['modified'] else ''}" for code in (before, now)]
        others.insert(0, Change("darkop-dist commit", shown[0], shown[1], computes=False))
    return [*computing, *others]


def _run(
    request: ReproductionRequest, package: OpenPackage, staged: Staged, output: Path, watch: Monitor
) -> RunDirectory:
    again = Request(
        document=staged.document,
        output=output / "run",
        force=False,
        resume=request.resume,
        accept_loss=package.told["accepted_loss"],
        arguments=["darkop", "reproduce", str(request.package)],
        taught=None if request.train_again else staged.taught,
        generated=output / "generated",
        page=request.page,
    )
    with importing(staged):
        return run_search(again, watch)


def _require_output(output: Path, package: OpenPackage, *, resume: bool) -> None:
    if not output.exists():
        return
    if not resume:
        raise OutputError(f"{output}: exists already. Choose another output, or go on with --resume.")
    origin = output / ORIGIN
    if not origin.exists() or read_json(origin, ORIGIN_SCHEMA).get("sha256") != package.sha256:
        raise OutputError(f"{output}: is no reproduction of {package.shown}. Choose another output.")


def _holds_results(output: Path) -> bool:
    return any(place.path.exists() for place in (RunDirectory(output / "run"), partial_run(output / "run")))
