"""The file: ``Events`` in the layout of NanoAOD, which coffea reads, and ``Runs`` with the normalisation."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import awkward as ak
import numpy as np
import uproot

from darkop_dist.errors import OutputError
from darkop_dist.generation import history
from darkop_dist.generation.normalisation import Normalisation

EVENTS_PER_BASKET = 20_000
BYTES_PER_BASKET = 64 << 20  # of parts that wait to be written: candidates of pile-up take 0.2 MB per event
KINEMATICS, IMPACT = ("pt", "eta", "phi", "mass"), ("dxy", "dxyErr", "dz", "dzErr")
COLLECTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "Jet": {
            **dict.fromkeys(KINEMATICS, "float32"),
            **dict.fromkeys(("chHEF", "neHEF", "chEmEF", "neEmEF", "muEF", "btagDeepFlavB"), "float32"),
            **dict.fromkeys(("nConstituents", "jetId", "hadronFlavour", "genJetIdx"), "int32"),
            **dict.fromkeys(("electronIdx1", "electronIdx2", "muonIdx1", "muonIdx2"), "int32"),
        },
        "FatJet": {
            **dict.fromkeys(("pt", "eta", "phi", "mass", "msoftdrop", "tau1", "tau2", "tau3"), "float32"),
            **dict.fromkeys(("chHEF", "neHEF", "chEmEF", "neEmEF", "muEF"), "float32"),
            **dict.fromkeys(("nConstituents", "jetId", "genJetAK8Idx"), "int32"),
        },
        "GenPart": dict(history.COLUMNS),
        "GenJet": dict.fromkeys(KINEMATICS, "float32"),
        "GenJetAK8": dict.fromkeys(KINEMATICS, "float32"),
        "Muon": {
            **dict.fromkeys((*KINEMATICS, *IMPACT, "pfRelIso04_all"), "float32"),
            **dict.fromkeys(("charge", "genPartIdx", "jetIdx"), "int32"),
            "looseId": "bool",
            "tightId": "bool",
        },
        "Electron": {
            **dict.fromkeys((*KINEMATICS, *IMPACT, "pfRelIso03_all"), "float32"),
            **dict.fromkeys(("charge", "cutBased", "genPartIdx", "jetIdx", "photonIdx"), "int32"),
        },
        "Photon": {
            **dict.fromkeys(("pt", "eta", "phi"), "float32"),
            **dict.fromkeys(("cutBased", "genPartIdx", "jetIdx", "electronIdx"), "int32"),
            "electronVeto": "bool",
        },
        "Tau": {
            **dict.fromkeys(KINEMATICS, "float32"),
            **dict.fromkeys(("charge", "decayMode", "genPartIdx", "jetIdx"), "int32"),
            "idDecayModeOldDMs": "bool",
            "idDeepTau2017v2p1VSjet": "uint8",
        },
    }
)
"""Columns of each collection with their types; pt and mass in GeV, phi in rad. Branches are ``Jet_pt`` and ``nJet``.

