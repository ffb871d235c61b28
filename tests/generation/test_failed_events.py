"""Events that Pythia fails: counted, told, taken out of the cross section; and the line that is to blame."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import pythia8mc
import uproot
from typer.testing import CliRunner

from darkop_dist.cli.app import app
from darkop_dist.errors import RunError
from darkop_dist.generation import process as process_room
from darkop_dist.generation.diagnosis import explain, impossible_lines
from darkop_dist.generation.own_lines import pythia_alone
from darkop_dist.generation.process import load_process, pythia_lines
from darkop_dist.generation.pythia_run import PartRequest
from darkop_dist.generation.truth import generate_truth

WITHOUT_ANTIPARTICLE = "51:new = dark void 1 0 0 10."
TO_NOTHING = "4900111:addChannel = 1 0.8 0 51 -51"
"""Without antiparticle the event check refuses -51. Pythia tries ten times with new decays, so that of the pairs of
scalars with both in b quarks a share 1 - (1 - 0.04)^10 = 0.335 of the events is left."""
KEPT = 1 - 0.96**10
FAILING = (WITHOUT_ANTIPARTICLE, "51:mayDecay = off", "4900111:oneChannel = 1 0.2 91 5 -5", TO_NOTHING)
FAST = ("PartonLevel:ISR = off", "PartonLevel:FSR = off")


def request(lines: tuple[str, ...], events: int) -> PartRequest:
    own = pythia_lines(load_process("displaced-vertices"), {"mpi": "off"})
    return PartRequest("displaced-vertices", (*own, *lines), own_matrix_elements=False, seed=3, events=events)


def test_failed_events_are_counted_and_taken_out_of_the_cross_section_once() -> None:
    """Pythia's estimate has the failed ones out already: taking them out again would give a third of a third."""
    every = generate_truth(request(FAST, 1500)).cross_section
    some = generate_truth(request((*FAST, *FAILING), 500)).cross_section
    assert every.failed == 0
    assert some.failed > 500
    share = 500 / (500 + some.failed)
    assert share == pytest.approx(KEPT, abs=4 * (KEPT * (1 - KEPT) / 1500) ** 0.5)
    assert abs(some.pb - share * every.pb) < 4 * (some.error_pb**2 + (share * every.error_pb) ** 2) ** 0.5
    assert some.pb < 0.5 * every.pb
    assert 0.03 < some.error_pb / some.pb < 0.08  # 1 / sqrt(500) at least


def test_a_process_that_misses_an_antiparticle_names_the_lines() -> None:
    """Every dark hadron to an invisible pair: nextBatch returns an empty array and says nothing."""
    own = pythia_lines(load_process("semivisible-jets"), {"mpi": "off", "r_inv": 1.0})
    lines = (*own, WITHOUT_ANTIPARTICLE, "53:new = dark void 3 0 0 5.")
    with pytest.raises(RunError, match=r"Pythia fails its events \(5 of 5 missing") as caught:
        generate_truth(PartRequest("semivisible-jets", lines, own_matrix_elements=False, seed=3, events=5))
    message = str(caught.value)
    assert "'4900113:oneChannel = 1 1.0 0 53 -53' (the particle 53 is declared without an antiparticle by" in message
    assert "'53:new = dark void 3 0 0 5.')" in message
    assert "Error in Pythia::check: unknown particle code" in message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("4900111:oneChannel = 1 1.0 0 5999999 21", "there is no particle 5999999"),
        ("4900111:oneChannel = 1 1.0 0 2 -1", "its products have charge 3/3, the particle 4900111 0/3"),
        ("4900111:addChannel = 1 1.0 91 6 -6", "its products weigh 3[0-9.]+ GeV, the particle 4900111 [0-9.]+ GeV"),
    ],
)
def test_a_decay_that_cannot_happen_is_named(line: str, reason: str) -> None:
    pythia = pythia8mc.Pythia("", False)
    pythia.readString("Print:quiet = on")
    (found,) = impossible_lines(pythia, ["HardQCD:all = on", line])
    assert found.startswith(repr(line))
    assert re.search(reason, found)


def test_lines_without_fault_are_not_blamed() -> None:
    for process in process_room.list_processes():
        pythia = pythia8mc.Pythia("", False)
        lines = pythia_alone(pythia_lines(process, {}))
        for line in ("Print:quiet = on", *lines):
            assert pythia.readString(line)
        assert list(impossible_lines(pythia, lines)) == []
        assert explain(pythia, lines, "").startswith("Check that thresholds leave phase space")


def test_the_file_the_record_and_the_command_tell_of_failed_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of the user's own, with the decay above among its settings."""
    text = process_room.process_file("displaced-vertices").read_text(encoding="utf-8")
    own = "".join(f'  "{line}",\n' for line in FAILING)
    (tmp_path / "failing.toml").write_text(text.replace("]\n\n[parameters", f"{own}]\n\n[parameters", 1))
    monkeypatch.setattr(process_room, "PROCESS_DIRECTORY", tmp_path)
    file = tmp_path / "failing.root"
    done = CliRunner().invoke(app, ["generate", "failing", "--events", "40", "--set", "mpi=off", "--output", str(file)])
    assert done.exit_code == 0, done.output
    with uproot.open(file) as opened:
        failed = int(opened["Runs"]["genEventFailed"].array(library="np")[0])
        assert opened["Events"].num_entries == 40
    assert failed > 20
    told = f"{failed} of {40 + failed} events"
    assert told in " ".join(done.output.split())
    record = json.loads((tmp_path / "failing.record.json").read_text())["records"][0]
    assert told in record["provenance"]
