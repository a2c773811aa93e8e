"""Muon against exact decompositions."""

from __future__ import annotations

import pytest
import torch

from srcli.pretraining.encoder.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(24, 24), (12, 80), (80, 12)])
def test_an_orthogonal_update_keeps_directions_and_evens_out_their_sizes(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    sizes = torch.logspace(-1, 1, u.shape[1])
    out = orthogonal(u @ torch.diag(sizes) @ v)
    between = u.T @ out @ v.T
    assert torch.allclose(between, torch.diag(between.diagonal()), atol=2e-3), "each direction stays its own"
    assert float(between.diagonal().min()) > 0.6
    assert float(between.diagonal().max()) < 1.3


def test_a_step_against_its_definition() -> None:
    """The second step: momentum of both gradients, Nesterov's look ahead, decay, and the size."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 3, 3, 3, generator=generator).to(memory_format=torch.channels_last).requires_grad_()
    optimizer = Muon([weight], lr=0.01, weight_decay=0.1, momentum=0.9)
    momentum, expected = torch.zeros(6, 27), weight.detach().reshape(6, 27).clone()
    for _ in range(2):
        gradient = torch.randn(6, 3, 3, 3, generator=generator)
        weight.grad = gradient.to(memory_format=torch.channels_last)
        optimizer.step()
        flat = gradient.reshape(6, 27)
        momentum = 0.9 * momentum + 0.1 * flat
        update = orthogonal(0.1 * flat + 0.9 * momentum)
        expected = expected * (1 - 0.01 * 0.1) - 0.01 * 0.4 * 27**0.5 * update
    assert torch.allclose(weight.detach().reshape(6, 27), expected, atol=1e-6)
    assert float(update.square().mean().sqrt()) * 27**0.5 == pytest.approx(1.0, rel=0.2)


def test_what_has_no_gradient_stays_as_it_is() -> None:
    weight = torch.ones(3, 4, requires_grad=True)
    optimizer = Muon([weight], lr=1.0, weight_decay=0.5)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(3, 4))
    assert not optimizer.state_dict()["state"]
