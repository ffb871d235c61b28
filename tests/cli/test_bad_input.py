"""Each kind of bad input gets one clear error that names the file and the thing; nothing is left half-written."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uproot

from darkop_dist.cli import main
from darkop_dist.runs import RunDirectory, has_results

Write = Callable[..., Path]
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def darkop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["darkop", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0), capsys.readouterr().err

    return call


def datasets_with(document: Path, name: str, **changes: object) -> Path:
    body = json.loads(document.read_text())
    for dataset in body["datasets"]:
        if dataset["name"] == name:
            dataset.update(changes)
    document.write_text(json.dumps(body, indent=1))
    return document


@pytest.fixture
def document(write_search: Write, tmp_path: Path) -> Path:
    return write_search(tmp_path, operator=None, anomaly_detection=None)


def check(outcome: tuple[int, str], status: int, *parts: str, folder: Path) -> None:
    code, error = outcome
    for part in parts:
        assert part in error
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert code == status
    for left in (path for path in folder.iterdir() if path.is_dir()):
        kept = RunDirectory(left)
        assert has_results(kept), "nothing half-written stays behind"
        assert not kept.histograms.exists()
        assert "what was processed is kept: darkop run --resume goes on with it" in error


def test_missing_file(darkop: Command, document: Path, tmp_path: Path) -> None:
    (tmp_path / "signal.csv").unlink()
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, str(tmp_path / "signal.csv"), "no", folder=tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "corrupt"])
def test_damaged_root_file(darkop: Command, document: Path, tmp_path: Path, damage: str, shared_data: Path) -> None:
    whole = (shared_data / "cms" / "Run2012B_SingleMu_1000.root").read_bytes()
    (tmp_path / "bad.root").write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"\0" * 10_000)
    datasets_with(document, "data", files=["bad.root"])
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "bad.root: is truncated or corrupt", "Download it again", folder=tmp_path)


def test_file_without_the_tree(darkop: Command, document: Path, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "other.root") as file:
        file["Trees"] = {"mtt": np.ones(3)}
    datasets_with(document, "data", files=["other.root"])
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "other.root: has no 'Events'", "tree 'Events'", folder=tmp_path)


def test_file_without_a_needed_branch(darkop: Command, document: Path, tmp_path: Path) -> None:
    pd.DataFrame({"mtt": [1.0], "mu_pt": [60.0]}).to_csv(tmp_path / "data.csv", index=False)
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "data.csv: has no branch mu_abseta", folder=tmp_path)


def test_empty_tree(darkop: Command, document: Path, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "empty.root") as file:
        file["Events"] = {name: np.array([], dtype=np.float64) for name in ("mtt", "mu_pt", "mu_abseta")}
    datasets_with(document, "data", files=["empty.root"])
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "empty.root: the tree 'Events' is empty", "Remove the file", folder=tmp_path)


def test_nan_weight(darkop: Command, document: Path, tmp_path: Path) -> None:
    table = pd.read_csv(tmp_path / "background.csv")
    table.loc[7, "weight"] = np.nan
    table.to_csv(tmp_path / "background.csv", index=False)
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "background.csv (dataset background): 1 of 8000 weights", "entry 7", folder=tmp_path)


def test_negative_total_weight(darkop: Command, document: Path, tmp_path: Path) -> None:
    table = pd.read_csv(tmp_path / "background.csv")
    table["N_gen"] = -80_000.0
    table.to_csv(tmp_path / "background.csv", index=False)
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "dataset background: the total generator weight is -80000", folder=tmp_path)


def test_signal_without_selected_events(darkop: Command, document: Path, tmp_path: Path) -> None:
    table = pd.read_csv(tmp_path / "signal.csv")
    table["mtt"] = 100.0
    table.to_csv(tmp_path / "signal.csv", index=False)
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "signal", "no selected event", folder=tmp_path)


def test_unknown_dataset(darkop: Command, document: Path, tmp_path: Path) -> None:
    body = json.loads(document.read_text())
    document.write_text(json.dumps(body | {"datasets": [*body["datasets"], "cms-2016g-mett"]}))
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "unknown dataset 'cms-2016g-mett'. Did you mean cms-2016g-met", folder=tmp_path)


def test_unwritable_output(darkop: Command, document: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    outcome = darkop("run", document, "--output", tmp_path / "file" / "out")
    check(outcome, 2, "cannot be written", "Choose an output directory", folder=tmp_path)
    if os.geteuid() != 0:
        tmp_path.chmod(0o555)
        outcome = darkop("run", document, "--output", tmp_path / "out")
        tmp_path.chmod(0o755)
        check(outcome, 2, "cannot be written", folder=tmp_path)


def test_every_mistake_of_a_document_at_once(darkop: Command, write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, signal_region="mtt >> 400", systematics=["luminosty"], lumi_ifb=-1, colour="red")
    code, error = darkop("run", document, "--output", tmp_path / "out")
    assert code == 2
    assert "4 mistakes in the document" in error
    for text in ("signal_region", "did you mean 'luminosity'?", "lumi_ifb", "colour"):
        assert text in error
    assert error.count("line ") == 4


def test_mistakes_in_the_processors_parameters(darkop: Command, write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, parameters={"mtt_bins": [0, 1], "mu_pt_mni": 5.0})
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "parameters.mu_pt_mni", "did you mean 'mu_pt_min'", folder=tmp_path)


def test_a_bug_in_the_processor_is_a_failure(darkop: Command, document: Path, tmp_path: Path) -> None:
    source = tmp_path / "broken.py"
    source.write_text(
        "from pydantic import BaseModel\n"
        "class Nothing(BaseModel):\n    pass\n"
        "class Broken:\n    Parameters = Nothing\n"
        "    def __init__(self, settings, scorer=None): ...\n"
        "    def process(self, events): return 1 / 0\n"
    )
    body = json.loads(document.read_text()) | {"processor": "broken.py:Broken", "parameters": {}}
    del body["signal_region"]
    document.write_text(json.dumps(body))
    code, error = darkop("run", document, "--output", tmp_path / "out")
    assert code == 1
    assert "the processor failed in chunk data:" in error
    assert "ZeroDivisionError" in error
    assert not (tmp_path / "out").exists()


def test_stage_on_a_directory_that_is_no_run(darkop: Command, tmp_path: Path) -> None:
    code, error = darkop("limits", tmp_path)
    assert code == 2
    assert "document.json: this run directory does not hold it. Run the stage that writes it: darkop run" in error
    code, error = darkop("ledger", tmp_path / "nowhere")
    assert code == 2
    assert "no such run directory" in error


def test_values_that_are_no_numbers(darkop: Command, write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, operator=None, anomaly_detection=None, signal_region=None)
    table = pd.read_csv(tmp_path / "data.csv")
    table.loc[3, "mtt"] = np.nan
    table.to_csv(tmp_path / "data.csv", index=False)
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "dataset data: 1 of 800 values of mtt in region signal are not numbers", folder=tmp_path)


def test_bin_edges_must_increase(darkop: Command, write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, parameters={"mtt_bins": [1000, 500, 2000]})
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "parameters.mtt_bins", "bin edges must increase", folder=tmp_path)


def test_an_address_without_its_library(darkop: Command, document: Path, tmp_path: Path) -> None:
    datasets_with(document, "data", files=["root://127.0.0.1:1//store/a.root"])
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "root://127.0.0.1:1//store/a.root", folder=tmp_path)


def test_a_server_that_does_not_answer(darkop: Command, document: Path, tmp_path: Path) -> None:
    datasets_with(document, "data", files=["http://127.0.0.1:9/a.root"])
    outcome = darkop("run", document, "--output", tmp_path / "out")
    check(outcome, 2, "http://127.0.0.1:9/a.root: cannot be reached", folder=tmp_path)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path)
    # A shell that starts the tests in the background has them ignore SIGINT, which children inherit.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from darkop_dist.cli import main; main()"
    command = [sys.executable, "-c", program, "run", str(document), "--output", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while "training" not in (line := process.stdout.readline()):
            assert line, "the run ended before it could be stopped"
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "error: stopped; nothing was written" in printed
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_signal_region_that_would_not_be_applied(
    darkop: Command, write_search: Write, tmp_path: Path, command: str
) -> None:
    document = write_search(tmp_path, signal_region="masss > 400 GeV")
    code, error = darkop(command, document)
    assert code == 2
    assert "signal_region: ZPrime cannot cut on masss: must use its columns mtt, mu_pt, mu_abseta" in error


def test_train_without_training_and_loss_of_an_unknown_dataset(darkop: Command, document: Path, tmp_path: Path) -> None:
    code, error = darkop("train", document, "--output", tmp_path / "model")
    assert (code, "trains no operator" in error) == (2, True)
    code, error = darkop("run", document, "--output", tmp_path / "out", "--accept-loss", "dta")
    assert (code, "unknown dataset 'dta'. Did you mean data?" in error) == (2, True)
