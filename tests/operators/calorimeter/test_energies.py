import torch

from darkop_dist.operators.calorimeter import energies as module
from darkop_dist.operators.calorimeter.energies import all_share_features, draw_layers, energies_loss, share_features
from darkop_dist.operators.calorimeter.operator import CalorimeterOperator

Particles = tuple[torch.Tensor, torch.Tensor]


def drawn(operator: CalorimeterOperator, particles: Particles) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    count = len(particles[0])
    uniform, normal = torch.rand(count, 7, 2, generator=generator), torch.randn(count, 7, generator=generator)
    with torch.no_grad():
        return draw_layers(operator.energies, *particles, uniform, normal)


def test_layers_are_not_negative_and_add_up_to_the_total(operator: CalorimeterOperator, particles: Particles) -> None:
    layers = drawn(operator, particles)
    generator = torch.Generator().manual_seed(1)
    uniform, normal = torch.rand(60, 7, 2, generator=generator), torch.randn(60, 7, generator=generator)
    with torch.no_grad():
        raw = operator.energies.of_total(*particles)
    seen = module.draw_mixture(raw, module.TOTAL_COMPONENTS, uniform[:, -1, 0], normal[:, -1])
    total = particles[0] * module.VISIBLE_SHARE * torch.exp(seen / 10.0)
    assert (layers >= 0.0).all()
    assert torch.allclose(layers.sum(1), total, rtol=1e-5)


def test_training_sees_the_features_that_generation_makes(operator: CalorimeterOperator, particles: Particles) -> None:
    layers = drawn(operator, particles)
    incident, photon = particles
    whole = all_share_features(incident, photon, layers)
    zero = torch.zeros(60)
    memory = [(1 - decay) * (decay * layers[:, 0] + layers[:, 1]) for decay in module.MEMORY]
    found = share_features(
        incident, photon, layers.sum(1), layers[:, 2:].sum(1), [layers[:, 1], layers[:, 0], zero], memory
    )
    assert torch.allclose(whole[:, 2], found, atol=1e-3)


def test_the_loss_is_lower_where_the_showers_are_its_own(operator: CalorimeterOperator, particles: Particles) -> None:
    layers = drawn(operator, particles)
    with torch.no_grad():
        own = energies_loss(operator.energies, *particles, layers)
        other = energies_loss(operator.energies, *particles, layers.flip(1))
    assert own < other
