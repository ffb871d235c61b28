"""``darkop datasets list|show|files|query`` and what the shell completes."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import darkop_dist as do
from darkop_dist.catalogue import load_catalogue, read_records
from darkop_dist.cli import main
from darkop_dist.cli.datasets_shown import dataset_table, described
from darkop_dist.errors import UnknownNameError

Outcome = tuple[int, str, str]
Call = Callable[..., Outcome]


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> Call:
    def call(*arguments: object) -> Outcome:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["darkop", "datasets", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return call


def test_list_with_filters(datasets: Call) -> None:
    status, out, err = datasets("list", "--experiment", "atlas", "--year", 2016, "--type", "data")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["name", "atlas-2016-data", "1"]
    assert out.splitlines()[-1].startswith("1 of 393 datasets; ? marks what is not certain")
    _, out, _ = datasets("list", "--format", "pfnano", "--json")
    assert len(json.loads(out)) == 17
    assert {each["files_known"] for each in json.loads(out)} == {False}
    _, out, _ = datasets("list", "cms-2016?-met", "--json")
    assert [(each["name"], each["file_count"], each["files_known"]) for each in json.loads(out)] == [
        ("cms-2016g-met", 17, True),
        ("cms-2016h-met", 32, True),
    ]
    _, out, _ = datasets("list", "ttbar_hdamp", "--type", "mc")
    assert "atlas-mc20-410470" in out
    status, out, _ = datasets("list", "cms-2016g-*", "--year", 2010)
    assert (status, out.splitlines()[-1][:18]) == (0, "0 of 393 datasets;")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("list", "--experiment", "CSM"),
            "unknown experiment 'CSM'. Did you mean CMS? Choose from CMS, ATLAS, simulation",
        ),
        (("list", "--year", 2017), "unknown year '2017'. Did you mean 2016"),
        (("list", "--type", "simulated"), "unknown type of data 'simulated'. Did you mean simulation?"),
        (("list", "--format", "nanaod"), "unknown format 'nanaod'. Did you mean nanoaod"),
        (("list", "cms-2016gg-*"), "unknown dataset 'cms-2016gg-*'. Did you mean cms-2016g-*"),
        (("show", "cms-2016g-mte"), "unknown dataset 'cms-2016g-mte'. Did you mean cms-2016g-met"),
        (("files", "atlas-mc21-*"), "unknown dataset pattern 'atlas-mc21-*'. Did you mean atlas-mc20-*"),
        (
            ("files", "cms-2016g-btagcsv"),
            "With a network, `darkop datasets query cern 30517 --output cern-30517.json` writes them: name that file under",
        ),
        (("files", "atlas-mc20-801976"), "`darkop datasets query atlas 801976 --output atlas-2024r-pp-801976.json`"),
        (("files", "lhco-rd"), "Download them from https://doi.org/10.5281/zenodo.4536377"),
        (("files", "qcd-pythia"), "the dataset has no files. Make it first: darkop generate."),
    ],
)
def test_mistakes(datasets: Call, arguments: tuple[object, ...], message: str) -> None:
    status, out, err = datasets(*arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_show_for_people(datasets: Call) -> None:
    status, out, err = datasets("show", "atlas-mc20-410470")
    assert (status, err) == (0, "")
    for line in (
        "  events            32,890,000?",
        "  size              478.6 GB (478,579,398,225 bytes)",
        "  cross section     729.77 pb",
        "  product           452.311 pb",
        "  portal record     https://opendata.cern.ch/record/80017",
        "  events            32890000 in the files' own counts, 32760000 in the table",
    ):
        assert line in out.splitlines()
    _, out, _ = datasets("show", "cms-2015-wjets")
    assert "  cross section     15487 pb?" in out.splitlines()
    _, out, _ = datasets("show", "cms-pfnano-2016g-jetht")
    assert "no files are listed. They are in record 31308" in out
    _, out, _ = datasets("show", "qcd-pythia")
    assert "  made on demand    process qcd-dijets, seed 1001" in out.splitlines()


def test_show_as_json_is_a_record(datasets: Call, tmp_path: Path) -> None:
    _, out, _ = datasets("show", "cms-2016g-met", "--json")
    (tmp_path / "own.json").write_text(json.dumps({"records": [json.loads(out)]}))
    assert read_records(tmp_path / "own.json") == (load_catalogue().find("cms-2016g-met"),)
    _, out, _ = datasets("show", "cms-2016?-met", "--json")
    assert [each["name"] for each in json.loads(out)] == ["cms-2016g-met", "cms-2016h-met"]


def test_files_for_scripts(datasets: Call) -> None:
    _, out, _ = datasets("files", "atlas-mc20-700591")
    uri = (
        "root://eospublic.cern.ch:1094//eos/opendata/atlas/rucio/mc20_13TeV/DAOD_PHYSLITE.37110904._000001.pool.root.1"
    )
    assert out == f"{uri}\t252105748\tc3116579\n"
    _, out, _ = datasets("files", "cms-2015-single-top-tw")
    assert [line.split("\t")[1:] for line in out.splitlines()] == [["-", "-"]] * 3
    _, out, _ = datasets("files", "atlas-mc20-700591", "--json")
    assert json.loads(out) == [{"uri": uri, "bytes": 252105748, "adler32": "c3116579", "events": 19980}]


def test_own_records_are_listed(datasets: Call, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[[records]]\nname = "mine"\nkind = "data"\nfiles = ["a.root"]\nyear = 2018\n')
    _, out, _ = datasets("list", "--catalogue", "own.toml", "--year", 2018)
    assert out.splitlines()[1].split()[:5] == ["mine", "data", "nanoaod", "2018", "-"]
    _, out, _ = datasets("files", "mine", "--catalogue", "own.toml")
    assert out == f"{tmp_path}/a.root\t-\t-\n"


@pytest.mark.parametrize("width", [100, 200])
def test_tables_fit(width: int) -> None:
    """No line is longer than the terminal, and only titles are cut."""
    records = load_catalogue().list_datasets()
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(dataset_table(records, width))
    console.file.close()
    head, *lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines] == [record.name for record in records]
    assert ("xsec (pb)" in head) == (width == 200)
    by_name = dict(zip([record.name for record in records], lines, strict=True))
    assert "5,383,448,881  (45,571)   38.9 TB" in by_name["atlas-2016-data"]
    assert "20,000?" in by_name["atlas-mc20-801976"]
    assert ("1.2465?" in by_name["atlas-mc20-801976"]) == (width == 200)
    assert sum("…" in line.rsplit("  ", 1)[0] for line in lines) == 0


def test_a_terminal_of_100_columns(repository: Path) -> None:
    own, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm", "PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", "from darkop_dist.cli import main; main()", "datasets", "list", "*2015*"]
    running = subprocess.Popen(command, stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(own, 65536):
            shown += part
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(own)
    assert running.wait() == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert len(lines) == 12
    assert max(map(len, lines[:-1])) == 100


def test_a_reader_that_stops_early(repository: Path) -> None:
    command = f"{sys.executable} -c 'from darkop_dist.cli import main; main()' datasets files 'cms-2015-*' | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=True, cwd=repository
    )
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_texts_of_records_have_no_markup() -> None:
    record = load_catalogue().find("cms-2016g-met").model_copy(update={"title": "[red]x[/] [pb]"})
    assert "[red]x[/] [pb]" in described(record)
    console = Console(width=200, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(dataset_table([record], 200))
    assert "[red]x[/] [pb]" in captured.get()


COMPLETE = {"bash": "complete_bash", "zsh": "complete_zsh"}


@pytest.mark.parametrize("shell", COMPLETE)
def test_names_are_completed(shell: str, repository: Path, tmp_path: Path) -> None:
    """The variables are those that the scripts of ``darkop --show-completion`` set."""
    (tmp_path / "own.toml").write_text('[[records]]\nname = "cms-2016g-mine"\nkind = "data"\nfiles = ["a.root"]\n')

    def completed(line: str) -> str:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_TYPER_COMPLETE_ARGS": line}
        environment = os.environ | words | {"_DARKOP_COMPLETE": COMPLETE[shell], "PYTHONPATH": str(repository)}
        command = [sys.executable, "-c", "from darkop_dist.cli import main; main()"]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout

    out = completed("darkop datasets show cms-2016g-me")
    assert "cms-2016g-met" in out
    assert "cms-2016h" not in out
    assert ("/MET/Run2016G" in out) == (shell == "zsh")  # zsh shows titles, bash names alone
    out = completed("darkop datasets files --catalogue own.toml cms-2016g-m")
    assert "cms-2016g-mine" in out
    assert "ATLAS" in completed("darkop datasets list --experiment A")


def test_completion_loads_no_heavy_library(repository: Path) -> None:
    code = "import sys, darkop_dist.cli; sys.exit(', '.join({'awkward', 'coffea', 'uproot', 'dask', 'pyhf'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


PORTAL_RECORD: dict[str, Any] = {
    "title": "/BTagCSV/Run2016G-UL2016_MiniAODv2_NanoAODv9-v1/NANOAOD",
    "experiment": ["CMS"],
    "type": {"secondary": ["Collision"]},
    "distribution": {"formats": ["nanoaod", "root"], "number_events": 5, "number_files": 1, "size": 3},
    "_file_indices": [{"key": "k", "files": [{"uri": "root://h//a.root", "size": 3, "checksum": "adler32:0000000a"}]}],
}


def test_query_of_the_portal(datasets: Call, answers: Any, tmp_path: Path) -> None:
    answers.given["/api/records/30517"] = (200, {"metadata": PORTAL_RECORD})
    hits = {"hits": {"hits": [{"id": "30517", "metadata": PORTAL_RECORD}], "total": 4}}
    answers.given["/api/records/?q=BTagCSV+2016&page=1&size=20"] = (200, hits)
    asked = ("query", "cern", "30517", "--server", answers.address)
    status, out, err = datasets("query", "cern", "BTagCSV", "2016", "--server", answers.address)
    assert (status, err) == (0, "")
    assert "1 of 4 records" in out
    status, out, _ = datasets(*asked)
    assert (status, out.splitlines()[0]) == (0, "cern-30517: 5 events, 1 files, 3 B")
    assert list(tmp_path.iterdir()) == []
    status, out, _ = datasets(*asked, "--output", "cern.json")
    assert (status, out.splitlines()[-1]) == (0, "record for your documents (catalogue: [FILE]): cern.json")
    assert json.loads((tmp_path / "cern.json").read_text())["built_by"].startswith("darkop datasets query cern 30517")
    _, out, _ = datasets("files", "cern-30517", "--catalogue", "cern.json")
    assert out == "root://h//a.root\t3\t0000000a\n"
    status, _, err = datasets(*asked, "--output", "cern.json")
    assert (status, "error: cern.json: exists already" in err) == (2, True)
    assert datasets(*asked, "--output", "cern.json", "--force")[0] == 0
    assert "JSON. Give it a name that ends in .json" in datasets(*asked, "--output", "cern.toml")[2]
    assert "is a search, which writes no file" in datasets(*asked, "MET", "--output", "x.json")[2]
    assert "cannot be the name of 2 datasets" in datasets(*asked, "30518", "--name", "x")[2]
    status, _, err = datasets("query", "cern", "31", "--server", answers.address, "--output", "none.json")
    assert (status, "unknown record of the portal '31'" in err) == (2, True)
    assert not (tmp_path / "none.json").exists()


def test_query_of_atlas(datasets: Call, answers: Any, tmp_path: Path) -> None:
    pytest.importorskip("atlasopenmagic", reason="needs the extra access")
    sample = {"dataset_number": "801976", "physics_short": "Zprime", "cross_section_pb": 1.2, "genFiltEff": 1.0}
    sample |= {"kFactor": 1.0, "nEvents": 20000, "file_list": ["root://h//DAOD_PHYSLITE.1._000001.pool.root.1"]}
    answers.given["/metadata/2024r-pp/801976"] = (200, sample)
    asked = ("query", "atlas", "801976", "--server", answers.address, "--output", "atlas.json")
    status, out, err = datasets(*asked)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "atlas-2024r-pp-801976: 20,000 events, 1 files, -"
    (record,) = read_records(tmp_path / "atlas.json")
    assert (record.xsec_pb, record.format, record.dsid) == (1.2, "physlite", 801976)
    status, _, err = datasets("query", "atlas", "9", "--server", answers.address)
    assert (status, "unknown ATLAS sample '9'" in err) == (2, True)


def test_help_leads_to_each_command(datasets: Call) -> None:
    _, out, _ = datasets("--help")
    for command in ("list", "show", "files", "query"):
        assert f"  {command} " in out
    _, out, _ = datasets("query", "--help")
    assert "cern" in out
    assert "atlas" in out


def test_python_interface() -> None:
    names = do.list_opendata_datasets(experiment=["atlas"], years=[2015], data_type="data")
    assert names == ("atlas-2015-data",)
    mc = do.list_opendata_datasets(experiment="ATLAS", data_type="mc")
    assert len(mc) == 266 + 5 + 3
    for arguments, message in (
        ({"experiment": ["CMSS"]}, "unknown experiment 'CMSS'. Did you mean CMS"),
        ({"years": [2061]}, "unknown year '2061'. Did you mean 2016"),
        ({"data_type": "dat"}, "unknown type of data 'dat'. Did you mean data"),
    ):
        with pytest.raises(UnknownNameError, match=message):
            do.list_opendata_datasets(**arguments)  # type: ignore[arg-type]
