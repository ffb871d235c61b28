"""The import contracts: the tree keeps them, each of them can fail, and light rooms stay light when they are imported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
}

HEAVY = ["torch", "ray", "dask", "distributed", "pyhf", "cabinetry", "matplotlib", "mplhep", "pythia8mc", "fastjet"]
ARRAYS = ["awkward", "uproot", "coffea", "numba", "pandas"]


@dataclass(frozen=True)
class Offence:
    """Files that break one contract and no other.

    Attributes:
        contract: id of the contract.
        files: content by path.
        complaint: what import-linter must say.
    """

    contract: str
    files: dict[str, str]
    complaint: str


OFFENCES = [
    Offence(
        "layers",
        {"darkop_dist/config/wrong.py": "from darkop_dist.report import page\n"},
        "darkop_dist.config is not allowed to import darkop_dist.report",
    ),
    Offence(
        "layers",
        {"darkop_dist/utils.py": ""},
        "not listed as layers",
    ),
    Offence(
        "acyclic",
        {
            "darkop_dist/limits/model.py": "import darkop_dist.limits.fit\n",
            "darkop_dist/limits/fit.py": "import darkop_dist.limits.model\n",
        },
        "No cycles are allowed in darkop_dist.limits",
    ),
    Offence(
        "no-root",
        {"darkop_dist/conformal/wrong.py": "from darkop_dist import load_opendata\n"},
        "darkop_dist.conformal.wrong is not allowed to import darkop_dist",
    ),
    *(
        Offence(contract, {path: f"def late():\n    import {library}\n"}, f"is not allowed to import {library}")
        for contract, library, path in (
            ("torch", "torch", "darkop_dist/scoring/wrong.py"),
            ("torch", "torch", "darkop_dist/__init__.py"),
            ("ray", "ray", "darkop_dist/scoring/local.py"),
            ("generators", "pythia8mc", "darkop_dist/catalogue/wrong.py"),
            ("generators", "fastjet", "darkop_dist/events/wrong.py"),
            ("dask", "dask.array", "darkop_dist/histograms/wrong.py"),
            ("dask", "distributed", "darkop_dist/stages/wrong.py"),
            ("firmware", "hls4ml", "darkop_dist/operators/wrong.py"),
            ("firmware", "da4ml", "darkop_dist/cli/wrong.py"),
            ("fits", "pyhf", "darkop_dist/report/wrong.py"),
            ("fits", "cabinetry", "darkop_dist/conformal/wrong.py"),
            ("plots", "matplotlib.pyplot", "darkop_dist/limits/wrong.py"),
            ("plots", "mplhep", "darkop_dist/histograms/wrong.py"),
        )
    ),
    Offence(
        "processors",
        {"processors/wrong.py": "import torch\n"},
        "processors is not allowed to import torch",
    ),
    Offence(
        "processors",
        {"processors/wrong.py": "from darkop_dist.limits import fit\n"},
        "processors is not allowed to import darkop_dist.limits",
    ),
    Offence(
        "wheel",
        {"darkop_dist/execution/wrong.py": "import processors.monojet\n"},
        "darkop_dist is not allowed to import processors",
    ),
]

ALLOWED = {
    "darkop_dist/operators/model.py": "import torch\nimport torch.nn\n",
    "darkop_dist/scoring/pool/deployment.py": "import ray.serve\n",
    "darkop_dist/scoring/local.py": "from darkop_dist.operators import model\n",
    "darkop_dist/generation/shower.py": "import pythia8mc\nimport fastjet\n",
    "darkop_dist/execution/cluster.py": "import dask\nimport distributed\n",
    "darkop_dist/trigger/firmware.py": "import hls4ml\nimport da4ml\n",
    "darkop_dist/limits/fit.py": "import pyhf\nimport cabinetry\n",
    "darkop_dist/report/plots.py": "import matplotlib.pyplot\nimport mplhep\n",
    "darkop_dist/stages/search.py": "from darkop_dist.errors import DarkopError\nfrom darkop_dist.report import plots\n",
    "processors/search.py": "from darkop_dist.events import objects\nfrom darkop_dist.scoring.contract import Scorer\n",
}


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """The layers, each with one empty module, under the contracts of this repository."""
    shutil.copy(PYPROJECT, tmp_path)
    for layer in [*CONTRACTS["layers"]["layers"], "scoring/pool", "."]:
        room = tmp_path / "darkop_dist" / layer
        room.mkdir(parents=True, exist_ok=True)
        (room / "__init__.py").write_text("")
    (tmp_path / "darkop_dist" / "events" / "objects.py").write_text("")
    (tmp_path / "darkop_dist" / "scoring" / "contract.py").write_text("")
    (tmp_path / "processors").mkdir()
    (tmp_path / "processors" / "monojet.py").write_text("")
    # An editable install puts the repository on the path, where a package without this file would be joined to ours.
    (tmp_path / "processors" / "__init__.py").write_text("")
    return tmp_path


def lint_imports(root: Path) -> tuple[int, str]:
    """Exit status and output of import-linter on the tree under a folder, with that folder's own contracts."""
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-logo", "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def verdicts(output: str) -> dict[str, str]:
    """KEPT or BROKEN for each contract, by its id."""
    found = {}
    for contract_id, contract in CONTRACTS.items():
        match = re.search(re.escape(contract["name"]) + r"(?: \(.*?\))? (KEPT|BROKEN)", output)
        found[contract_id] = match.group(1) if match else f"no verdict in: {output}"
    return found


