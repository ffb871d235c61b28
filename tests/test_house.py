"""The house rules that no linter checks: packaging, pins, rooms, lengths, and nothing that ties the code to a machine."""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = sorted(path.parent.name for path in (ROOT / "darkop_dist").glob("*/__init__.py"))

GPL3_SHA256 = "3972dc9744f6499f0f9b2dbf76696f2ae7ad8af9b23dde66d6af86c9dfb36986"
"""SHA-256 of /usr/share/common-licenses/GPL-3 in Debian 12's base-files."""


def python_files() -> list[Path]:
    folders = ("darkop_dist", "processors", "jobs", "tests", "notebooks")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def pins() -> dict[str, str]:
    """The version that constraints.txt gives to each distribution, by canonical name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def wanted_distributions() -> set[str]:
    """Every distribution that the project, its extras and its dev group lead to, by canonical name."""
    seen: set[tuple[str, str]] = set()
    todo = [Requirement("darkop-dist[all]"), *map(Requirement, PROJECT["dependency-groups"]["dev"])]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            # The requirements of torch depend on its build: those of a CUDA build are torch's own business.
            needs = [] if name == "torch" else map(Requirement, metadata.requires(name) or [])
            todo.extend(need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra}))
    return {name for name, _ in seen} - {"darkop-dist"}


def imported_libraries(path: Path) -> Iterator[str]:
    """Top-level names of what a module imports from outside the standard library and this repository."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in {"darkop_dist", "processors"}:
                yield top


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout, so nothing says which files belong to the repository")
    if shutil.which("git") is None:
        pytest.skip("git is not installed, so nothing says which files belong to the repository")
    done = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_the_installed_version_is_the_one_in_pyproject() -> None:
    assert metadata.version("darkop-dist") == PROJECT["project"]["version"]


def test_no_module_writes_the_version_down_again() -> None:
    for path in (ROOT / "darkop_dist").rglob("*.py"):
        assert not re.search(r"""^__version__\s*(:.*)?=\s*["']""", path.read_text(), re.MULTILINE), path


def test_the_licence_is_the_gpl_3() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == GPL3_SHA256
    assert PROJECT["project"]["license"] == "GPL-3.0-or-later"


def test_no_test_is_passed_over(pytestconfig: pytest.Config) -> None:
    """Pytest leaves out folders by their names, such as ``build``, and says nothing."""
    left_out = pytestconfig.getini("norecursedirs")
    folders = {part for path in (ROOT / "tests").rglob("test_*.py") for part in path.relative_to(ROOT).parts[:-1]}
    assert [name for name in sorted(folders) for pattern in left_out if fnmatch.fnmatch(name, pattern)] == []


def test_every_pin_is_what_is_installed() -> None:
    # asked of an interpreter of its own: Ray and setuptools put copies of libraries of theirs in this one's path
    listing = (
        "import json; from importlib import metadata;"
        "print(json.dumps([[one.name, one.version] for one in metadata.distributions()]))"
    )
    told = subprocess.run([sys.executable, "-I", "-c", listing], capture_output=True, text=True, check=True).stdout
    installed = {canonicalize_name(name): Version(version).public for name, version in json.loads(told)}
    wrong = [
        f"{name}: pinned {pin}, installed {installed.get(name)}"
        for name, pin in pins().items()
        if installed.get(name) != pin
    ]
    assert wrong == [], "run bash jobs/test.sh, which installs what constraints.txt says"


def test_everything_the_project_needs_is_pinned() -> None:
    assert wanted_distributions() - pins().keys() == set()


def test_torch_has_the_same_pin_in_pyproject_and_constraints() -> None:
    operators = PROJECT["project"]["optional-dependencies"]["operators"]
    assert f"torch=={pins()['torch']}" in operators


def test_every_imported_library_is_a_declared_dependency() -> None:
    project = PROJECT["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    homes = metadata.packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)}: {library}"
        for folder in ("darkop_dist", "processors")
        for path in (ROOT / folder).rglob("*.py")
        for library in imported_libraries(path)
        if not declared & {canonicalize_name(home) for home in homes.get(library, [library])}
    }
    assert undeclared == set()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_opens_with_its_words_and_holds_no_logic(room: str) -> None:
    tree = ast.parse((ROOT / "darkop_dist" / room / "__init__.py").read_text())
    assert len(ast.get_docstring(tree) or "") > 60, f"the docstring of {room} must define the room's words"
    for node in tree.body[1:]:
        names = node.targets if isinstance(node, ast.Assign) else []
        is_public_names = [name.id for name in names if isinstance(name, ast.Name)] == ["__all__"]
        assert isinstance(node, ast.Import | ast.ImportFrom) or is_public_names, f"{room}/__init__.py:{node.lineno}"


def test_the_package_root_only_names_things() -> None:
    tree = ast.parse((ROOT / "darkop_dist" / "__init__.py").read_text())
    assert len(ast.get_docstring(tree) or "") > 60
    allowed = ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.If
    for node in tree.body[1:]:
        is_lazy_import = isinstance(node, ast.FunctionDef) and node.name in {"__getattr__", "__dir__"}
        assert isinstance(node, allowed) or is_lazy_import, f"darkop_dist/__init__.py:{node.lineno}"
        if isinstance(node, ast.If):
            assert ast.unparse(node.test) == "TYPE_CHECKING"


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files()}
    assert {name: length for name, length in lengths.items() if length > 600} == {}


def test_no_folder_has_a_name_that_says_nothing() -> None:
    empty_words = re.compile(r"utils?|helpers?|common|core|managers?|misc|base(_.*)?")
    parts = {part for path in python_files() for part in path.relative_to(ROOT).with_suffix("").parts}
    assert {part for part in parts if empty_words.fullmatch(part)} == set()


def test_no_tracked_file_names_a_place_on_one_machine() -> None:
    place = re.compile(r"(?<![\w.~*})-])/(?:work|root|opt)/[\w.]")
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked_files()
        if path.is_file() and path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(errors="ignore").splitlines(), start=1)
        if place.search(line)
    ]
    assert named == []
