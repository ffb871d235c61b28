"""Dask's own performance report, saved beside the result: task stream, profiles of the workers, transfers, memory."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darkop_dist.runs import write_atomically

MOST_TASKS = 10_000
"""The report draws the last tasks up to this number; 2 kB of the scheduler's memory each while the run goes on."""

TIMEOUT_S = 60.0
Say = Callable[[str], None]
OFFLINE = "inline"
"""The file holds its own scripts and opens on a machine without network."""


@contextmanager
def saved_performance_report(
    client: Any, path: Path | None, *, say: Say = lambda _: None, command: str = ""
) -> Iterator[None]:
    """Save Dask's performance report of what happens inside, also if that fails.

    The report is a convenience: a scheduler that is gone, workers that do not answer within a minute, a missing bokeh
    or a full disk are said and change nothing else. After Ctrl-C nothing is written.

    Args:
        client: of the cluster; it need not be the default client, and is not closed.
        path: the HTML file; None saves nothing.
        say: is told if there will be no report, and why.
        command: what the report says was run.
    """
    if path is None:
        yield
        return
    began = time.time()
    with _forgiven("cannot be recorded", say):
        client.sync(_prepare, client, callback_timeout=TIMEOUT_S)
    try:
        yield
    except Exception:
        _save(client, path, began, command, say)
        raise
    _save(client, path, began, command, say)


def _save(client: Any, path: Path, began: float, command: str, say: Say) -> None:
    if client.status != "running":
        say("the Dask performance report was not written: the scheduler is gone")
        return
    with _forgiven("was not written", say):
        write_atomically(path, client.sync(_report, client, began, command, callback_timeout=TIMEOUT_S))


@contextmanager
def _forgiven(what: str, say: Say) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001  # whatever goes wrong with the report, the run goes on
        say(f"the Dask performance report {what} ({type(error).__name__}: {error})")


async def _prepare(client: Any) -> None:
    """Let the scheduler keep its last tasks; what travels, travels by value, so a scheduler needs no more than Dask."""

    def watch(most: int, dask_scheduler: Any) -> None:
        from distributed.diagnostics.task_stream import TaskStreamPlugin

        if TaskStreamPlugin.name not in dask_scheduler.plugins:
            dask_scheduler.add_plugin(TaskStreamPlugin(dask_scheduler, maxlen=most))

    def find_template() -> None:
        """Bokeh 3.9 renamed the template that distributed 2025.3.1 extends; may go with a distributed that knows."""
        from bokeh.core.templates import get_env

        environment = get_env()
        names = environment.list_templates()
        if "file.html" not in names and "file.html.jinja" in names:
            own_path = environment.join_path
            environment.join_path = lambda name, parent: (  # type: ignore[method-assign,assignment]
                "file.html.jinja" if name == "file.html" else own_path(name, parent)
            )

    await client.run_on_scheduler(watch, MOST_TASKS)
    await client.run_on_scheduler(find_template)


async def _report(client: Any, began: float, command: str) -> str:
    page = await client.scheduler.performance_report(start=began, last_count=0, code=html.escape(command), mode=OFFLINE)
    return str(page)
