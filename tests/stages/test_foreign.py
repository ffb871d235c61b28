"""A document may name any coffea processor: it runs to the ledger and the output, and says what it cannot do."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import uhi.io.json as uhi_json
import uproot
from coffea.processor import column_accumulator

from darkop_dist.cli import main
from darkop_dist.errors import ChunkError, DocumentError, InputFileError, LedgerError
from darkop_dist.execution import LedgerEntry, load_ledger
from darkop_dist.runs import RunDirectory
from darkop_dist.stages.one_chunk import rerun_chunk
from darkop_dist.stages.output_file import write_output
from darkop_dist.stages.pipeline import Request, run_search

PROCESSOR = """
import hist
import numpy as np
from coffea import processor
from coffea.nanoevents import BaseSchema

class Masses(processor.ProcessorABC):
    schema = BaseSchema

    def __init__(self, above, fail=""):
        self.above, self.fail = above, fail

    def process(self, events):
        mass = np.asarray(events.mass)
        if self.fail == "bug" and events.metadata["entrystart"]:
            raise ValueError("the mass is negative")
        if self.fail == "lost" and events.metadata["entrystart"]:
            raise OSError(5, "Input/output error")
        filled = hist.Hist.new.Reg(10, 0.0, 1.0, name="mass").Weight()
        filled.fill(mass[mass > self.above])
        return {"mass": {events.metadata["dataset"]: filled}, "kinds": {events.metadata["kind"]},
                "columns": processor.column_accumulator(mass), "events": len(mass)}

    def postprocess(self, accumulator):
        accumulator["mean"] = float(np.mean(accumulator["columns"].value))
        return accumulator
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a processor, 2000 events and a document; what is given replaces keys of the document."""

    def written(**changes: Any) -> Path:
        with uproot.recreate(tmp_path / "masses.root") as file:
            file.mktree("Events", {"mass": "f8"})
            file["Events"].extend({"mass": np.random.default_rng(3).uniform(size=2000)})
        (tmp_path / "masses.py").write_text(PROCESSOR)
        document = {
            "name": "Masses",
            "datasets": [{"name": "mc", "kind": "simulation", "files": ["masses.root"]}],
            "processor": "masses.py:Masses",
            "parameters": {"above": 0.25},
            "execution": {"chunk_events": 500, "retries": 1},
            **changes,
        }
        (tmp_path / "masses.yml").write_text(json.dumps(document))
        return tmp_path / "masses.yml"

    return written


def run(document: Path, **options: Any) -> RunDirectory:
    return run_search(Request(document, document.parent / "result", **options))


def test_it_ends_at_the_output(write: Write) -> None:
    document = write()
    done = run(document)
    body = json.loads((done.path / "output.json").read_text(), object_hook=uhi_json.object_hook)
    with uproot.open(document.parent / "masses.root") as file:
        mass = file["Events"]["mass"].array(library="np")
    output = body["output"]
    expected = np.histogram(mass[mass > 0.25], 10, (0.0, 1.0))[0]
    assert np.array_equal(hist.Hist(output["mass"]["mc"]).values(), expected)
    assert (output["kinds"], output["events"], output["mean"]) == (["simulation"], 2000, float(np.mean(mass)))
    assert output["columns"] == {"parquet": "outputs/columns.parquet", "rows": 2000}
    assert np.array_equal(pq.read_table(done.path / "outputs" / "columns.parquet").column(0).to_numpy(), mass)
    ledger = load_ledger(done.ledger)
    assert body["ledger_digest"] == ledger.digest
    assert [(c.chunks, c.processed, c.closed) for c in ledger.closure()] == [(4, 2000, True)]
    assert json.loads(done.provenance.read_text())["hashes"]["processor"]
    first = (done.path / "output.json").read_bytes()
    again = run(document, resume=True)
    assert (again.path / "output.json").read_bytes() == first
    taken_over = load_ledger(again.ledger)  # with the times of the first run, but for the writing of the result
    assert [_without_keeping(entry) for entry in taken_over.entries] == [_without_keeping(e) for e in ledger.entries]


def _without_keeping(entry: LedgerEntry) -> LedgerEntry:
    return replace(entry, wall_s=0.0, cpu_s=0.0, keep_s=0.0)


def test_losses_are_kept_apart_from_success(write: Write) -> None:
    document = write(parameters={"above": 0.0, "fail": "lost"})
    with pytest.raises(
        LedgerError, match=r"lost 1500 of 2000 entries(.|\n)*The events that were processed are kept in .*result"
    ):
        run(document)
    output = json.loads((document.parent / "result" / "output.json").read_text())["output"]
    assert output["events"] == 500
    assert run(document, force=True, accept_loss=("mc",)).ledger.exists()


def test_a_bug_names_the_chunk_and_the_way_to_it(write: Write) -> None:
    document = write(parameters={"above": 0.0, "fail": "bug"})
    with pytest.raises(ChunkError, match=r"the mass is negative(.|\n)*darkop chunk .*masses\.yml 1 --debug"):
        run(document)
    with pytest.raises(ChunkError, match="the mass is negative"):
        rerun_chunk(document, 1)
    assert rerun_chunk(document, 0).entries == 500


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signal_region": "mass > 0.5"}, r"signal_region: Masses is no search processor"),
        ({"systematics": ["luminosity"]}, r"systematics: Masses is no search processor"),
        ({"parameters": {}}, r"parameters: Masses does not take .*'above'.*: it takes above, fail"),
        ({"parameters": {"abve": 1.0}}, r"parameters: Masses does not take"),
    ],
)
def test_what_a_document_cannot_ask_of_it(write: Write, changes: dict, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        run(write(**changes))


def test_tables_are_refused(write: Write) -> None:
    document = write(datasets=[{"name": "mc", "kind": "data", "format": "flat", "files": ["masses.csv"]}])
    pd.DataFrame({"mass": [0.5]}).to_csv(document.parent / "masses.csv")
    with pytest.raises(InputFileError, match=r"masses\.csv: is no ROOT file"):
        run(document)


def test_the_command_says_where_the_output_is(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    document = write()
    command = ["darkop", "run", str(document), "--output", str(document.parent / "result")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    assert not left.value.code
    assert said.out.strip().endswith("result/output.json")
    assert "need a search processor" in " ".join((said.out + said.err).split())


def test_whatever_is_in_an_output_is_written_or_named(tmp_path: Path) -> None:
    output = {
        ("a", 1): np.float32(0.5),
        "nan": float("nan"),
        "set": {3, 1, 2},
        "small": np.arange(3),
        "jagged": column_accumulator(ak.Array([[1.0], []])),
        "long": {"jagged": ak.Array([[1.0, 2.0]] * 1500), "same/name": np.zeros((1200, 2)), "same name": np.ones(1200)},
        "table": pd.DataFrame({"x": [1, 2]}),
        "thing": object(),
        "list": [1, (2, "three"), None],
    }
    left_out = write_output(tmp_path, output, "digest")
    assert left_out == ("thing: builtins.object",)
    body = json.loads((tmp_path / "output.json").read_text())
    found = body["output"]
    assert body["left_out"] == ["thing: builtins.object"]
    assert (found["('a', 1)"], found["nan"], found["set"], found["small"]) == (0.5, "nan", [1, 2, 3], [0, 1, 2])
    assert (found["jagged"], found["list"]) == ([[1.0], []], [1, [2, "three"], None])
    places = [found["long"][name]["parquet"] for name in ("jagged", "same/name", "same name")]
    assert places == [
        "outputs/long.jagged.parquet",
        "outputs/long.same-name.parquet",
        "outputs/long.same-name-2.parquet",
    ]
    assert ak.from_parquet(tmp_path / places[0]).tolist() == [[1.0, 2.0]] * 1500
    assert ak.to_numpy(ak.from_parquet(tmp_path / places[1])).shape == (1200, 2)
    assert pd.read_parquet(tmp_path / found["table"]["parquet"]).x.tolist() == [1, 2]
    assert write_output(tmp_path, None, "digest") == ()
    assert json.loads((tmp_path / "output.json").read_text())["output"] is None
