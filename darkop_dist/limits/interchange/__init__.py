"""Interchange: statistical models and results in the formats of other programs.

Words:
    card: Combine's text file with channels, processes, rates and uncertainties; its templates are in a ROOT file.
    template: a histogram of expected events of one process in one channel, as it is or varied.
    patch: what turns a workspace of the backgrounds alone into that of one signal (JSON Patch, RFC 6902).
    patchset: patches of a grid of signals on the same backgrounds, with the digests of those.
    submission: what HEPData takes: a directory of tables in YAML, with the likelihoods beside them.

Inputs and outputs are workspaces. Each format has one file that writes it, and one that reads it where that is of use;
what is written is first made as a whole in memory (`Interchange`), so that nothing half-written stays behind.
"""

from darkop_dist.limits.interchange.files import Interchange
from darkop_dist.limits.interchange.hepdata import Cutflow, Facts, hepdata_submission
from darkop_dist.limits.interchange.patches import load_patchset
from darkop_dist.limits.interchange.patchset import patchset
from darkop_dist.limits.interchange.read_card import read_datacard
from darkop_dist.limits.interchange.write_card import datacard

__all__ = [
    "Cutflow",
    "Facts",
    "Interchange",
    "datacard",
    "hepdata_submission",
    "load_patchset",
    "patchset",
    "read_datacard",
]
