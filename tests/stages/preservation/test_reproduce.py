"""A package run again: in another place and process it gives the same; whatever is not as it was is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import darkop_dist as do
from darkop_dist.cli import main
from darkop_dist.config import load_document
from darkop_dist.errors import InputFileError, OutputError, UserError
from darkop_dist.stages.preservation import (
    METADATA,
    PackageRequest,
    ReproductionRequest,
    reproduce_package,
    write_package,
)
from darkop_dist.stages.preservation.opened import open_package
from darkop_dist.stages.preservation.staged import stage

from .conftest import MODULE, MadeSearch

Rewrite = Callable[[Path, str, Callable[[Any], None]], None]
Darkop = Callable[..., tuple[int, str, str]]
LAUNCH = "import sys; from darkop_dist.cli import main; sys.argv[0] = 'darkop'; main()"


@pytest.fixture
def copied(package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(package, tmp_path / "copied package"))


@pytest.fixture
def darkop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Darkop:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["darkop", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return call


def reproduce(package: Path, tmp_path: Path, **given: Any) -> Any:
    return reproduce_package(ReproductionRequest(package, tmp_path / "again", page=False, **given))


@pytest.mark.slow
def test_from_the_run_to_another_place_and_process(
    made_search: MadeSearch, tmp_path: Path, repository: Path, darkop: Darkop
) -> None:
    """With its inputs, in a zip file, at a path with a space, where nothing of the user's can be imported."""
    place = tmp_path / "another place"
    place.mkdir()
    output = place / "search.zip"
    code, out, error = darkop("export", made_search.run.path, "--to", "rocrate", "--with-inputs", "--output", output)
    assert (code, error) == (0, "")
    assert "copying 3 input files, 0.8 MB" in out
    command = [sys.executable, "-c", LAUNCH, "reproduce", "search.zip", "--no-page", "--json"]
    away = made_search.folder.with_name("away")
    made_search.folder.rename(away)
    try:
        environment = os.environ | {"PYTHONPATH": str(repository)}
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    finally:
        away.rename(made_search.folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["agrees"]
    assert {finding["difference"] for finding in told["findings"]} == {0.0}
    whats = {finding["what"] for finding in told["findings"]}
    assert {"ledger", "cutflow", "histogram mtt", "calibration", "candidates", "workspace", "operator"} <= whats
    assert {"inputs", "observed limit of signal", "expected limits of signal", "p0 of signal"} <= whats
    assert json.loads((place / "search-reproduced" / "reproduction.json").read_text())["agrees"]
    assert sorted(path.name for path in place.iterdir()) == ["search-reproduced", "search.zip"]


@pytest.mark.usefixtures("without_module")
def test_other_libraries_and_a_changed_histogram(
    copied: Path, made_search: MadeSearch, tmp_path: Path, rewrite: Rewrite, darkop: Darkop
) -> None:
    def change(body: Any) -> None:
        storage = body["histograms"]["mtt"]["storage"]
        storage["values"][0][0][0][2] *= 1 + 1e-9  # within what other libraries may do
        storage = body["histograms"]["mu_pt"]["storage"]
        storage["values"][1][0][0][2] *= 2

    rewrite(copied, "results/histograms.json", change)
    rewrite(copied, "results/provenance.json", lambda body: body["versions"].update(numpy="1.0", absent="2.0"))
    arguments = ("reproduce", copied, "--inputs", made_search.folder, "--output", tmp_path / "again", "--no-page")
    code, out, error = darkop(*arguments)
    assert (code, error) == (1, "")
    assert "numpy is " in out
    assert "absent is not installed here, 2.0 in the run" in out
    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in out.splitlines() if line.startswith("│")}
    assert rows["histogram mtt"].startswith("differs by 1e-09: 1 of ")
    assert rows["histogram mu_pt"].startswith("differs by 0.5: 1 of ")
    assert rows["workspace"] == "equal"
    assert "differs: histogram mu_pt\n" in out
    assert darkop(*arguments)[2].strip().endswith("Choose another output, or go on with --resume.")
    code, out, _ = darkop(*arguments, "--resume")
    assert code == 1
    assert "3 from an earlier run" in out


