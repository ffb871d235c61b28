"""``darkop generate PROCESS --validate``: events of a process beside what is expected of them, as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from darkop_dist.errors import OutputError
from darkop_dist.generation.process_validation import ProcessValidation, validate_process
from darkop_dist.report.process_page import write_process_page


def write_process_validation(
    process: str,
    folder: Path,
    *,
    events: int,
    seed: int,
    settings: Mapping[str, float | int | str],
    force: bool = False,
) -> tuple[Path, ProcessValidation]:
    """Validate a process and write its page.

    Args:
        process: its name.
        folder: of the page, which is ``PROCESS.html``.
        events: number of events.
        seed: 0 or above.
        settings: values of the process's parameters.
        force: replace an existing page.

    Returns:
        The page, and what it shows.

    Raises:
        OutputError: the page exists already or cannot be written.
        UserError, RunError: see `validate_process`.
    """
    target = folder / f"{process}.html"
    if target.exists() and not force:
        raise OutputError(f"{target}: exists already. Choose another folder, or replace it with --force.")
    found = validate_process(process, events=events, seed=seed, settings=settings)
    return write_process_page(found, target), found
