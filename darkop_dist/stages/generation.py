"""Samples made anywhere and gone on with after a kill: the parts are kept beside the output until it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from darkop_dist.config import Execution
from darkop_dist.config.mistakes import mistakes_from
from darkop_dist.errors import DarkopError, DocumentError, OutputError
from darkop_dist.execution.parts import PartsWatch, parts_maker
from darkop_dist.execution.store import ChunkStore
from darkop_dist.generation.sample import PartMaker
from darkop_dist.runs import LOCK, written_alone

HERE = Execution()
SILENT = PartsWatch()
KEPT = "--resume goes on with them, --force begins anew"


def execution_settings(where: str, workers: int, cluster: Mapping[str, Any]) -> Execution:
    """Where parts are made, as the section ``execution`` of a document says it.

    Args:
        where: ``local``, ``dask``, ``dask://HOST:PORT``, ``slurm`` and so on.
        workers: number of worker processes.
        cluster: the keys of ``execution.cluster``.

    Raises:
        DocumentError: a value cannot be used; says which would be.
    """
    asked = {"where": where, "workers": workers, "cluster": dict(cluster)}
    try:
        return Execution.model_validate(asked)
    except ValidationError as error:
        raise DocumentError("where, workers and cluster", mistakes_from(error, Execution, asked, {})) from error


def parts_directory(output: Path) -> Path:
    """Where the parts of a sample are kept until it is whole."""
    return output.with_name(f".{output.name}.parts")


@contextmanager
def kept_parts(
    output: Path,
    settings: Execution = HERE,
    *,
    resume: bool = False,
    force: bool = False,
    watch: PartsWatch = SILENT,
    client: Any = None,
) -> Iterator[PartMaker]:
    """Make the parts of a sample where the settings say, and keep them if it does not become whole.

        with kept_parts(output, Execution(workers=2), resume=True) as make_parts:
            generate("ttbar", 100_000, output, seed=1, make_parts=make_parts)

    With more than one worker a script must guard its entry point with ``if __name__ == "__main__"``.

    Args:
        output: the file of the sample.
        settings: where; this process by default.
        resume: go on with the parts that are there and still fit.
        force: remove them.
        watch: is told what happens.
        client: a Dask client to use, which is not closed; by default what the settings say.

    Yields:
        What `sample.generate` and `sample.shower` take as ``make_parts``.

    Raises:
        OutputError: parts are there and neither option says what to do with them, another process is writing them, or
            the directory cannot be written.
    """
    directory = parts_directory(output)
    with written_alone(directory):
        if _holds_parts(directory) and not resume and not force:
            raise OutputError(f"{output}: parts of an unfinished sample are kept in {directory}: {KEPT}.")
        if not resume:
            shutil.rmtree(directory / "parts", ignore_errors=True)
        store = ChunkStore(directory)
        store.create()
        try:
            yield parts_maker(settings, store, watch, client)
        except BaseException as error:
            if not _holds_parts(directory):
                _remove(directory)
            elif isinstance(error, DarkopError):
                error.add_note(f"The parts that are made are kept: {KEPT}.")
            elif isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(f"stopped; the parts that are made are kept: {KEPT}") from error
            raise
        _remove(directory)


def _holds_parts(directory: Path) -> bool:
    return any((directory / "parts").glob("*/[0-9a-f]*"))


def _remove(directory: Path) -> None:
    """Remove the parts, the lock last: whoever waits for it finds nothing to go on with."""
    for path in directory.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(directory, ignore_errors=True)
