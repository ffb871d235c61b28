from __future__ import annotations

import subprocess
import sys

import pytest

from darkop_dist.errors import InputValueError, UnknownNameError
from darkop_dist.generation.process import list_processes, load_process, pythia_lines


def test_the_processes_of_the_quick_start_exist_and_say_what_they_approximate() -> None:
    processes = {process.name: process for process in list_processes()}
    assert {"qcd-dijets", "z-nunu-jets", "monojet-dm"} <= set(processes)
    for process in processes.values():
        assert process.reference
        assert process.approximations
        assert process.settings


def test_settings_replace_defaults() -> None:
    process = load_process("monojet-dm")
    lines = pythia_lines(process, {"mediator_mass": "2000", "mpi": False, "quark_axial": 0.1})
    assert {"55:m0 = 2000.0", "PartonLevel:MPI = off", "Zp:au = 0.1", "Zp:ad = 0.1", "52:m0 = 100.0"} <= set(lines)


def test_an_unknown_process_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown process 'qcd-dijet'\. Did you mean qcd-dijets"):
        load_process("qcd-dijet")


def test_an_unknown_parameter_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"parameter of the process monojet-dm 'mediatormass'.*mediator_mass"):
        pythia_lines(load_process("monojet-dm"), {"mediatormass": 1000})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pthat_min": 1}, r"qcd-dijets: pthat_min: 1 GeV is out of range\. Use a number between 10 and 5000 GeV"),
        ({"pthat_min": float("nan")}, r"nan GeV is out of range"),
        ({"pthat_min": "much"}, r"'much' is not a number"),
        ({"pthat_min": 400, "pthat_max": 300}, r"pthat_max: 300\.0 is not above pthat_min, 400\.0"),
        ({"mpi": "maybe"}, r"maybe is not a choice\. Use one of: on, off"),
    ],
)
def test_a_bad_value_says_what_is_allowed(settings: dict[str, float | int | str], message: str) -> None:
    with pytest.raises(InputValueError, match=message):
        pythia_lines(load_process("qcd-dijets"), settings)


def test_importing_the_room_loads_no_heavy_library() -> None:
    heavy = ("pythia8mc", "fastjet", "awkward", "uproot", "torch", "dask")
    code = f"import sys, darkop_dist.generation; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
