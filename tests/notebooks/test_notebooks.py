"""Notebooks run from top to bottom and are stored without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NAMES = [
    "events_on_demand.ipynb",
    "first_search.ipynb",
    "limits.ipynb",
    "nothing_lost.ipynb",
    "open_data.ipynb",
    "p_values.ipynb",
    "served_scores.ipynb",
    "showers.ipynb",
    "trigger.ipynb",
]
TOLD = {
    "events_on_demand.ipynb": ("asked 0.3", "vertices are seen", "20 were expected"),
    "first_search.ipynb": ("floor 1/(n+1)",),
    "limits.ipynb": (
        "CLs at mu = 1: 0.0525, expected 0.0645",
        "same likelihood as pyhf: True",
        "from 18 batches",
        "problems: ()",
    ),
    "nothing_lost.ipynb": (
        "20000 of 20000 events",
        "retried 2.root",
        "Connection timed out",
        "closed: True",
        "equal to the last bit: True",
    ),
    "open_data.ipynb": ("50 data sets of CMS, 2016", "not certain: lumi_ifb", "the same missing momenta: True"),
    "p_values.ipynb": ("12 of the 12 of the signal", "global 4.8 sigma", "model-dependent: generalised Pareto"),
    "served_scores.ipynb": (
        "2000 scores, equal to the last bit: True",
        "300 events scored by the pool",
        "200 events scored by local (fallback)",
    ),
    "showers.ipynb": (
        "electrons: 0.03",
        "voxels in a layer: 864 instead of 144",
        "summed to the coarse ones: True",
    ),
    "trigger.ipynb": (
        "their weights add up to 1.0000",
        "refused: the sample cannot say which score gives 1 Hz",
        "emulator and network give the same bits for",
        "crossings: True",
        "model.onnx: ",
    ),
}


def test_every_notebook_is_listed_and_stored_without_outputs(repository: Path) -> None:
    found = sorted(path.name for path in (repository / "notebooks").glob("*.ipynb"))
    assert found == NAMES
    for name in found:
        notebook = nbformat.read(repository / "notebooks" / name, as_version=4)
        assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("default")  # the kernel's own libraries warn in this process
def test_notebook_runs(name: str, repository: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(repository / "notebooks" / name, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("../results/notebook", str(tmp_path / "result"))
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": repository / "notebooks"}})
    client.execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    for words in TOLD[name]:
        assert words in text
    assert (tmp_path / "result" / "report" / "index.html").exists() == (name == "first_search.ipynb")
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))
