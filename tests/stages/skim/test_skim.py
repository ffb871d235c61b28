"""What a skim keeps: events, columns, sums of weights, luminosity blocks; and what it refuses."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

from darkop_dist.catalogue.records_file import read_records
from darkop_dist.errors import (
    ChunkError,
    InputFileError,
    InputValueError,
    LedgerError,
    OutputError,
    StorageError,
    UnknownNameError,
)
from darkop_dist.events.read import inspect_file, open_events
from darkop_dist.execution import load_ledger
from darkop_dist.stages.skim import part
from darkop_dist.stages.skim.chunk import SkimChunk
from darkop_dist.stages.skim.run import Skim

HARD = "MET.pt > 150 and count(Jet.pt > 30) >= 1"
FORMATS = ("ttree", "rntuple", "parquet")
Skimmer = Callable[..., Skim]


def branches(path: Path) -> dict[str, ak.Array]:
    with uproot.open(path) as file:
        return dict(file["Events"].arrays(library="ak", how=dict))


def kept_of(path: Path) -> tuple[dict[str, ak.Array], np.ndarray]:
    whole = branches(path)
    return whole, ak.to_numpy((whole["MET_pt"] > 150) & (ak.sum(whole["Jet_pt"] > 30, axis=1) >= 1))


@pytest.mark.parametrize("layout", FORMATS)
def test_events_and_columns_are_those_of_the_input_in_its_order(layout: str, samples: Path, skim: Skimmer) -> None:
    whole, mask = kept_of(samples / "0.root")
    made = skim(samples / "0.root", select=HARD, columns="Jet_*,MET_pt,Muon", drop="Jet_mass", layout=layout,
                chunk_events=300)  # fmt: skip
    path = made.directory / made.outputs[0].file
    if layout == "parquet":
        table = ak.from_parquet(path)
        found = {name: table[name] for name in table.fields}
    else:
        found = branches(path)
    muon = {name for name in whole if name.startswith("Muon_")}
    jets = {name for name in whole if name.startswith("Jet_")} - {"Jet_mass"}
    numbers = {"run", "luminosityBlock", "event", "genWeight", "MET_pt", "nJet", "nMuon"}
    assert set(found) == muon | jets | numbers
    for name, array in found.items():
        assert array.to_list() == whole[name][mask].to_list(), name
        kinds = [str(ak.type(a)).rpartition("* ")[2].strip("?]") for a in (array, whole[name])]
        assert kinds[0] == kinds[1] or name[:1] == "n", name
    book = json.loads((made.directory / "skim.json").read_text())["totals"]
    assert book == {"entries": 2000, "kept": int(mask.sum()), "rejected": int((~mask).sum()), "lost": 0,
                    "rows": int(mask.sum())}  # fmt: skip
    assert load_ledger(made.directory / "ledger.json").closure()[0].processed == 2000


def test_coffeas_own_schema_reads_all_formats(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    whole, mask = kept_of(samples / "0.root")
    for layout in FORMATS:
        made = skim(samples / "0.root", select=HARD, layout=layout, output=tmp_path / layout)
        path = str(made.directory / made.outputs[0].file)
        read = NanoEventsFactory.from_parquet if layout == "parquet" else NanoEventsFactory.from_root
        with pytest.warns(RuntimeWarning, match="cross-reference"):
            events = read(path if layout == "parquet" else {path: "Events"}, schemaclass=NanoAODSchema).events()
        assert ak.array_equal(events.Jet.pt, whole["Jet_pt"][mask], check_parameters=False)
        assert ak.all(events.Muon.tightId == whole["Muon_tightId"][mask])


@pytest.mark.parametrize("layout", FORMATS)
def test_sums_of_weights_stay_those_of_the_whole_also_of_files_of_which_nothing_is_kept(
    layout: str, samples: Path, skim: Skimmer
) -> None:
    made = skim(samples / "*.root", select=HARD, columns="MET_*", layout=layout)
    (record,) = read_records(made.record)
    facts = [inspect_file(uri, record) for uri in record.uris]
    assert [f.sum_weights for f in facts] == [12345.678, 12346.678, 150.25]
    assert [f.generated_events for f in facts] == [4000, 4000, 500]
    assert (facts[2].entries, record.allow_empty, record.kind) == (0, True, "simulation")
    assert record.events == sum(f.entries for f in facts) > 0
    whole = branches(samples / "2.root")
    if layout != "parquet":
        with uproot.open(record.uris[2]) as file:
            assert file["Runs"]["LHEPdfSumw"].array().to_list() == [[1.0, 0.5]]
            blocks = file["LuminosityBlocks"]["luminosityBlock"].array().to_list()
        assert blocks == sorted(set(whole["luminosityBlock"].to_list()))


def test_outputs_are_put_together_up_to_a_size(samples: Path, skim: Skimmer) -> None:
    made = skim(samples / "[01].root", select=HARD, columns="MET_*,Jet_pt", merge_mb=100)
    (record,) = read_records(made.record)
    assert [output.file.rpartition("/")[2] for output in made.outputs] == ["0000.root"]
    assert inspect_file(record.uris[0], record).sum_weights == 12345.678 + 12346.678
    events = np.concatenate(
        [kept_of(samples / f"{n}.root")[0]["event"][kept_of(samples / f"{n}.root")[1]] for n in (0, 1)]
    )
    assert np.array_equal(branches(Path(record.uris[0]))["event"], events)


def test_a_file_without_runs_gets_the_sums_over_all_of_its_events(
    tmp_path: Path, write_nanoaod: Callable[..., Path], skim: Skimmer
) -> None:
    path = write_nanoaod(tmp_path / "plain.root", 1500)
    made = skim(path, select=HARD, columns="MET_*")
    weights = ak.to_numpy(branches(path)["genWeight"]).astype(np.float64)
    facts = inspect_file(*next((r.uris[0], r) for r in read_records(made.record)))
    assert (facts.sum_weights, facts.generated_events) == (float(np.sum(weights)), 1500)


def test_data_keep_their_luminosity_blocks_and_luminosity(shared_data: Path, skim: Skimmer, tmp_path: Path) -> None:
    source = shared_data / "cms/Run2012B_SingleMu_1000.root"
    told = {"name": "data", "kind": "data", "lumi_ifb": 2.5, "doi": "10.7483/X", "files": [str(source)]}
    (tmp_path / "mine.json").write_text(json.dumps({"schema_version": 1, "records": [told]}))
    made = skim("data", select="nMuon >= 2", columns="Muon_*,HLT_*", catalogue=(tmp_path / "mine.json",))
    (record,) = read_records(made.record)
    assert (record.name, record.sample, record.lumi_ifb, record.doi) == ("data-skim", "data", 2.5, "10.7483/X")
    assert "nMuon >= 2" in record.provenance
    assert "Run2012B_SingleMu_1000.root (" in record.provenance
    whole = branches(source)
    with uproot.open(record.uris[0]) as file:
        blocks = file["LuminosityBlocks"].arrays(library="np")
        found = set(zip(blocks["run"].tolist(), blocks["luminosityBlock"].tolist(), strict=True))
        assert [n for n in file["Events"].keys() if n.startswith("HLT")] == [n for n in whole if n.startswith("HLT")]  # noqa: SIM118
    assert found == set(zip(whole["run"].to_list(), whole["luminosityBlock"].to_list(), strict=True))


def test_a_full_nanoaod_goes_through_with_lists_bits_and_scale_weights(shared_data: Path, skim: Skimmer) -> None:
    source = shared_data / "cms/nano_dy.root"
    made = skim(source, select="nMuon >= 2", columns="LHE*,Muon*,Jet_*,HLT_Iso*,SV_*,PS*,Flag_*,HTXS*")
    found, whole = branches(made.directory / made.outputs[0].file), branches(source)
    mask = ak.to_numpy(whole["nMuon"] >= 2)
    assert {"LHEPdfWeight", "Muon_tightId", "HLT_IsoMu24", "genWeight", "nPSWeight"} <= set(found) <= set(whole)
    for name in found:
        first, second = (ak.to_numpy(ak.flatten(a, axis=None)) for a in (found[name], whole[name][mask]))
        assert np.array_equal(first, second, equal_nan=first.dtype.kind == "f"), name
    with uproot.open(source) as first, uproot.open(made.directory / made.outputs[0].file) as second:
        for name in first["Runs"].keys():  # noqa: SIM118
            assert first["Runs"][name].array().to_list() == second["Runs"][name].array().to_list()


def test_a_skim_can_be_skimmed_again(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    expected = None
    for layout in FORMATS:
        first = skim(samples / "0.root", select="MET.pt > 100", layout=layout, output=tmp_path / f"{layout}1")
        path = first.directory / first.outputs[0].file
        second = skim(path, select=HARD, columns="Jet_*", output=tmp_path / f"{layout}2")
        found = branches(second.directory / second.outputs[0].file)
        expected = expected or found
        assert second.outputs[0].sum_weights == 12345.678
        assert all(ak.array_equal(found[name], expected[name]) for name in expected)
        assert set(found) == set(expected)


def test_a_skim_with_a_file_without_events_can_be_skimmed_again(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    first = skim(samples / "*.root", select="MET.pt > 100", output=tmp_path / "first")
    assert [output.rows > 0 for output in first.outputs] == [True, True, False]
    name = first.directory.parent / "first" / "skim.record.json"
    second = skim("*-skim", select=HARD, catalogue=(name,), output=tmp_path / "second")
    assert [output.sum_weights for output in second.outputs] == [12345.678, 12346.678, 150.25]
    assert [output.rows for output in second.outputs] == [
        int(kept_of(samples / f"{n}.root")[1].sum()) for n in (0, 1, 2)
    ]


@pytest.mark.parametrize("layout", ["ttree", "parquet"])
def test_inputs_whose_names_differ_in_a_number_alone_have_outputs_of_their_own(
    layout: str, samples: Path, skim: Skimmer, tmp_path: Path
) -> None:
    for number, name in enumerate(("ev.1.root", "ev.2.root", "pool.root.1", "pool.root.2")):
        shutil.copy(samples / f"{number % 2}.root", tmp_path / name)
    files = [{"uri": name} for name in ("ev.1.root", "ev.2.root", "pool.root.1", "pool.root.2")]
    doubts = [{"fact": fact, "why": "not counted"} for fact in ("xsec_pb", "bytes", "events")]
    record = {"name": "four", "kind": "simulation", "files": files, "file_count": 7, "bytes": 9, "uncertain": doubts}
    (tmp_path / "own.json").write_text(json.dumps({"records": [record]}))
    made = skim("four", select=HARD, columns="MET_pt", layout=layout, catalogue=(tmp_path / "own.json",))
    assert made.record is not None
    (again,) = read_records(made.record)
    assert [Path(output.file).stem for output in made.outputs] == ["ev.1", "ev.2", "pool", "pool-0003"]
    held = [inspect_file(str(made.directory / output.file), again).entries for output in made.outputs]
    wanted = [int(kept_of(samples / f"{number}.root")[1].sum()) for number in (0, 1, 0, 1)]
    assert held == wanted == [output.rows for output in made.outputs]
    assert (again.file_count, again.bytes, [doubt.fact for doubt in again.uncertain]) == (None, None, ["xsec_pb"])


FUNCTION = """
import awkward as ak

