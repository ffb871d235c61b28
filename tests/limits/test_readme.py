"""The workspace in the README is built as printed, and its numbers are those that it prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def test_the_example_prints_its_own_numbers(repository: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)
    (block,) = [text for text in blocks if "TransferFactors" in text]
    *lines, last = block.strip().splitlines()
    call, comment = last.split("  # ")
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)  # noqa: S102
    limit = eval(call, names)  # noqa: S307
    without = eval(call.replace("model", "known"), names | {"known": untied(names)})  # noqa: S307
    numbers = [limit.observed, limit.expected[2], without.expected[2]]
    assert [f"{number:.2f}" for number in numbers] == re.findall(r"\d+\.\d+", comment)


def untied(names: dict[str, Any]) -> Any:
    """The same workspace with the simulated size of Z."""
    regions = ["signal", "dimuon"]
    return names["limits"].build_workspace(names["recoil"], names["samples"], signal="dm", regions=regions)