Photons have no mass column: coffea gives them one."""

CANDIDATES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "PFCands": {
            **dict.fromkeys((*KINEMATICS, "d0", "d0Err", "dz", "dzErr", "puppiWeight"), "float32"),
            **dict.fromkeys(("charge", "pdgId", "pvAssocQuality"), "int32"),
        },
        "JetPFCands": dict.fromkeys(("jetIdx", "pFCandsIdx"), "int32"),
        "FatJetPFCands": dict.fromkeys(("jetIdx", "pFCandsIdx"), "int32"),
    }
)
"""Collections of PFNano for files with candidates; pt and mass in GeV, impact parameters in cm."""

PER_EVENT: Mapping[str, str] = MappingProxyType(
    {
        "run": "uint32",
        "luminosityBlock": "uint32",
        "event": "uint64",
        **dict.fromkeys(("genWeight", "Pileup_nTrueInt", "fixedGridRhoFastjetAll"), "float32"),
        **{f"{met}_{field}": "float32" for met in ("MET", "PuppiMET", "GenMET") for field in ("pt", "phi")},
        **dict.fromkeys(("MET_sumEt", "PuppiMET_sumEt"), "float32"),
        **dict.fromkeys(("PV_x", "PV_y", "PV_z"), "float32"),
        **dict.fromkeys(("Pileup_nPU", "PV_npvs", "PV_npvsGood"), "int32"),
    }
)
"""Columns with one number per event; momenta and ``sumEt``, the scalar sum of those of measured particles, in GeV."""

RUNS: Mapping[str, str] = MappingProxyType(
    {
        "run": "uint32",
        **dict.fromkeys(("genEventCount", "genEventFailed"), "int64"),
        **dict.fromkeys(("genEventSumw", "genEventSumw2", "genXsec_pb", "genXsecError_pb"), "float64"),
    }
)
"""Columns of ``Runs``, which has one entry."""


def require_writable(output: Path, *, overwrite: bool) -> None:
    """Find out before the work whether a file can be written.

    Raises:
        OutputError: the file exists already, its name does not end in .root, or its directory cannot be written.
    """
    if output.suffix != ".root":
        raise OutputError(f"{output}: the output is a ROOT file. Give it a name that ends in .root.")
    if output.is_dir() or (output.exists() and not overwrite):
        raise OutputError(f"{output}: exists already. Choose another name or remove it.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        probe = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written ({error.strerror}). Choose a directory that you may write to."
        ) from error


class NanoAODFile:
    """Writes a file beside its final place and moves it there when it is whole.

    A context manager: leaving it after an error removes what was written.
    """

    def __init__(
        self,
        output: Path,
        variations: Mapping[str, str] = MappingProxyType({}),
        recipe: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Prepare.

        Args:
            output: the file.
            variations: further columns of one number per event, with what they are.
            recipe: what the events are made with; kept in the object ``recipe`` as JSON.
        """
        self._collections = dict(COLLECTIONS)
        self._output = output
        self._variations, self._recipe = dict(variations), dict(recipe)
        self._per_event = {**PER_EVENT, **dict.fromkeys(variations, "float32")}
        self._temporary = output.with_name(f".{output.name}.partial-{uuid.uuid4().hex[:8]}")
        self._waiting: list[dict[str, Any]] = []
        self._waiting_events = self._waiting_bytes = 0
        self._parts = 0
        self._events = 0

    def __enter__(self) -> Self:
        self._file = uproot.recreate(self._temporary, compression=uproot.ZSTD(5))
        self._tree: Any = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if kind is not None:
            self._temporary.unlink(missing_ok=True)

    def add(self, part: Mapping[str, Any]) -> None:
        """Add a part: the columns of `reconstruct.reconstruct`; event numbers and luminosity blocks are given here.

        All parts have the collections of PFNano, or none. The luminosity block is the part's number, counted from 1;
        event numbers count from 1 through the sample.
        """
        count = len(part["genWeight"])
        self._parts += 1
        numbers = {
            "run": np.ones(count),
            "luminosityBlock": np.full(count, self._parts),
            "event": np.arange(self._events + 1, self._events + 1 + count),
        }
        self._events += count
        self._waiting.append({**part, **numbers})
        self._waiting_events += count
        self._waiting_bytes += sum(column.nbytes for column in part.values())
        if self._waiting_events >= EVENTS_PER_BASKET or self._waiting_bytes >= BYTES_PER_BASKET:
            self._flush()

    def finish(self, normalisation: Normalisation) -> None:
        """Write ``Runs`` and put the file in its place.

        Raises:
            OutputError: the file cannot be put there.
        """
        self._flush()
        values = {
            "run": 1,
            "genEventCount": normalisation.events,
            "genEventFailed": normalisation.failed,
            "genEventSumw": normalisation.sum_weights,
            "genEventSumw2": normalisation.sum_weights2,
            "genXsec_pb": normalisation.xsec_pb,
            "genXsecError_pb": normalisation.xsec_error_pb,
        }
        runs = self._file.mktree("Runs", {name: np.dtype(kind) for name, kind in RUNS.items()}, title="Runs")
        runs.extend({name: np.array([values[name]], dtype=kind) for name, kind in RUNS.items()})
        self._file["recipe"] = json.dumps(self._recipe)
        if self._variations:
            self._file["LHEWeights"] = json.dumps(self._variations)
        self._file.close()
        try:
            self._temporary.replace(self._output)
        except OSError as error:
            self._temporary.unlink(missing_ok=True)
            raise OutputError(f"{self._output}: cannot be written ({error.strerror}). Check the directory.") from error

    def _new_tree(self) -> Any:
        if self._waiting and set(CANDIDATES) <= set(self._waiting[0]):
            self._collections |= CANDIDATES
        collections = {name: _collection_type(columns) for name, columns in self._collections.items()}
        types = {name: np.dtype(kind) for name, kind in self._per_event.items()}
        return self._file.mktree("Events", {**types, **collections}, title="Events")

    def _flush(self) -> None:
        if self._tree is None:
            self._tree = self._new_tree()
        if not self._waiting:
            return
        columns: dict[str, Any] = {
            name: np.concatenate([np.asarray(part[name]) for part in self._waiting]).astype(kind)
            for name, kind in self._per_event.items()
        }
        for name, fields in self._collections.items():
            records = ak.concatenate([part[name] for part in self._waiting])
            columns[name] = ak.zip({field: ak.values_astype(records[field], kind) for field, kind in fields.items()})
        self._tree.extend(columns)
        self._waiting = []
        self._waiting_events = self._waiting_bytes = 0


def read_normalisation(file: Path) -> Normalisation:
    """What ``Runs`` of a generated file says, after reading a column of ``Events`` to the end.

    Raises:
        OSError, ValueError, KeyError, uproot.exceptions.KeyInFileError: the file is damaged.
    """
    with uproot.open(file) as opened:
        runs = {name: opened["Runs"][name].array(library="np") for name in RUNS}
        for column in ("genWeight", "MET_pt", "Jet_pt", "Tau_pt"):
            length = len(opened["Events"][column].array())
            if length != int(runs["genEventCount"][0]):
                raise ValueError(f"{column} has {length} entries")
    return Normalisation(
        events=int(runs["genEventCount"][0]),
        sum_weights=float(runs["genEventSumw"][0]),
        sum_weights2=float(runs["genEventSumw2"][0]),
        xsec_pb=float(runs["genXsec_pb"][0]),
        xsec_error_pb=float(runs["genXsecError_pb"][0]),
        failed=int(runs["genEventFailed"][0]),
    )


def _collection_type(columns: Mapping[str, str]) -> Any:
    fields = ", ".join(f"{name}: {kind}" for name, kind in columns.items())
    return ak.types.from_datashape(f"var * {{{fields}}}", highlevel=False)