def test_in_the_process_that_made_the_run(package: Path, made_search: MadeSearch, tmp_path: Path) -> None:
    """The user's modules are imported already, from where they lie: another copy would not be used."""
    assert f"{MODULE}.scale" in sys.modules
    with pytest.raises(UserError, match=rf"has imported another module {MODULE} already.*a process of its own"):
        do.reproduce(package, output=tmp_path / "again", inputs=[made_search.folder], page=False)
    assert not (tmp_path / "again").exists()


def test_missing_inputs_are_named_with_their_source(copied: Path, tmp_path: Path, rewrite: Rewrite) -> None:
    def change(body: Any) -> None:
        body["records"][0] |= {"name": "cms-2016g-met", "doi": "10.7483/OPENDATA.CMS.X"}
        body["records"][1] |= {"recid": 30522}

    rewrite(copied, "catalogue/records.json", change)
    rewrite(copied, "inputs.json", lambda body: body["local"][1].update(datasets=["cms-2016g-met"]))
    with pytest.raises(InputFileError) as raised:
        reproduce(copied, tmp_path)
    text = str(raised.value)
    assert "3 of 3 local input files cannot be used" in text
    assert "local:/background.csv: not found (0.6 MB, background: https://opendata.cern.ch/record/30522)" in text
    assert (
        "local:/data.csv: not found (0.1 MB, cms-2016g-met: https://doi.org/10.7483/OPENDATA.CMS.X); "
        "download it: darkop datasets download cms-2016g-met" in text
    )
    assert "--inputs DIRECTORY" in text
    assert not (tmp_path / "again").exists()
    with pytest.raises(InputFileError, match="absent: no such directory"):
        reproduce(copied, tmp_path, inputs=(tmp_path / "absent",))


def test_inputs_that_have_changed_are_named(package: Path, made_search: MadeSearch, tmp_path: Path) -> None:
    folder = tmp_path / "inputs" / "below"
    folder.mkdir(parents=True)
    for name in ("data.csv", "background.csv", "signal.csv"):
        content = (made_search.folder / name).read_bytes()
        changed = {"data.csv": content.replace(b"1", b"2", 1), "signal.csv": content + b"\n"}.get(name, content)
        (folder / name).write_bytes(changed)
    with pytest.raises(InputFileError) as raised:
        reproduce(package, tmp_path, inputs=(tmp_path / "inputs",))
    text = str(raised.value)
    assert "2 of 3 local input files" in text
    assert f"local:/data.csv: {folder / 'data.csv'} is another file: SHA-256 " in text
    assert f"local:/signal.csv: {folder / 'signal.csv'} has 145855 bytes instead of 145854" in text


def test_a_package_with_a_changed_file_is_refused(package: Path, tmp_path: Path) -> None:
    cases = {
        "code/0/own.py": (lambda path: path.write_bytes(path.read_bytes().replace(b"0", b"1", 1)), "has been changed"),
        "results/histograms.json": (lambda path: path.write_text(path.read_text() + " "), r"has \d+ bytes instead of"),
        "operator/checkpoint/card.json": (lambda path: path.unlink(), "is missing"),
        "code/0/numpy.py": (lambda path: path.write_text("x = 1\n"), "is not among the files that the metadata list"),
        "code/0/link.py": (lambda path: path.symlink_to("/etc/hostname"), "is a link"),
        METADATA: (lambda path: path.write_text(path.read_text()[:-100]), "is damaged"),
    }
    for number, (name, (change, problem)) in enumerate(cases.items()):
        copied = Path(shutil.copytree(package, tmp_path / str(number)))
        change(copied / name)
        with pytest.raises(InputFileError, match=f"{name}: {problem}"):
            reproduce(copied, tmp_path)
    assert not (tmp_path / "again").exists()


@pytest.mark.usefixtures("without_module")
def test_a_changed_page_is_noted(copied: Path, made_search: MadeSearch, tmp_path: Path) -> None:
    (copied / "results" / "report" / "index.html").write_text("another page")
    made = do.reproduce(copied, output=tmp_path / "again", inputs=[made_search.folder], page=False, train_again=True)
    assert made.agrees, "a training gives the same model again"
    (note,) = made.notes
    assert note.startswith("results/report/index.html has 12 bytes instead of ")


