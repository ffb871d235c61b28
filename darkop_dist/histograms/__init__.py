"""Histograms and candidates: small, mergeable, versioned.

Words:
    observable: a quantity with its binning, label and unit.
    region: a selection of events that is counted by itself, such as ``signal`` or ``dimuon``.
    variation: ``nominal``, or a shift such as ``jet_energy_scale_up``.
    output: what a processor returns for a chunk; two outputs merge into one.
    candidates: the events with the highest scores.
    groups: events of one file or run, counted in coarse bins of the score.

Inputs: numpy arrays from processors. Outputs: ``Output`` per chunk, ``HistogramSet`` per run.
Files: histograms.json (UHI), candidates.parquet, score-groups.parquet.
"""

from darkop_dist.histograms.booking import NOMINAL, Edges, Observable, book, book_counts, slice_of
from darkop_dist.histograms.candidates import Candidates, candidates_of, load_candidates, save_candidates
from darkop_dist.histograms.groups import ScoreGroups, coarse_counts, load_groups, save_groups
from darkop_dist.histograms.output import Output, OutputBuilder, category_name, merge_outputs
from darkop_dist.histograms.store import HistogramSet, load_histograms, save_histograms
from darkop_dist.histograms.weight_sizes import largest_of, sizes_of

__all__ = [
    "NOMINAL",
    "Candidates",
    "Edges",
    "HistogramSet",
    "Observable",
    "Output",
    "OutputBuilder",
    "ScoreGroups",
    "book",
    "book_counts",
    "candidates_of",
    "category_name",
    "coarse_counts",
    "largest_of",
    "load_candidates",
    "load_groups",
    "load_histograms",
    "merge_outputs",
    "save_candidates",
    "save_groups",
    "save_histograms",
    "sizes_of",
    "slice_of",
]
