from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import pytest
import uproot

from darkop_dist.config.datasets import DatasetRecord
from darkop_dist.errors import UnknownNameError
from darkop_dist.generation.materialise import cache_key, materialise

EVENTS = 20


def record(**changes: Any) -> DatasetRecord:
    generated = {"process": "z-nunu-jets", "events": EVENTS, "seed": 3, "settings": {"mpi": "off"}}
    generated |= changes.pop("generated", {})
    return DatasetRecord.model_validate({"name": "z", "kind": "simulation", "generated": generated, **changes})


def file_of(made: DatasetRecord) -> Path:
    (file,) = made.files
    assert not isinstance(file, str)
    assert file.bytes == Path(file.uri).stat().st_size
    assert file.events == made.events == EVENTS
    return Path(file.uri)


def content(file: Path) -> ak.Array:
    with uproot.open(file) as opened:
        return opened["Events"].arrays()


def never(done: int) -> None:
    pytest.fail("events were generated again")


def test_a_record_gets_a_file_once(tmp_path: Path) -> None:
    made = materialise(record(), tmp_path)
    file = file_of(made)
    assert made.xsec_pb is not None
    assert 20 < made.xsec_pb < 50  # 32.5 pb with 20 events
    assert "seed 3" in made.provenance
    again = materialise(record(xsec_pb=1.5, provenance="Mine."), tmp_path, progress=never)
    assert file_of(again) == file
    assert again.xsec_pb == 1.5
    assert again.provenance.startswith("Mine. 20 events")


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _overwrite_middle(file: Path) -> None:
    whole = file.read_bytes()
    third = len(whole) // 3
    file.write_bytes(whole[:third] + b"\0" * third + whole[2 * third :])


def _other_number_of_events(file: Path) -> None:
    other = materialise(record(generated={"events": 10}), file.parent)
    assert other.events == 10
    Path(str(other.uris[0])).replace(file)


@pytest.mark.parametrize("damage", [_truncate, _empty, _overwrite_middle, _other_number_of_events])
def test_a_damaged_file_is_generated_again(damage: Callable[[Path], None], tmp_path: Path) -> None:
    file = file_of(materialise(record(), tmp_path))
    whole = content(file)
    damage(file)
    assert ak.array_equal(content(file_of(materialise(record(), tmp_path))), whole)


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"events": 21}, {"settings": {"pthat_min": 200}}, {"process": "monojet-dm"}]
)
def test_another_request_has_another_key(change: dict[str, Any]) -> None:
    one, other = record().generated, record(generated=change).generated
    assert one is not None
    assert other is not None
    assert cache_key(one) != cache_key(other)


def test_a_default_that_is_spelled_out_has_the_same_key() -> None:
    one, other = record().generated, record(generated={"settings": {"mpi": "off", "pthat_min": 150}}).generated
    assert one is not None
    assert other is not None
    assert cache_key(one) == cache_key(other)


def test_a_new_writer_does_not_take_old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    request = record().generated
    assert request is not None
    before = cache_key(request)
    module = importlib.import_module("darkop_dist.generation.materialise")  # the room has a function of that name
    monkeypatch.setattr(module, "WRITER_VERSION", 10**6)
    assert cache_key(request) != before


def test_records_with_files_come_back_as_they_are(tmp_path: Path) -> None:
    plain = DatasetRecord(name="data", kind="data", files=("a.root",))
    assert materialise(plain, tmp_path) is plain


def test_a_cross_section_that_cannot_be_used_is_not(tmp_path: Path) -> None:
    changes = {"process": "semivisible-jets", "events": 5, "seed": 1, "settings": {"mpi": "off"}}
    made = materialise(record(generated=changes), tmp_path)
    assert made.xsec_pb is None
    assert "cross section" in made.provenance


def test_a_bad_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"parameter of the process z-nunu-jets 'pthatmin'\. Did you mean pthat_min"
    ):
        materialise(record(generated={"settings": {"pthatmin": 100}}), tmp_path)
    assert not list(tmp_path.iterdir())
