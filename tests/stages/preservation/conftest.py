"""A small search with modules and files of the user's own, run once, and its package."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from darkop_dist.runs import RunDirectory
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.preservation import METADATA, PackageRequest, write_package

MODULE = "tables_of_the_search"


@dataclass(frozen=True)
class MadeSearch:
    """A search on the disk.

    Attributes:
        folder: holds the document, the data and, below, the user's code.
        run: its run.
    """

    folder: Path
    run: RunDirectory


def write_code(folder: Path, zprime: Path) -> Path:
    """A processor that imports a module of the user's, which reads a file that lies beside its package."""
    package = folder / "lib" / MODULE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""The user\'s own."""\n')
    (package / "scale.py").write_text(
        "import json\nfrom pathlib import Path\n\n"
        'SCALE = json.loads((Path(__file__).parent / "../tables/scale.json").read_text())["scale"]\n'
    )
    (folder / "lib" / "tables").mkdir()
    (folder / "lib" / "tables" / "scale.json").write_text('{"scale": 1.25}\n')
    source = zprime.read_text().replace(
        "import awkward as ak\n", f"import awkward as ak\nfrom {MODULE}.scale import SCALE\n", 1
    )
    source = source.replace("    candidate: Literal", "    table: str = ''\n    candidate: Literal", 1)
    path = folder / "code of mine" / "own.py"
    path.parent.mkdir()
    path.write_text(source + "\n\nassert SCALE == 1.25\n")
    return path


@pytest.fixture(scope="session")
def made_search(
    write_search: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Iterator[MadeSearch]:
    folder = tmp_path_factory.mktemp("made search")
    processor = write_code(folder, repository / "processors" / "zprime.py")
    (folder / "golden.json").write_text("{}\n")
    document = write_search(
        folder,
        processor=f"{processor}:ZPrime",
        parameters={"mtt_bins": [400, 800, 1200, 1600, 4000], "candidate": "all", "table": "golden.json"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "lib")
        run = run_search(Request(document, folder / "result", page=False, arguments=["darkop", "run", str(document)]))
        run.report.mkdir()
        (run.report / "index.html").write_text(f"<p>run from {document} in {run.path}</p>\n")
        yield MadeSearch(folder, run)
    for name in [name for name in sys.modules if name.split(".")[0] == MODULE]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def package(made_search: MadeSearch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("package") / "search"
    write_package(PackageRequest(made_search.run.path, output))
    return output


@pytest.fixture
def without_module() -> Iterator[None]:
    """The user's module is not imported: a new process would not have it."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == MODULE}
    yield
    for name in list(sys.modules):
        if name.split(".")[0] == MODULE:
            del sys.modules[name]
    sys.modules.update(kept)


@pytest.fixture(scope="session")
def rewrite() -> Callable[[Path, str, Callable[[Any], None]], None]:
    """Changes a JSON file of a package and what the metadata say of it, as nobody but a forger would."""

    def change(package: Path, name: str, how: Callable[[Any], None]) -> None:
        body = json.loads((package / name).read_text())
        how(body)
        content = json.dumps(body).encode()
        (package / name).write_bytes(content)
        metadata = json.loads((package / METADATA).read_text())
        entity = next(entity for entity in metadata["@graph"] if entity["@id"] == name)
        entity |= {"contentSize": str(len(content)), "sha256": hashlib.sha256(content).hexdigest()}
        (package / METADATA).write_text(json.dumps(metadata))

    return change
