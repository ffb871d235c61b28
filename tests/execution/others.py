"""Processors as others write them for coffea's Runner: nothing here knows of darkop-dist.

The first follows the dimuon example of coffea's documentation, with its accumulators of the time before awkward; the
second collects what is no number; the third keeps columns as awkward arrays.
"""
# ruff: noqa: ANN001, ANN201, ANN204  # others rarely annotate

import os
import time
from pathlib import Path

import awkward as ak
import hist
import numpy as np
from coffea import processor


class Dimuon(processor.ProcessorABC):
    def process(self, events):
        dataset = events.metadata["dataset"]
        mass = (
            hist.Hist.new.StrCat([], growth=True, name="dataset")
            .Reg(100, 0.2, 200, name="mass", label=r"$m_{\mu\mu}$ [GeV]")
            .Weight()
        )
        cutflow = processor.defaultdict_accumulator(int)
        pairs = ak.combinations(events.Muon, 2, fields=["first", "second"])
        pairs = pairs[pairs.first.charge != pairs.second.charge]
        masses = ak.flatten((pairs.first + pairs.second).mass)
        cutflow["all events"] += len(events)
        cutflow["pairs"] += len(masses)
        mass.fill(dataset=dataset, mass=masses, weight=0.1 * ak.flatten(pairs.first.pt))
        columns = processor.column_accumulator(ak.to_numpy(masses[masses > 60.0]))
        return {"mass": mass, "cutflow": cutflow, "columns": {dataset: columns}}

    def postprocess(self, accumulator):
        accumulator["cutflow"]["postprocessed"] = 1
        return accumulator


class Bookkeeping(processor.ProcessorABC):
    def __init__(self, threshold=20.0):
        self.threshold = threshold
        self.calls = 0

    def process(self, events):
        self.calls += 1
        metadata = events.metadata
        leading = ak.fill_none(ak.max(events.Muon.pt, axis=1), 0.0)
        return {
            metadata["dataset"]: {
                "runs": {int(run) for run in np.unique(np.asarray(events.run))},
                "ranges": {(metadata["entrystart"], metadata["entrystop"])},
                "told": {
                    (metadata["treename"], metadata["fileuuid"], metadata.get("year"), Path(metadata["filename"]).name)
                },
                "counts": {"events": len(events), "above": int(ak.sum(leading > self.threshold)), "calls": self.calls},
            }
        }

    def postprocess(self, accumulator):
        pass


class Columns(processor.ProcessorABC):
    def process(self, events):
        selected = events[ak.num(events.Muon) >= 2]
        kept = ak.zip({"pt": selected.Muon.pt, "eta": selected.Muon.eta})
        return {
            "muons": processor.column_accumulator(ak.Array(ak.to_packed(kept).layout, behavior=None)),
            "events": [int(number) for number in selected.event[:2]],
            "sum_pt": ak.sum(selected.Muon.pt),
        }

    def postprocess(self, accumulator):
        return accumulator


class Troubled(processor.ProcessorABC):
    """Counts events, unless it is told to fail; the folder remembers across processes what has happened."""

    def __init__(self, folder, kind, times=1):
        self.folder, self.kind, self.times = Path(folder), kind, times

    def process(self, events):
        start, name = events.metadata["entrystart"], Path(events.metadata["filename"]).name
        if self.kind == "bug" and start > 0:
            raise ValueError("the muon has no charge")
        if self.kind == "hang" and start == 0 and self.first(f"{name}-hang"):
            time.sleep(600)
        if self.kind == "die" and start == 0 and self.first(f"{name}-die"):
            os._exit(1)
        if self.kind == "transient" and start == 0 and self.first(f"{name}-transient"):
            raise OSError(5, "Input/output error")
        if self.kind == "always" and name == "1.root":
            raise OSError(5, "Input/output error")
        pt = np.asarray(ak.flatten(events.Muon.pt), dtype=np.float64)
        return {"events": len(events), "pt": pt.sum()}

    def first(self, what):
        count = sum(1 for _ in self.folder.glob(f"{what}-*"))
        if count >= self.times:
            return False
        (self.folder / f"{what}-{count}").touch()
        return True

    def postprocess(self, accumulator):
        return accumulator
