"""Total visible energy and its layers, one after the other: each takes a share of what is left.

Shares in (0, 1) follow mixtures of logistic-normal laws, 0 and 1 have probabilities of their own. All layers add up
to the total by construction, because the last active layer takes all that is left.
"""

from __future__ import annotations

import math

import torch
from torch import nn

COMPONENTS = 6
TOTAL_COMPONENTS = 4
MEMORY = (0.6, 0.85, 0.95)
SMALL_MEV = 0.01
FEATURES = 14
VISIBLE_SHARE = 0.0318
"""Mean visible share of the incident energy in silicon; a fixed number of the parametrisation, not a fitted one."""


class EnergyNetwork(nn.Module):
    """Laws of the total energy and of the share of each layer."""

    def __init__(self, layers: int, hidden: int) -> None:
        super().__init__()
        outputs = 3 * COMPONENTS + 2
        self.tot = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 3 * TOTAL_COMPONENTS))
        self.net = nn.Sequential(
            nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )
        self.emb = nn.Parameter(torch.randn(layers, hidden) * 0.1)
        self.emb2 = nn.Parameter(torch.randn(layers, hidden) * 0.1)
        self.out = nn.Parameter(torch.zeros(layers, outputs))
        self.register_buffer("mu", torch.zeros(FEATURES))
        self.register_buffer("sd", torch.ones(FEATURES))

    def of_share(self, features: torch.Tensor, layer: torch.Tensor | int) -> torch.Tensor:
        """Unbounded parameters of the share of a layer, from `share_features`."""
        field = torch.relu(self.net[0]((features - self.mu) / self.sd) + self.emb[layer])
        field = torch.relu(self.net[2](field) + self.emb2[layer])
        return self.net[4](field) + self.out[layer]

    def of_total(self, incident: torch.Tensor, photon: torch.Tensor) -> torch.Tensor:
        """Unbounded parameters of the total visible energy."""
        return self.tot(torch.stack([log_incident(incident), photon], 1))


def log_incident(incident: torch.Tensor) -> torch.Tensor:
    """Log of the incident energy over 10 GeV."""
    return torch.log(incident / 1e4)


def log_visible(total: torch.Tensor, incident: torch.Tensor) -> torch.Tensor:
    """Ten times the log of the visible share over its mean."""
    return 10.0 * torch.log(total / incident / VISIBLE_SHARE)


def share_features(
    incident: torch.Tensor,
    photon: torch.Tensor,
    total: torch.Tensor,
    left: torch.Tensor,
    last: list[torch.Tensor],
    memory: list[torch.Tensor],
) -> torch.Tensor:
    """What the share of a layer depends on; all arguments broadcast, the last axis of the result counts features.

    Args:
        incident: MeV.
        photon: 1 for photons, 0 for electrons.
        total: visible energy in MeV.
        left: energy of this layer and all behind it in MeV.
        last: energies of the last three layers in MeV, the nearest first.
        memory: running means of the layers before, one for each of MEMORY.
    """
    parts = []
    for energy in last:
        parts += [torch.log(energy + SMALL_MEV), (energy == 0.0).float()]
    parts += [torch.log(energy + SMALL_MEV) for energy in memory]
    share = left / total
    parts += [
        log_incident(incident),
        log_visible(total, incident),
        torch.log(left + SMALL_MEV),
        torch.log(share + 1e-4),
        share + 10.0 * photon,
    ]
    return torch.stack(torch.broadcast_tensors(*parts), -1)


