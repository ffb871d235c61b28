"""Histograms in ROOT files as plain arrays, and back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hist
import numpy as np

from darkop_dist.errors import InputFileError, MissingExtraError, nearest_names
from darkop_dist.limits.samples import Floats


@dataclass(frozen=True, eq=False)
class Histogram:
    """A histogram without its under- and overflow, which Combine leaves out too.

    Attributes:
        values: events per bin, shape (bins,).
        errors: their standard deviations, shape (bins,).
        edges: bin edges, shape (bins + 1,).
    """

    values: Floats
    errors: Floats
    edges: Floats


@dataclass(frozen=True, eq=False)
class HistogramFiles:
    """ROOT files beside a card, each opened once.

    Attributes:
        folder: what their names are relative to.
    """

    folder: Path
    _opened: dict[str, Any] = field(default_factory=dict)

    def read(self, file: str, name: str, what_for: str) -> Histogram:
        """One histogram.

        Raises:
            InputFileError: the file or the histogram is not there, or is no one-dimensional histogram of numbers.
        """
        found = self._open(file)
        path = str(self.folder / file)
        if name not in found:
            names = {key.partition(";")[0] for key in found.keys(recursive=True)}
            close = nearest_names(name, names)
            hint = f"Did you mean {' or '.join(close)}?" if close else "Add it to the file, or correct the card."
            raise InputFileError(path, f"lacks the histogram {name} ({what_for})", hint)
        histogram = found[name]
        if not histogram.classname.startswith("TH1"):
            raise InputFileError(path, f"{name} is a {histogram.classname}, no TH1 ({what_for})", "Give a histogram.")
        values, variances = (np.asarray(v, dtype=np.float64) for v in (histogram.values(), histogram.variances()))
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(variances))):
            raise InputFileError(path, f"{name} holds values that are not finite ({what_for})", "Look for NaN weights.")
        edges = np.asarray(histogram.axis().edges(), dtype=np.float64)
        return Histogram(values, np.sqrt(np.maximum(variances, 0.0)), edges)

    def _open(self, file: str) -> Any:
        if file not in self._opened:
            path = self.folder / file
            if not path.is_file():
                raise InputFileError(str(path), "no such file", "Put the templates beside the card.")
            try:
                self._opened[file] = _uproot().open(path)
            except (OSError, ValueError) as error:
                problem = f"cannot be read as a ROOT file ({str(error).strip().splitlines()[0]})"
                raise InputFileError(str(path), problem, "Give the templates of the card.") from error
        return self._opened[file]

    def close(self) -> None:
        """Close the files."""
        for file in self._opened.values():
            file.close()


def root_file(histograms: Mapping[str, Histogram]) -> bytes:
    """A ROOT file of histograms in double precision with their errors, by path in the file."""
    with tempfile.TemporaryDirectory(prefix="darkop-") as folder:
        path = Path(folder) / "shapes.root"
        with _uproot().recreate(path) as file:
            for name, histogram in histograms.items():
                made = hist.Hist(hist.axis.Variable(histogram.edges.tolist()), storage=hist.storage.Weight())
                made.view(flow=False).value = histogram.values
                made.view(flow=False).variance = histogram.errors**2
                file[name] = made
        return path.read_bytes()


def _uproot() -> Any:
    try:
        import uproot
    except ImportError as error:
        raise MissingExtraError("uproot", "limits") from error
    return uproot
