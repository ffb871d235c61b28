"""Constituents of jets as lists of candidates: ``events.Jet.constituents`` and ``events.FatJet.constituents``.

A jet has the column ``constituentsIdxG``, positions of its constituents among the candidates of all events of its
chunk. The candidates are ``PFCands`` of PFNano, or ``Track`` of PHYSLITE, which keeps the tracks of a jet alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from coffea.nanoevents import PFNanoAODSchema
from coffea.nanoevents.methods.nanoaod import PFCandArray, PFCandRecord

from darkop_dist.errors import InputFileError
from darkop_dist.events.forms import column_form

CANDIDATES = ("PFCands", "Track")
JETS = {"Jet": "JetPFCands", "FatJet": "FatJetPFCands"}
"""Collections of jets, and PFNano's of which candidate belongs to which of them."""
COLUMN = "constituentsIdxG"


class _WithConstituents:
    """A jet that knows its constituents."""

    fields: Any
    _events: Any

    @property
    def constituents(self) -> Any:
        """The candidates of each jet, with pt, eta, phi and mass; of PFNano also pdgId."""
        events = self._events()
        name = next((name for name in CANDIDATES if name in events.fields), None)
        if name is None or COLUMN not in self.fields:
            metadata = events.metadata or {}
            raise InputFileError(
                str(metadata.get("filename", "events")),
                f"does not say what the constituents of these jets are ({metadata.get('experiment', 'unknown')})",
                "CMS' PFNano does (JetPFCands, FatJetPFCands, PFCands); ATLAS' PHYSLITE does for the tracks of Jet.",
            )
        return events[name]._apply_global_index(getattr(self, COLUMN))  # noqa: SLF001  # coffea's way to follow an index


class _Candidate:
    """A candidate that also answers as coffea's JetPFCands do: ``constituents.pf``."""

    @property
    def pf(self) -> Any:
        """The candidate itself."""
        return self


def with_constituents(behavior: dict[Any, Any]) -> dict[Any, Any]:
    """Coffea's methods of NanoAOD, with jets whose ``constituents`` are candidates.

    Args:
        behavior: coffea's; it stays as it is.
    """
    found = dict(behavior)
    for name in JETS:
        found["*", name] = type(f"{name}Array", (_WithConstituents, behavior["*", name]), {})
        found[name] = type(f"{name}Record", (_WithConstituents, behavior[name]), {})
    found["*", "PFCand"] = type("PFCandArray", (_Candidate, PFCandArray), {})
    found["PFCand"] = type("PFCandRecord", (_Candidate, PFCandRecord), {})
    return found


class CandidatesSchema(PFNanoAODSchema):  # type: ignore[misc]
    """NanoAOD and PFNano as they are published: outreach files may lack event numbers or cross references.

    Where a file has candidates and says whose they are, jets have constituents.
    """

    error_missing_event_ids = False
    warn_missing_crossrefs = False

    def _build_collections(self, field_names: list[str], input_contents: list[Any]) -> Any:
        names, contents = list(field_names), list(input_contents)
        for jets, pairs in JETS.items():
            needed = {f"{jets}_pt", f"{pairs}_jetIdx", f"{pairs}_pFCandsIdx", f"{CANDIDATES[0]}_pt"}
            if needed <= set(names):
                names.append(f"{jets}_{COLUMN}")
                contents.append(column_form(names[-1], np.dtype(np.int64), 2))
        return super()._build_collections(names, contents)

    @classmethod
    def behavior(cls) -> Any:
        """Coffea's methods of NanoAOD, with those of constituents."""
        return with_constituents(super().behavior())


def group_members(
    jets: npt.NDArray[np.int64],
    candidates: npt.NDArray[np.int64],
    jet_index: npt.NDArray[np.integer],
    candidate_index: npt.NDArray[np.integer],
    members: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Candidates by jet, from pairs of jet and candidate in any order.

    Args:
        jets: where the jets of each event begin, and the end; shape (events + 1,).
        candidates: the same of the candidates.
        jet_index: position of the pair's jet in its event, shape (pairs,); pairs without one are left out.
        candidate_index: position of its candidate in its event, likewise.
        members: where the pairs of each event begin, and the end.

    Returns:
        Where the list of each jet begins, and the end, shape (jets + 1,); positions among the candidates of all events.
    """
    event = np.repeat(np.arange(len(members) - 1), np.diff(members))
    valid = (jet_index >= 0) & (jet_index < np.diff(jets)[event])
    valid &= (candidate_index >= 0) & (candidate_index < np.diff(candidates)[event])
    event = event[valid]
    jet, candidate = jets[event] + jet_index[valid], candidates[event] + candidate_index[valid]
    order = np.argsort(jet, kind="stable")
    offsets = np.zeros(jets[-1] + 1, np.int64)
    np.cumsum(np.bincount(jet, minlength=jets[-1]), out=offsets[1:])
    return offsets, np.asarray(candidate[order], np.int64)