def all_share_features(incident: torch.Tensor, photon: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
    """`share_features` of every layer of whole showers; shape (showers, layers, FEATURES).

    Args:
        incident: MeV, shape (showers,).
        photon: shape (showers,).
        layers: energies in MeV, shape (showers, layers).
    """
    left = torch.flip(torch.cumsum(torch.flip(layers, [1]), 1), [1])
    count = layers.shape[1]
    number = torch.arange(count)
    lag = (number[:, None] - number[None, :] - 1).to(layers.dtype)
    memory = [
        layers @ torch.where(lag >= 0, decay ** lag.clamp(min=0) * (1 - decay), torch.zeros((), dtype=layers.dtype)).T
        for decay in MEMORY
    ]
    last = [torch.cat([torch.zeros_like(layers[:, :back]), layers[:, :-back]], 1) for back in (1, 2, 3)]
    total = left[:, :1]
    return share_features(incident[:, None], photon[:, None], total, left, last, memory)


def mixture_log_density(raw: torch.Tensor, components: int, value: torch.Tensor) -> torch.Tensor:
    """Log density of a mixture of normal laws whose weights, means and log widths stand side by side in ``raw``."""
    weight = torch.log_softmax(raw[..., :components], -1)
    mean, width = raw[..., components : 2 * components], raw[..., 2 * components : 3 * components].clamp(-4.0, 2.0)
    pull = (value[..., None] - mean) / width.exp()
    return torch.logsumexp(weight - width - 0.5 * pull.square(), -1) - 0.5 * math.log(2.0 * math.pi)


def draw_mixture(raw: torch.Tensor, components: int, uniform: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """A number of that mixture from one uniform and one normal number."""
    share = torch.softmax(raw[..., :components], -1).cumsum(-1)
    chosen = (uniform[..., None] > share[..., :-1]).sum(-1, keepdim=True)
    mean = raw[..., components : 2 * components].gather(-1, chosen)[..., 0]
    width = raw[..., 2 * components : 3 * components].gather(-1, chosen)[..., 0].clamp(-4.0, 2.0)
    return mean + width.exp() * normal


def energies_loss(
    network: EnergyNetwork, incident: torch.Tensor, photon: torch.Tensor, layers: torch.Tensor
) -> torch.Tensor:
    """Mean negative log density of totals and layer energies, in nats per shower; arguments as `all_share_features`."""
    left = torch.flip(torch.cumsum(torch.flip(layers, [1]), 1), [1])
    active, none = left > 0.0, layers == 0.0
    whole = active & ~none & (left == layers)
    inside = active & ~none & ~whole
    share = torch.where(inside, layers / torch.where(inside, left, torch.ones(())), torch.full((), 0.5))
    raw = network.of_share(all_share_features(incident, photon, layers), torch.arange(layers.shape[1]))
    kind = torch.nn.functional.pad(raw[..., 3 * COMPONENTS :], (0, 1)).log_softmax(-1)
    zero = torch.zeros(())
    score = torch.where(active & none, kind[..., 0], zero) + torch.where(whole, kind[..., 1], zero)
    density = mixture_log_density(raw, COMPONENTS, torch.logit(share, eps=1e-7))
    score = score + torch.where(inside, kind[..., 2] + density, zero)
    total = mixture_log_density(network.of_total(incident, photon), TOTAL_COMPONENTS, log_visible(left[:, 0], incident))
    return -score.sum(1).mean() - total.mean()


def draw_layers(
    network: EnergyNetwork, incident: torch.Tensor, photon: torch.Tensor, uniform: torch.Tensor, normal: torch.Tensor
) -> torch.Tensor:
    """Layer energies in MeV from noise; shape (showers, layers).

    Args:
        network: the laws.
        incident: MeV, shape (showers,).
        photon: shape (showers,).
        uniform: in [0, 1), shape (showers, layers + 1, 2).
        normal: shape (showers, layers + 1).
    """
    count = network.out.shape[0]
    raw = network.of_total(incident, photon)
    seen = draw_mixture(raw, TOTAL_COMPONENTS, uniform[:, -1, 0], normal[:, -1])
    total = incident * VISIBLE_SHARE * torch.exp(seen / 10.0)
    left, last = total.clone(), [torch.zeros_like(total) for _ in range(3)]
    memory = [torch.zeros_like(total) for _ in MEMORY]
    layers = []
    for layer in range(count):
        raw = network.of_share(share_features(incident, photon, total, left, last, memory), layer)
        kind = torch.nn.functional.pad(raw[..., 3 * COMPONENTS :], (0, 1)).softmax(-1).cumsum(-1)
        logit = draw_mixture(raw, COMPONENTS, uniform[:, layer, 0], normal[:, layer])
        which = (uniform[:, layer, 1, None] > kind[:, :2]).sum(-1)
        share = torch.where(which == 0, 0.0, torch.where(which == 1, 1.0, torch.sigmoid(logit)))
        if layer == count - 1:
            share = torch.ones_like(share)
        energy = share * left
        left = left - energy
        last = [energy, *last[:2]]
        memory = [decay * old + (1.0 - decay) * energy for decay, old in zip(MEMORY, memory, strict=True)]
        layers.append(energy)
    return torch.stack(layers, 1)
