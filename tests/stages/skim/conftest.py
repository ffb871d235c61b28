"""Samples in NanoAOD's layout with normalisation, and skims of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from darkop_dist.config import Execution
from darkop_dist.stages.skim.columns import column_rules
from darkop_dist.stages.skim.request import SkimRequest
from darkop_dist.stages.skim.run import Skim, run_skim
from darkop_dist.stages.skim.selection import event_selection


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory, write_nanoaod: Callable[..., Path]) -> Path:
    """Three files: two of 2000 and 1000 made-up events with ``Runs``, one of 500 without a hard event."""
    folder = tmp_path_factory.mktemp("samples")
    for number, events in enumerate((2000, 1000)):
        plain = write_nanoaod(folder / f"plain{number}.root", events, seed=number + 1)
        _with_runs(plain, folder / f"{number}.root", {"genEventSumw": 12345.678 + number, "genEventCount": 4000})
        plain.unlink()
    soft = {"MET_pt": np.full(500, 10.0, "f4"), "genWeight": np.full(500, 0.3, "f4"), "run": np.ones(500, "u4")}
    soft |= {"luminosityBlock": np.arange(500, dtype="u4") // 100, "event": np.arange(500, dtype="u8")}
    jets = ak.zip({"pt": ak.unflatten(np.full(500, 20.0, "f4"), np.ones(500, int))})
    with uproot.recreate(folder / "2.root") as file:
        file.mktree("Events", {**{name: column.dtype for name, column in soft.items()}, "Jet": jets.type})
        file["Events"].extend({**soft, "Jet": jets})
        _write_runs(file, {"genEventSumw": 150.25, "genEventCount": 500})
    return folder


def _with_runs(plain: Path, target: Path, sums: dict[str, float]) -> None:
    with uproot.open(plain) as source, uproot.recreate(target) as file:
        arrays = source["Events"].arrays(library="ak", how=dict)
        names = [name for name in arrays if name[:1] == "n" and name[1:] + "_pt" in arrays]
        groups = {name[1:]: [key for key in arrays if key.startswith(name[1:] + "_")] for name in names}
        grouped = {key for keys in groups.values() for key in keys} | set(names)
        columns: dict[str, Any] = {name: ak.to_numpy(a) for name, a in arrays.items() if name not in grouped}
        for group, keys in groups.items():
            columns[group] = ak.zip({key[len(group) + 1 :]: arrays[key] for key in keys})
        kinds = {name: a.dtype if isinstance(a, np.ndarray) else a.type for name, a in columns.items()}
        file.mktree("Events", kinds)
        file["Events"].extend(columns)
        _write_runs(file, sums)


def _write_runs(file: Any, sums: dict[str, float]) -> None:
    pdf = ak.Array([[1.0, 0.5]])
    kinds = {"run": "u4", "genEventCount": "i8", "genEventSumw": "f8", "genEventSumw2": "f8"}
    file.mktree("Runs", {**kinds, "LHEPdfSumw": pdf.type})
    file["Runs"].extend(
        {
            "run": np.array([1], "u4"),
            "genEventCount": np.array([sums["genEventCount"]], "i8"),
            "genEventSumw": np.array([sums["genEventSumw"]]),
            "genEventSumw2": np.array([2 * sums["genEventSumw"]]),
            "LHEPdfSumw": pdf,
        }
    )


@pytest.fixture
def skim(tmp_path: Path) -> Callable[..., Skim]:
    """Skims files or datasets to ``tmp_path / "out"``."""

    def run(
        *sources: str | Path, select: Any = "", columns: str = "*", drop: str = "", chunk_events: int = 250_000,
        workers: int = 1, **options: Any,
    ) -> Skim:  # fmt: skip
        output = options.pop("output", tmp_path / "out")
        client = options.pop("client", None)
        request = SkimRequest(
            tuple(map(str, sources)), output, event_selection(select), column_rules(columns, drop),
            execution=Execution(chunk_events=chunk_events, workers=workers, retries=0), **options,
        )  # fmt: skip
        return run_skim(request, client=client)

    return run
