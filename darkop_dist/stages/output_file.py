"""What any coffea processor gave, on disk without pickle: histograms and numbers in JSON, large columns in Parquet.

RUN/
output.json          the output as it was nested; histograms in the Unified Histogram Interchange format
outputs/*.parquet    columns that are too long for JSON, named where output.json says ``{"parquet": ...}``
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import uhi.io.json as uhi_json
from coffea.processor import column_accumulator

from darkop_dist.runs import version, write_atomically

SCHEMA = "darkop.output/1"
LONGEST_LIST = 1000
UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]+")


def write_output(run: Path, output: Any, ledger_digest: str) -> tuple[str, ...]:
    """Write output.json, and what is too large for it beside it.

    Args:
        run: the run directory.
        output: what the processor gave, after its ``postprocess``.
        ledger_digest: of the ledger of the same run.

    Returns:
        What could not be written: key and type.

    Raises:
        OutputError: a file cannot be written.
    """
    writer = _Writer(run / "outputs")
    tree = writer.plain(output, ())
    body = {
        "schema": SCHEMA,
        "writer": f"darkop-dist {version()}",
        "ledger_digest": ledger_digest,
        "left_out": writer.left_out,
        "output": tree,
    }
    write_atomically(run / "output.json", json.dumps(body, default=uhi_json.default, allow_nan=False) + "\n")
    return tuple(writer.left_out)


@dataclass
class _Writer:
    """Turns an output into what JSON knows, and notes what it cannot."""

    folder: Path
    left_out: list[str] = field(default_factory=list)

    def plain(self, value: Any, keys: tuple[str, ...]) -> Any:
        """The value for JSON."""
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, np.generic):
            return self.plain(value.item(), keys)
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if hasattr(value, "_to_uhi_"):
            return value
        if isinstance(value, column_accumulator):
            return self.plain(value.value, keys)
        if isinstance(value, Mapping):
            return {str(key): self.plain(item, (*keys, str(key))) for key, item in value.items()}
        if isinstance(value, AbstractSet):
            return [self.plain(item, keys) for item in sorted(value, key=lambda item: (str(type(item)), str(item)))]
        if isinstance(value, np.ndarray | ak.Array | pd.DataFrame | pd.Series):
            return self._columns(value, keys)
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [self.plain(item, (*keys, str(index))) for index, item in enumerate(value)]
        return self._leave_out(value, keys)

    def _columns(self, value: Any, keys: tuple[str, ...]) -> Any:
        if isinstance(value, np.ndarray) and (value.ndim == 0 or value.dtype.kind == "O"):
            return self.plain(value.tolist(), keys)
        if isinstance(value, np.ndarray | ak.Array) and len(value) <= LONGEST_LIST:
            return self.plain(value.tolist(), keys)
        name = UNSAFE.sub("-", ".".join(keys)) or "output"
        place = self.folder / f"{name}.parquet"
        number = 1
        while place.exists():
            number += 1
            place = self.folder / f"{name}-{number}.parquet"
        self.folder.mkdir(exist_ok=True)
        try:
            if isinstance(value, pd.DataFrame | pd.Series):
                pd.DataFrame(value).to_parquet(place)
            else:
                ak.to_parquet(ak.Array(value) if isinstance(value, ak.Array) else ak.from_numpy(value), place)
        except (TypeError, ValueError, NotImplementedError):
            place.unlink(missing_ok=True)
            return self._leave_out(value, keys)
        return {"parquet": f"{self.folder.name}/{place.name}", "rows": len(value)}

    def _leave_out(self, value: Any, keys: tuple[str, ...]) -> Any:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        self.left_out.append(f"{'.'.join(keys) or 'the output'}: {kind}")
        return {"left_out": kind}
