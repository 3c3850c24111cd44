"""AdamW and Muon step as their papers say, role by role, and continue exactly from their state."""

import copy
from dataclasses import replace

import pytest
import torch

from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.train.config import AdamW, Muon
from athanor.train.optim import Optimizer, clip_gradients, orthogonalize, role_of
from athanor.train.spread import row_parts

CONFIG = ModelConfig(
    vocab_size=30, context_length=16, num_layers=2, d_model=16, d_ff=24, num_heads=2, num_kv_heads=1, head_width=8
)


def with_gradients(model: Transformer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_every_parameter_has_its_role() -> None:
    roles = {name: role_of(name, p) for name, p in Transformer(CONFIG).named_parameters()}
    assert roles["embedding.weight"] == "embedding"
    assert roles["head.weight"] == "head"
    assert roles["final_norm.weight"] == roles["blocks.0.q_norm.weight"] == "gain"
    assert {name.split(".")[-2] for name, role in roles.items() if role == "matrix"} == {
        "qkv", "attention_out", "gate_up", "down",
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 12, 5), (2, 5, 12)])
def test_orthogonalized_matrices_have_singular_values_near_one_and_keep_their_directions(
    shape: tuple[int, ...],
) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    result = orthogonalize(matrices, 5)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    overlap = (u.mT @ result @ v.mT).diagonal(dim1=-2, dim2=-1)  # the nearest orthogonal matrix is u @ v
    assert overlap.min() > 0.6


def test_muon_makes_stacked_maps_orthogonal_one_by_one() -> None:
    model = Transformer(CONFIG)
    before = model.blocks[0].qkv.weight.detach().clone()
    optimizer = Optimizer(model, AdamW(), Muon(lr_peak=1.0))
    with_gradients(model, seed=0)
    gradient = model.blocks[0].qkv.weight.grad
    assert gradient is not None
    expected = []
    for part in gradient.clone().split([16, 8, 8]):
        scale = max(1.0, part.shape[0] / part.shape[1]) ** 0.5
        expected.append(orthogonalize(part[None] * 0.0975, 5)[0] * scale)  # first Nesterov step: (1 - .95^2) g
    optimizer.step(1.0)
    assert row_parts(model)["blocks.0.qkv.weight"] == (16, 8, 8)
    torch.testing.assert_close(before - model.blocks[0].qkv.weight.detach(), torch.cat(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tables", [(0.0, 0.0), (0.3, 0.7)])
def test_adamw_groups_have_their_own_rates_and_decays(tables: tuple[float, float]) -> None:
    model = Transformer(CONFIG)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    decays = {"matrix": 0.5, "embedding": tables[0], "head": tables[1]}
    rates = AdamW(lr_peak=0.01, embedding_lr_peak=0.1, head_lr_peak=0.02, weight_decay=0.5, epsilon=1e-12)
    adamw = replace(rates, embedding_weight_decay=tables[0], head_weight_decay=tables[1])
    optimizer = Optimizer(model, adamw, muon=None)
    with_gradients(model, seed=1)
    signs = {name: p.grad.sign() for name, p in model.named_parameters() if p.grad is not None}
    optimizer.step(0.5)
    for name, parameter in model.named_parameters():
        lr = {"embedding": 0.1, "head": 0.02}.get(role_of(name, parameter), 0.01) * 0.5
        decay = lr * decays.get(role_of(name, parameter), 0.0)
        expected = before[name] * (1 - decay) - lr * signs[name]  # Adam's first step has the size of the rate
        torch.testing.assert_close(parameter.detach(), expected, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("muon", [None, Muon()])
def test_continuing_from_the_state_gives_identical_weights(muon: Muon | None) -> None:
    model = Transformer(CONFIG)
    optimizer = Optimizer(model, AdamW(), muon)
    for step in range(2):
        with_gradients(model, step)
        optimizer.step(1.0)
    copied = copy.deepcopy(model)
    continued = Optimizer(copied, AdamW(), muon)
    continued.load_state({name: tensor.clone() for name, tensor in optimizer.state().items()})
    for one, other in ((model, optimizer), (copied, continued)):
        with_gradients(one, 9)
        other.step(0.3)
    for (name, ours), theirs in zip(model.named_parameters(), copied.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_state_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="has no place for"):
        Optimizer(Transformer(CONFIG), AdamW(), None).load_state({"adamw/other.weight/step": torch.zeros(())})


def test_clipping_scales_all_gradients_to_the_norm() -> None:
    model = Transformer(CONFIG)
    with_gradients(model, 0)
    parameters = list(model.parameters())
    norm = clip_gradients(parameters, 0.5)
    assert norm > 0.5
    assert clip_gradients(parameters, None) == pytest.approx(0.5, rel=1e-4)
