"""What the workers see of files, output and the processor's imports, asked of a real cluster."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from distributed import Client, LocalCluster

from darkop_dist.execution import keys
from darkop_dist.scoring.local import LocalScorer
from darkop_dist.stages.pipeline import Request, run_search
from darkop_dist.stages.preflight import Finding, check_all

Write = Callable[..., Path]
PLAIN: dict[str, Any] = {"operator": None, "anomaly_detection": None, "limits": None}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One worker process whose current directory is not that of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        with (
            LocalCluster(
                n_workers=1,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=":0",
                memory_limit="3 GB",
                silence_logs=50,
            ) as cluster,
            Client(cluster, set_as_default=False) as found,
        ):
            yield found


def on_workers(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings if finding.check == "workers"}


def test_workers_like_this_process(client: Client, write_search: Write, tmp_path: Path) -> None:
    findings = check_all(write_search(tmp_path, **PLAIN, output=str(tmp_path / "out")), client=client)
    found = on_workers(findings)
    assert {finding.status for finding in found.values()} == {"ok"}
    assert set(found) == {"local", "processor", "files", "output", "scratch"}
    assert found["output"].message == f"they see {tmp_path}: each writes its results there"
    memory = next(finding for finding in findings if finding.check == "memory")
    assert memory.numbers["limit_bytes"] == 3_000_000_000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".darkop")] == []


@pytest.fixture
def operator(write_search: Write, tmp_path: Path) -> dict[str, Any]:
    """A checkpoint for the columns of the small search."""
    run = run_search(Request(write_search(tmp_path / "trained"), tmp_path / "run", page=False))
    return {"checkpoint": str(run.checkpoint)}


def test_a_server_of_scores(
    client: Client, write_search: Write, tmp_path: Path, operator: dict[str, Any], score_servers: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with score_servers.score_server(LocalScorer.from_checkpoint(operator["checkpoint"])) as server:

        def check(**serve: Any) -> Finding:
            changes = {"operator": {**operator, "serve": {"at": server.url, **serve}}, "output": str(tmp_path / "out")}
            return on_workers(check_all(write_search(tmp_path, **changes), client=client))["scores"]

        assert check().message == f"they get scores from {server.url}"
        # the token is here and not there; the server itself asks for none
        monkeypatch.setenv("ONLY_HERE", "t" * 32)
        secret = {"token_env": "ONLY_HERE"}
        found = check(**secret)
        assert found.status == "failed"
        assert "gets no scores: operator.serve.token_env: the environment variable ONLY_HERE is empty" in found.message
        assert check(**secret, fallback="local").status == "warning"


def test_files_and_output_that_only_this_process_sees(
    client: Client, write_search: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current directory is another one there, so one path means two places."""
    document = write_search(tmp_path, **PLAIN, output="/proc/self/cwd/out")
    monkeypatch.chdir(tmp_path)
    body = json.loads(document.read_text())
    body["datasets"][0]["files"] = ["/proc/self/cwd/data.csv"]
    document.write_text(json.dumps(body))
    found = on_workers(check_all(document, client=client))
    files = found["files of data"]
    assert files.status == "failed"
    assert "cannot open /proc/self/cwd/data.csv: FileNotFoundError" in files.message
    assert "Put the files where the workers see them" in files.what_to_do
    assert found["output"].message.startswith("no worker sees /proc/self/cwd: results come over the network")


def test_a_processor_that_imports_what_is_installed_here_alone(
    client: Client, write_search: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages"
    package.mkdir()
    (package / "installed_here.py").write_text("def number():\n    return 1\n")
    monkeypatch.syspath_prepend(str(package))
    installed = keys._installed()
    monkeypatch.setattr(keys, "_installed", lambda: (package, *installed))
    (tmp_path / "own.py").write_text(
        "import installed_here\nfrom pydantic import BaseModel\n"
        "class Nothing(BaseModel):\n    pass\n"
        "class Own:\n    Parameters = Nothing\n"
        "    def __init__(self, settings, scorer=None): self.number = installed_here.number\n"
        "    def process(self, events): return {'events': {'n': len(events)}}\n"
    )
    changes = PLAIN | {"processor": "own.py:Own", "parameters": {}, "signal_region": None}
    found = on_workers(check_all(write_search(tmp_path, **changes), client=client))
    sys.modules.pop("installed_here", None)
    assert found["processor"].status == "failed"
    assert (
        "cannot import the processor: ModuleNotFoundError: No module named 'installed_here'"
        in found["processor"].message
    )


def test_a_scheduler_that_does_not_answer(write_search: Write, tmp_path: Path) -> None:
    document = write_search(tmp_path, **PLAIN, execution={"where": "dask://127.0.0.1:9"})
    finding = on_workers(check_all(document))["dask://127.0.0.1:9"]
    assert finding.status == "failed"
    assert "no Dask scheduler answers at dask://127.0.0.1:9" in finding.message
    finding = on_workers(check_all(document, cluster=False))["dask://127.0.0.1:9"]
    assert (finding.status, finding.message) == ("skipped", "not asked (--no-cluster)")