def test_the_tree_keeps_every_contract(repository: Path) -> None:
    status, output = lint_imports(repository)
    assert verdicts(output) == dict.fromkeys(CONTRACTS, "KEPT")
    assert status == 0


def test_the_contracts_allow_each_library_in_its_room(skeleton: Path) -> None:
    for path, text in ALLOWED.items():
        (skeleton / path).write_text(text)
    status, output = lint_imports(skeleton)
    assert verdicts(output) == dict.fromkeys(CONTRACTS, "KEPT")
    assert status == 0


@pytest.mark.parametrize(
    "offence", OFFENCES, ids=[f"{offence.contract}-{next(iter(offence.files))}" for offence in OFFENCES]
)
def test_one_offence_breaks_its_contract_and_no_other(skeleton: Path, offence: Offence) -> None:
    for path, text in offence.files.items():
        (skeleton / path).write_text(text)
    status, output = lint_imports(skeleton)
    assert status == 1
    assert verdicts(output) == dict.fromkeys(CONTRACTS, "KEPT") | {offence.contract: "BROKEN"}
    assert offence.complaint.replace(".pyplot", "").replace(".array", "") in output


def test_every_contract_is_proved_able_to_fail() -> None:
    assert {offence.contract for offence in OFFENCES} == set(CONTRACTS)


def test_a_missing_room_is_reported(skeleton: Path) -> None:
    shutil.rmtree(skeleton / "darkop_dist" / "report")
    status, output = lint_imports(skeleton)
    assert status == 1
    assert "module darkop_dist.report does not exist" in output


def loaded_by(module: str, unwanted: list[str], root: Path) -> list[str]:
    """Those of the unwanted libraries that a fresh interpreter holds after importing a module."""
    code = f"import json, sys, {module}\nprint(json.dumps([name for name in {unwanted} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    names: list[str] = json.loads(done.stdout)
    return names


@pytest.mark.parametrize("module", ["catalogue", "histograms", "runs", "cli"])
def test_importing_a_light_room_loads_no_heavy_library(module: str, repository: Path) -> None:
    assert loaded_by(f"darkop_dist.{module}", HEAVY, repository) == []


@pytest.mark.parametrize("module", ["", ".errors", ".config", ".conformal", ".scoring.contract"])
def test_importing_a_plain_room_loads_no_array_library_either(module: str, repository: Path) -> None:
    assert loaded_by(f"darkop_dist{module}", HEAVY + ARRAYS, repository) == []


def test_the_check_for_loaded_libraries_sees_one(repository: Path) -> None:
    assert loaded_by("matplotlib", HEAVY, repository) == ["matplotlib"]
