"""The scale halves where gradients overflow, doubles after many good steps, and is part of the state."""

import torch

from athanor.train.loss import cross_entropy_and_z
from athanor.train.loss_scale import FIRST, GROWTH_STEPS, LossScale


def test_the_scale_follows_the_steps() -> None:
    scale = LossScale(torch.float16)
    scale.see(finite=False)
    scale.see(finite=False)
    assert scale.value == FIRST / 4
    for _ in range(GROWTH_STEPS - 1):
        scale.see(finite=True)
    resumed = LossScale(torch.float16)
    resumed.load_state(scale.state())
    for each in (scale, resumed):
        each.see(finite=True)
        assert each.value == FIRST / 2


def test_other_types_are_not_scaled() -> None:
    scale = LossScale(torch.bfloat16)
    scale.see(finite=False)
    assert scale.value == 1.0 and scale.state() == {}


def test_small_weights_survive_in_float16() -> None:
    """A weight of 1e-7 is below float16's smallest number; the scaled gradient is as in float32 all the same."""
    generator = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(64, 16, generator=generator), torch.randn(50, 16, generator=generator)
    targets, weights = torch.randint(50, (64,), generator=generator), torch.full((64,), 1e-7)
    found = {}
    for dtype in (torch.float16, torch.float32):
        h, w = hidden.to(dtype).requires_grad_(), head.clone().requires_grad_()
        total, _ = cross_entropy_and_z(h, w, targets, weights)
        found[dtype] = torch.autograd.grad(total * 2.0**24, [h, w])
    for ours, exact in zip(found[torch.float16], found[torch.float32], strict=True):
        assert float((ours.float() - exact).norm() / exact.norm()) < 0.01