def test_what_is_no_package(package: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such package"):
        reproduce(tmp_path / "absent.zip", tmp_path)
    with pytest.raises(InputFileError, match=f"holds no {METADATA}: it is no package"):
        reproduce(package / "code", tmp_path)


def test_zip_files_that_are_not_to_be_trusted(made_search: MadeSearch, tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    write_package(PackageRequest(made_search.run.path, whole))
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole.read_bytes()[:-2000])
    flipped = bytearray(whole.read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    (tmp_path / "flipped.zip").write_bytes(flipped)
    cases = {
        "cut.zip": "cut.zip: is damaged or no zip file",
        "flipped.zip": "is damaged|has been changed|bytes instead",
    }
    for name in ("../outside.txt", f"{tmp_path}/outside.txt", "a/../../outside.txt"):
        file = f"traversal{len(cases)}.zip"
        shutil.copy(whole, tmp_path / file)
        with zipfile.ZipFile(tmp_path / file, "a") as archive:
            archive.writestr(name, "x")
        cases[file] = "which is not inside the package"
    link = zipfile.ZipInfo("code/link")
    link.external_attr = 0o120777 << 16
    shutil.copy(whole, tmp_path / "link.zip")
    with zipfile.ZipFile(tmp_path / "link.zip", "a") as archive:
        archive.writestr(link, "/etc/hostname")
    cases["link.zip"] = "holds the link 'code/link'"
    for file, problem in cases.items():
        with pytest.raises(InputFileError, match=problem):
            reproduce(tmp_path / file, tmp_path)
    assert not (tmp_path / "again").exists()
    assert not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize("name", ["../../../../outside.csv", "{0}/outside.csv", ""])
def test_inputs_whose_names_lead_out_of_the_folder(
    name: str, copied: Path, made_search: MadeSearch, tmp_path: Path, rewrite: Rewrite
) -> None:
    """What stood at that place would be replaced by a link."""
    outside = tmp_path / "outside.csv"
    outside.write_bytes((made_search.folder / "data.csv").read_bytes())
    named = f"local:/{name.format(tmp_path)}"
    rewrite(copied, "inputs.json", lambda body: body["local"][1].update(name=named))
    with pytest.raises(InputFileError, match="which is not inside the package"):
        reproduce(copied, tmp_path, inputs=(made_search.folder, tmp_path))
    assert not outside.is_symlink()


def test_the_site_comes_from_a_word_or_a_document(package: Path, made_search: MadeSearch, tmp_path: Path) -> None:
    site = tmp_path / "site.yml"
    site.write_text(
        "execution:\n  where: slurm\n  workers: 8\n  chunk_events: 7\n"
        "  cluster: {walltime: '02:00:00', memory: 4 GB, shared_directory: shared, tls: {ca: a, cert: b, key: /c}}\n"
    )
    with open_package(package) as opened:
        for where in ("dask", str(site)):
            staged = stage(opened, tmp_path / "staged", (made_search.folder,), where=where)
            execution = load_document(staged.document).document.execution
            assert execution.chunk_events == 250_000
            assert execution.where == ("slurm" if where == str(site) else "dask")
        assert execution.workers == 8
        assert execution.cluster.shared_directory == tmp_path / "shared"
        assert execution.cluster.tls is not None
        assert (execution.cluster.tls.ca, execution.cluster.tls.key) == (tmp_path / "a", Path("/c"))
        site.write_text("name: x\n")
        with pytest.raises(InputFileError, match=r"site\.yml: has no section execution"):
            stage(opened, tmp_path / "staged", (made_search.folder,), where=str(site))


def test_an_output_of_something_else_is_refused(package: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        reproduce(package, tmp_path)
    with pytest.raises(OutputError, match="is no reproduction of"):
        reproduce(package, tmp_path, resume=True)
    assert not list((tmp_path / "again").iterdir())


def test_export_says_which_options_belong_together(made_search: MadeSearch, tmp_path: Path, darkop: Darkop) -> None:
    run = made_search.run.path
    for arguments, problem in (
        ((run, "--to", "rocrate", "--label", "m"), "a package takes neither"),
        ((run, "--to", "pyhf", "--with-inputs"), "belong to --to rocrate"),
        ((run, run, "--to", "rocrate"), "a package holds one run"),
    ):
        code, _, error = darkop("export", *arguments, "--output", tmp_path / "out")
        assert code == 2
        assert problem in error
    assert not (tmp_path / "out").exists()
