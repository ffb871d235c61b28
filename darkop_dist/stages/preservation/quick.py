"""``do.reproduce``: a package run again, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darkop_dist.stages.preservation.reproduce import Reproduction, ReproductionRequest, reproduce_package


def reproduce(
    package: str | Path,
    *,
    output: str | Path | None = None,
    inputs: Sequence[str | Path] = (),
    where: str | None = None,
    train_again: bool = False,
    resume: bool = False,
    page: bool = True,
) -> Reproduction:
    """Check a package, run its search again and compare every result with the one that it holds.

    Args:
        package: a directory or a zip file that ``darkop export --to rocrate`` wrote.
        output: directory of the new run.
        inputs: directories in which local input files are looked for.
        where: where to run, as ``execution.where`` of a document, or a document (.yml) with a section ``execution``;
            this process by default.
        train_again: train, or choose, the operator again instead of taking the one in the package.
        resume: go on with a reproduction of the same package that did not end.
        page: draw the result page of the new run.

    Returns:
        The comparison; ``agrees`` says whether all of it is within the tolerances.

    Raises:
        InputFileError: the package is damaged, or a local input is missing or is another file.
        OutputError: the output exists already or cannot be written.
        UserError, RunError: the search cannot be run, or failed.
    """
    place = None if output is None else Path(output)
    folders = tuple(map(Path, inputs))
    return reproduce_package(ReproductionRequest(Path(package), place, folders, where, train_again, resume, page))
