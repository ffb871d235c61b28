"""Equal keys mean equal results: whatever a result depends on changes its key."""

import functools
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from coffea.nanoevents import BaseSchema

from darkop_dist.config.serving import Serving
from darkop_dist.execution import keys
from darkop_dist.execution.backend import by_value
from darkop_dist.execution.foreign import ForeignProcessor
from darkop_dist.execution.keys import homes_of, own_modules, run_key
from darkop_dist.scoring.remote.fallback import FallbackScorer
from darkop_dist.scoring.remote.scorer import RemoteScorer
from darkop_dist.scoring.resolve import resolve
from darkop_dist.scoring.wire.description import ModelDescription

SOURCE = """
import dataclasses
from pathlib import Path
import reviewed_parts.first.numbers, reviewed_parts.second.numbers
from darkop_dist import conformal
TABLE = Path(__file__).with_name("table.json")

def made(cut):
    def process(events):
        return cut
    return process

def process(events, cut=1):
    return cut

class Slots:
    __slots__ = ("cut",)
    def __init__(self, cut):
        self.cut = cut
    def process(self, events):
        return self.cut

@dataclasses.dataclass
class Settings:
    region: str = "signal"

class Holds:
    def __init__(self, held):
        self.settings, self.held = Settings(), held
    def process(self, events):
        return self.held
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    for name in ("first", "second"):
        (tmp_path / "reviewed_parts" / name).mkdir(parents=True)
        (tmp_path / "reviewed_parts" / name / "numbers.py").write_text("ONE = 1\n")
    (tmp_path / "reviewed_other.py").write_text("def select(events):\n    return 1\n")
    (tmp_path / "reviewed.py").write_text(SOURCE)
    (tmp_path / "table.json").write_text("1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    importlib.import_module("reviewed_other")
    yield importlib.import_module("reviewed")
    for name in [name for name in sys.modules if name.startswith("reviewed")]:
        del sys.modules[name]


def key(processor: Any) -> str:
    return run_key(ForeignProcessor(processor, BaseSchema, {}), None).digest


def test_what_a_processor_holds(module: ModuleType) -> None:
    for make in (
        module.made,
        module.Slots,
        module.Holds,
        lambda cut: functools.partial(module.process, cut=cut),
        lambda cut: module.Holds(cut).process,
    ):
        assert key(make(1)) == key(make(1))
        assert key(make(1)) != key(make(2))
    assert key(module.process) != key(functools.partial(module.process))


@pytest.mark.parametrize(
    "file", ["reviewed_parts/first/numbers.py", "reviewed_parts/second/numbers.py", "table.json", "reviewed.py"]
)
def test_what_a_processor_imports_and_names(module: ModuleType, file: str) -> None:
    processors = [module.Holds(1), functools.partial(module.process, cut=1), module.made(1)]
    before = [key(processor) for processor in processors]
    Path(file).write_text(Path(file).read_text() + " \n")
    assert all(key(found) != old for found, old in zip(processors, before, strict=True))


def test_what_was_handed_to_a_processor(module: ModuleType) -> None:
    held = module.Holds(sys.modules["reviewed_other"].select)
    path = module.Holds("reviewed_other.py")
    before = key(held), key(path)
    assert "reviewed_other" in {found.__name__ for home in homes_of(held) for found in own_modules(home)}
    assert b"reviewed_other" in by_value(held)
    Path("reviewed_other.py").write_text("def select(events):\n    return 2\n")
    assert key(held) != before[0]
    assert key(path) != before[1]


def test_what_a_notebook_imported_for_its_class(module: ModuleType) -> None:
    cell: dict[str, Any] = {"__name__": "__main__", "parts": module}
    exec("class Own:\n    def process(self, events):\n        return parts.process(events)\n", cell)  # noqa: S102
    before = key(cell["Own"]())
    Path("reviewed.py").write_text(SOURCE + "\n")
    assert key(cell["Own"]()) != before


def test_rooms_of_this_package_that_a_processor_imports(module: ModuleType) -> None:
    parts = run_key(ForeignProcessor(module.Slots(1), BaseSchema, {}), None).parts
    assert "darkop-dist conformal" in parts
    assert parts["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert "darkop-dist operators" not in parts
    assert "darkop-dist operators" in run_key(ForeignProcessor(module.Slots(1), BaseSchema, {}), "abc").parts


def test_a_large_file_counts_by_size_and_time(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkop_dist.execution.state.HASHED_BYTES", 0)
    before = key(module.Holds("table.json"))
    os.utime("table.json", ns=(1, 1))
    assert key(module.Holds("table.json")) != before


def test_tables_of_a_room_count_as_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mapping of PHYSLITE is a table: a kept result is not taken up once it has changed."""
    table = tmp_path / "events" / "columns.toml"
    table.parent.mkdir()
    table.write_text("factor = 1e-3")
    monkeypatch.setattr(keys, "__file__", str(tmp_path / "execution" / "keys.py"))
    keys.hash_room.cache_clear()
    before = keys.hash_room("events")
    table.write_text("factor = 1.0")
    keys.hash_room.cache_clear()
    assert keys.hash_room("events") != before
    keys.hash_room.cache_clear()


def test_where_a_model_is_served_does_not_matter(module: ModuleType) -> None:
    local = resolve("cylinder-fno-v1")
    description = ModelDescription.of("theirs", local, best_events=8, most_events=99, most_bytes=1 << 20, version="1")
    remote, elsewhere = (RemoteScorer(Serving(at=at), description) for at in ("http://127.0.0.1:9", "https://h:1"))
    keys = {key(module.Slots(scorer)) for scorer in (local, remote, elsewhere, FallbackScorer(remote, local))}
    assert len(keys) == 1
    other = RemoteScorer(Serving(at="https://h:1"), description.model_copy(update={"fingerprint": "f" * 64}))
    assert key(module.Slots(other)) not in keys
