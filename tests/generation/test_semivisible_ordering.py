"""How hard semi-visible jets are for an autoencoder: the more of a jet is invisible, the more it is like one of QCD.

An autoencoder of substructure variables, trained on QCD jets alone, as in JHEP 02 (2022) 074, arXiv:2112.02864.
"""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import numpy.typing as npt
import pytest
import torch
import uproot

pytest.importorskip("pythia8mc")

from darkop_dist.generation import generate
from darkop_dist.operators.auc import evaluate_auc

FRACTIONS = (0.1, 0.4, 0.7)
COLUMNS = ("mass", "msoftdrop", "tau1", "tau2", "tau3", "nConstituents", "chHEF", "neHEF", "neEmEF", "pt", "eta")
LATENT, EPOCHS, BATCH, TRAININGS = 4, 100, 256, 3


def _features(file: Path) -> npt.NDArray[np.float64]:
    """Substructure of the two leading large jets above 250 GeV, shape (jets, 8)."""
    columns = uproot.open(file)["Events"].arrays([f"FatJet_{name}" for name in COLUMNS])
    rank = ak.local_index(columns.FatJet_pt, axis=1)
    chosen = (rank < 2) & (columns.FatJet_pt > 250) & (abs(columns.FatJet_eta) < 2.4)
    jets = {name: ak.to_numpy(ak.flatten(columns[f"FatJet_{name}"][chosen])).astype(np.float64) for name in COLUMNS}
    ratios = [jets[f"tau{n + 1}"] / np.maximum(jets[f"tau{n}"], 1e-6) for n in (1, 2)]
    logarithms = [np.log1p(jets[name]) for name in ("mass", "msoftdrop", "nConstituents")]
    return np.stack([*logarithms, *ratios, *(jets[name] for name in ("chHEF", "neHEF", "neEmEF"))], axis=1)


def _errors(
    known: npt.NDArray[np.float64], seed: int, *judged: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.float32]]:
    """Reconstruction errors of jets by an autoencoder of the known ones."""
    torch.manual_seed(seed)
    mean, spread = known.mean(axis=0), known.std(axis=0)

    def scaled(values: npt.NDArray[np.float64]) -> torch.Tensor:
        return torch.tensor((values - mean) / spread, dtype=torch.float32)

    layers = [(known.shape[1], 32), (32, LATENT), (LATENT, 32), (32, known.shape[1])]
    linear = [torch.nn.Linear(*sizes) for sizes in layers]
    net = torch.nn.Sequential(
        linear[0], torch.nn.ELU(), linear[1], torch.nn.ELU(), linear[2], torch.nn.ELU(), linear[3]
    )
    optimiser, inputs = torch.optim.Adam(net.parameters(), 3e-3), scaled(known)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            optimiser.zero_grad()
            loss = ((net(inputs[batch]) - inputs[batch]) ** 2).mean()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        return [((net(scaled(x)) - scaled(x)) ** 2).mean(dim=1).numpy() for x in judged]


@pytest.mark.slow
def test_the_more_is_invisible_the_harder_a_jet_is_to_tell(tmp_path: Path) -> None:
    fast = {"mpi": "off"}
    background = generate("qcd-dijets", 3500, tmp_path / "qcd.root", seed=6, settings={"pthat_min": 200, **fast})
    known = _features(background.file)
    half = len(known) // 2
    signals = [
        _features(
            generate(
                "semivisible-jets", 800, tmp_path / f"{share}.root", seed=5, settings={"r_inv": share, **fast}
            ).file
        )
        for share in FRACTIONS
    ]
    found = []
    for seed in range(TRAININGS):
        judged = _errors(known[:half], seed, known[half:], *signals)
        found.append([evaluate_auc(judged[0], signal).value for signal in judged[1:]])
    mean = np.mean(found, axis=0)
    assert mean[0] > mean[1] > mean[2] > 0.5, mean
    assert mean[0] - mean[2] > 0.1, mean