def hard(events):
    return (events.MET.pt > 150) & (ak.sum(events.Jet.pt > 30, axis=1) >= 1)

def wrong(events):
    return events.MET.pt

def broken(events):
    return events.MET.pt / {}
"""


@pytest.mark.slow
def test_a_function_selects_in_other_processes_as_the_expression_does_here(
    samples: Path, skim: Skimmer, tmp_path: Path
) -> None:
    module = tmp_path / "mine.py"
    module.write_text(FUNCTION)
    one = skim(samples / "0.root", select=HARD, output=tmp_path / "one", layout="parquet", chunk_events=700)
    two = skim(samples / "0.root", select=f"{module}:hard", output=tmp_path / "two", layout="parquet", chunk_events=700,
               workers=2)  # fmt: skip
    first, second = (branch_table(made) for made in (one, two))
    assert first.equals(second)
    with pytest.raises(InputValueError, match=r"gives float32 of shape \(2000,\), not a truth for each of the 2000"):
        skim(samples / "0.root", select=f"{module}:wrong", output=tmp_path / "three")
    with pytest.raises(ChunkError, match="the processor failed in chunk 0: "):
        skim(samples / "0.root", select=f"{module}:broken", output=tmp_path / "three")
    with pytest.raises(UnknownNameError, match=r"unknown function 'hrad'. Did you mean hard"):
        skim(samples / "0.root", select=f"{module}:hrad", output=tmp_path / "three")
    with pytest.raises(InputFileError, match=r"absent.py: cannot be imported"):
        skim(samples / "0.root", select="absent.py:hard", output=tmp_path / "three")
    assert not (tmp_path / "three").exists()


def branch_table(made: Skim) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(made.directory / made.outputs[0].file)


def test_on_dask_the_outputs_are_the_same(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    one = skim(samples / "*.root", select=HARD, columns="Jet_*", output=tmp_path / "one", layout="parquet")
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        two = skim(samples / "*.root", select=HARD, columns="Jet_*", output=tmp_path / "two", layout="parquet",
                   client=client)  # fmt: skip
    for first, second in zip(one.outputs, two.outputs, strict=True):
        assert (one.directory / first.file).read_bytes() == (two.directory / second.file).read_bytes()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"select": "MTE.pt > 3"}, UnknownNameError, r"unknown column 'MTE.pt'. Did you mean MET_pt"),
        ({"columns": "Jet_*,Mun_*"}, UnknownNameError, r"unknown column 'Mun_\*'. Did you mean .*Muon"),
        ({"columns": "Jet_pt,Mouns"}, UnknownNameError, "unknown column 'Mouns'"),
        ({"columns": " "}, InputValueError, "columns: names none"),
        ({"layout": "csv"}, UnknownNameError, "unknown format 'csv'.* ttree, rntuple, parquet"),
        ({"select": "MET.pt > 1e9"}, InputValueError, "none of its 2000 events passes the selection 'MET.pt > 1e9'"),
        ({"accept_loss": ("ttbar",)}, UnknownNameError, "unknown dataset 'ttbar'"),
    ],
)
def test_what_cannot_be_skimmed_is_refused_and_leaves_nothing(
    options: dict[str, Any], error: type[Exception], match: str, samples: Path, skim: Skimmer, tmp_path: Path
) -> None:
    with pytest.raises(error, match=match):
        skim(samples / "0.root", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", FORMATS)
def test_a_skim_without_events_is_whole_where_it_is_allowed(layout: str, samples: Path, skim: Skimmer) -> None:
    made = skim(samples / "0.root", select="MET.pt > 1e9", allow_empty=True, layout=layout)
    (record,) = read_records(made.record)
    assert inspect_file(record.uris[0], record).sum_weights == 12345.678
    assert len(open_events(record.uris[0], record).Jet.pt) == 0


def test_flat_tables_are_refused(skim: Skimmer, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mass\n1.0\n")
    with pytest.raises(InputValueError, match="is of the format flat, and skims are made of NanoAOD"):
        skim(tmp_path / "a.csv")


def test_an_output_is_not_overwritten_without_force(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    first = skim(samples / "0.root", select=HARD)
    before = (first.directory / "skim.json").read_text()
    with pytest.raises(OutputError, match=r"exists already.*--force"):
        skim(samples / "0.root", select="MET.pt > 50")
    assert (first.directory / "skim.json").read_text() == before
    second = skim(samples / "0.root", select="MET.pt > 50", force=True)
    assert second.outputs[0].rows > first.outputs[0].rows
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is not a run directory"):
        skim(samples / "0.root", output=tmp_path / "file", force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_place_that_cannot_be_written_is_named(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        skim(samples / "0.root", output=tmp_path / "closed" / "out")


def test_a_full_disk_stops_the_skim_and_a_resume_goes_on(
    samples: Path, skim: Skimmer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = skim(samples / "*.root", select=HARD, columns="MET_*", output=tmp_path / "whole")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:  # a full disk cannot be had without one's own file system
        patch.setattr("darkop_dist.stages.skim.outputs.write_events", full)
        with pytest.raises(StorageError, match=r"No space left.*make room and run again with --resume"):
            skim(samples / "*.root", select=HARD, columns="MET_*")
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="Go on with --resume, or begin anew with --force"):
        skim(samples / "*.root", select=HARD, columns="MET_*")
    calls: list[str] = []
    process = SkimChunk.process
    monkeypatch.setattr(SkimChunk, "process", lambda self, events: calls.append("") or process(self, events))
    made = skim(samples / "*.root", select=HARD, columns="MET_*", resume=True)
    assert not calls
    assert [o.rows for o in made.outputs] == [o.rows for o in whole.outputs]
    assert not (tmp_path / ".out.partial").exists()


def test_a_part_that_was_lost_since_is_made_again(
    samples: Path, skim: Skimmer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("darkop_dist.stages.skim.run._outputs", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            skim(samples / "*.root", select=HARD, columns="MET_*")
    parts = sorted((tmp_path / ".out.partial" / "chunks" / "skim").glob("*.arrow"))
    assert len(parts) == 3
    parts[0].write_bytes(parts[0].read_bytes()[:-100])
    parts[1].unlink()
    made = skim(samples / "*.root", select=HARD, columns="MET_*", resume=True)
    assert [o.rows for o in made.outputs] == [int(kept_of(samples / f"{n}.root")[1].sum()) for n in (0, 1, 2)]


def test_a_part_on_a_full_disk_is_not_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    book = part.PartBook(None, 3, None, None, {})
    monkeypatch.setattr(part, "checksum", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(StorageError, match="make room and run again with --resume"):
        part.write_part(tmp_path / "a.arrow", book, iter([pa.table({"x": [1]})]))
    assert not list(tmp_path.iterdir())


def test_workers_that_do_not_see_the_output_are_named(
    samples: Path, skim: Skimmer, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = SkimChunk._require_seen

    def elsewhere(self: SkimChunk) -> None:
        process(SkimChunk(Path("/nowhere"), self.token, self.trees, self.selection, self.columns, self.required))

    monkeypatch.setattr(SkimChunk, "_require_seen", elsewhere)
    with pytest.raises(StorageError, match=r"a worker does not see /nowhere.*that all workers share"):
        skim(samples / "0.root")


def damaged(samples: Path, folder: Path) -> Path:
    """Two files, the second with a basket of zeros in its second half."""
    folder.mkdir()
    shutil.copy(samples / "0.root", folder / "0.root")
    with uproot.open(samples / "0.root") as file, uproot.recreate(folder / "1.root") as target:
        whole = file["Events"].arrays(["MET_pt", "genWeight", "event", "run", "luminosityBlock"], library="np")
        target.mktree("Events", {name: column.dtype for name, column in whole.items()})
        for first in (0, 1000):
            target["Events"].extend({name: column[first : first + 1000] for name, column in whole.items()})
        target.mktree("Runs", {"run": "u4", "genEventCount": "i8", "genEventSumw": "f8"})
        target["Runs"].extend({"run": [1], "genEventCount": [2000], "genEventSumw": [100.0]})
    with uproot.open(folder / "1.root") as file:
        branch = file["Events"]["MET_pt"]
        seek, size = int(branch.member("fBasketSeek")[1]), int(branch.member("fBasketBytes")[1])
    with (folder / "1.root").open("r+b") as stream:
        stream.seek(seek + 80)
        stream.write(bytes(size - 80))
    return folder


def test_lost_chunks_are_refused_or_counted_out_of_the_sums(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    folder = damaged(samples, tmp_path / "in")
    told = {"name": "mc", "kind": "simulation", "xsec_pb": 2.0, "files": [f"{folder}/*.root"]}
    (tmp_path / "mine.json").write_text(json.dumps({"schema_version": 1, "records": [told]}))
    given: dict[str, Any] = {"select": "MET.pt > 150", "columns": "MET_*", "chunk_events": 1000}
    given["catalogue"] = (tmp_path / "mine.json",)
    with pytest.raises(
        LedgerError, match=r"mc: lost 1000 of 4000 entries in 1 chunk\n.*1.root \[1000:2000\].*"
    ) as found:
        skim("mc", **given)
    assert "--accept-loss mc" in str(found.value)
    assert not (tmp_path / "out").exists()
    made = skim("mc", **given, resume=True, accept_loss=("mc",))
    (record,) = read_records(made.record)
    assert [inspect_file(uri, record).sum_weights for uri in record.uris] == [12345.678, 50.0]
    assert [inspect_file(uri, record).generated_events for uri in record.uris] == [4000, 1000]
    assert "lost and accepted: 1000 of 4000 entries in 1 chunk" in record.provenance
    told |= {"name": "data", "kind": "data", "lumi_ifb": 4.0}
    del told["xsec_pb"]
    (tmp_path / "mine.json").write_text(json.dumps({"schema_version": 1, "records": [told]}))
    data = skim("data", **given, accept_loss=("data",), output=tmp_path / "data")
    assert read_records(data.record)[0].lumi_ifb == 3.0
    totals = json.loads((made.directory / "skim.json").read_text())["totals"]
    assert totals["lost"] == 1000
    assert totals["kept"] + totals["rejected"] + totals["lost"] == totals["entries"] == 4000


def test_a_file_that_cannot_be_opened_is_lost_with_its_sums(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (0, 2):
        shutil.copy(samples / f"{number}.root", folder)
    (folder / "1.root").write_bytes((samples / "1.root").read_bytes()[:20_000])
    with pytest.raises(LedgerError, match="file: lost 1 file whose entries nobody knows"):
        skim(folder / "*.root", select=HARD, columns="MET_*", suffix="")
    made = skim(folder / "*.root", select=HARD, columns="MET_*", resume=True, accept_loss=("file",))
    assert [(Path(o.file).name, o.sum_weights) for o in made.outputs] == [("0.root", 12345.678), ("2.root", 150.25)]
    assert "1 file whose entries nobody knows" in read_records(made.record)[0].provenance


def test_a_truncated_file_is_named(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    (tmp_path / "cut.root").write_bytes((samples / "0.root").read_bytes()[:20_000])
    with pytest.raises(InputFileError, match=r"cut.root: is truncated or corrupt"):
        skim(tmp_path / "cut.root")


def test_a_name_in_full_that_a_later_file_lacks_is_no_silent_gap(samples: Path, skim: Skimmer) -> None:
    with pytest.raises(InputFileError, match=r"2.root: lacks puWeight, which the first file of dataset .* has"):
        skim(samples / "*.root", columns="puWeight,MET_*")
    made = skim(samples / "*.root", columns="puWeight*,MET_*", force=True)
    assert "puWeight" not in branches(made.directory / made.outputs[2].file)
    assert "puWeight" in branches(made.directory / made.outputs[1].file)


def test_the_call_of_python_does_what_the_command_does(samples: Path, skim: Skimmer, tmp_path: Path) -> None:
    import darkop_dist as do

    made = do.skim(
        samples / "0.root", tmp_path / "called", select=lambda events: events.MET.pt > 150, columns=["MET_*", "Jet"]
    )
    assert made.record == tmp_path / "called" / "skim.record.json"
    other = skim(samples / "0.root", select="MET.pt > 150", columns="MET_*,Jet_*")
    first, second = (branches(m.directory / m.outputs[0].file) for m in (made, other))
    assert list(first) == list(second)
    assert all(ak.array_equal(first[name], second[name]) for name in first)


def test_files_are_reached_as_the_user_says(
    samples: Path,
    skim: Skimmer,
    tmp_path: Path,
    flaky_server: Callable[[Path], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = flaky_server(samples)
    gone = "http://127.0.0.1:9/"
    (tmp_path / "access.yml").write_text(json.dumps({"mirrors": [{"prefix": gone, "instead": [server.url("")]}]}))
    monkeypatch.setenv("DARKOP_ACCESS", str(tmp_path / "access.yml"))
    far, near = (
        skim(where, select=HARD, columns="MET_*", output=tmp_path / name)
        for where, name in ((f"{gone}0.root", "far"), (samples / "0.root", "near"))
    )
    found = [branches(made.directory / made.outputs[0].file)["MET_pt"].to_list() for made in (far, near)]
    assert found[0] == found[1]
    assert {request.path for request in server.requests} == {"0.root"}
