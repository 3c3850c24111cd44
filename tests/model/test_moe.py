"""The mixture computes what its definition says, drops nothing, and its losses are those of the papers."""

import pytest
import torch
import torch.nn.functional as F

from athanor.model import moe
from athanor.model.attention import causal
from athanor.model.config import Experts, ModelConfig, MuP, Shape
from athanor.model.moe import ExpertStack, MixtureOfExperts, Routing
from athanor.model.transformer import Transformer


def config(num_layers: int = 2, **changes: object) -> ModelConfig:
    experts = Experts(**({"num_experts": 4, "experts_per_token": 2, "d_ff": 16} | changes))  # type: ignore[arg-type]
    return ModelConfig(
        vocab_size=60, context_length=32, num_layers=num_layers, d_model=24, d_ff=8, num_heads=3, num_kv_heads=1,
        head_width=8, experts=experts,
    )  # fmt: skip


def random_weights(module: torch.nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.ndim == 1))


def by_hand(layer: MixtureOfExperts, x_D: torch.Tensor) -> torch.Tensor:
    """One token: softmax over all experts, the best of them, their SwiGLU layers, a weighted sum."""
    probabilities = torch.softmax(layer.router.weight @ x_D, dim=0)
    best = probabilities.argsort(descending=True)[: layer.settings.experts_per_token]
    weights = probabilities[best] / (probabilities[best].sum() if layer.settings.renormalize else 1.0)
    total = torch.zeros_like(x_D)
    for weight, expert in zip(weights, best.tolist(), strict=True):
        gate, up = (layer.experts.gate_up.weight[expert] @ x_D).chunk(2)
        total = total + weight * (layer.experts.down.weight[expert] @ (F.silu(gate) * up))
    return total


@pytest.mark.parametrize("renormalize", [True, False])
@pytest.mark.parametrize("chosen", [1, 3, 4])
def test_every_token_is_computed_by_its_best_experts_alone(renormalize: bool, chosen: int) -> None:
    layer = MixtureOfExperts(config(renormalize=renormalize, experts_per_token=chosen))
    random_weights(layer)
    x_BTD = torch.randn(2, 9, 24)
    expected = torch.stack([by_hand(layer, x_D) for x_D in x_BTD.flatten(0, 1)]).view_as(x_BTD)
    torch.testing.assert_close(layer(x_BTD), expected)
    found = torch.autograd.grad(layer(x_BTD).square().sum(), list(layer.parameters()))
    wanted = torch.autograd.grad(expected.square().sum(), list(layer.parameters()))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_no_token_is_dropped_where_all_want_one_expert() -> None:
    layer = MixtureOfExperts(config(experts_per_token=1))
    random_weights(layer)
    with torch.no_grad():
        layer.router.weight.zero_()
        layer.router.weight[2] = 1.0
    x_BTD = torch.rand(3, 20, 24) + 0.1  # all positive: every score but that of expert 2 is zero
    routing = Routing.of(config(experts_per_token=1))
    assert routing is not None
    out_BTD = layer(x_BTD, routing)
    assert routing.chosen_E[0].tolist() == [0, 0, 60, 0]
    torch.testing.assert_close(out_BTD[2, 19], by_hand(layer, x_BTD[2, 19]))


def test_the_grouped_product_gives_what_one_product_per_expert_gives() -> None:
    stack = ExpertStack(4, 24, 16)
    random_weights(stack)
    counts = [5, 0, 16, 3]
    x_MD = torch.randn(24, 24)
    weights = (stack.gate_up.weight, stack.down.weight)
    one_by_one = moe._one_by_one(x_MD, counts, *weights)
    grouped = moe._grouped(x_MD, torch.tensor(counts), *weights)
    torch.testing.assert_close(grouped, one_by_one)
    away = torch.randn(24, 24)
    for found, expected in zip(
        torch.autograd.grad(grouped, weights, away), torch.autograd.grad(one_by_one, weights, away), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_losses_are_those_of_the_papers() -> None:
    layer = MixtureOfExperts(config(num_layers=1))
    random_weights(layer)
    routing = Routing.of(config(num_layers=1, balance_loss=0.5, z_loss=0.25))
    assert routing is not None
    x_BTD = torch.randn(3, 7, 24)
    layer(x_BTD, routing)
    balance, z = [], []
    for x_TD in x_BTD:
        scores_TE = x_TD @ layer.router.weight.T
        probability_TE = scores_TE.softmax(-1)
        share_E = F.one_hot(probability_TE.topk(2).indices, 4).float().sum(1).mean(0) / 2
        balance.append(4 * (share_E * probability_TE.mean(0)).sum())
        z.append(scores_TE.exp().sum(-1).log().square().mean())
    expected = 0.5 * torch.stack(balance).mean() + 0.25 * torch.stack(z).mean()
    torch.testing.assert_close(routing.loss(), expected)


def test_an_even_router_has_a_balance_loss_of_one() -> None:
    layer = MixtureOfExperts(config(num_layers=1, experts_per_token=4))  # every expert computes every token
    random_weights(layer)
    routing = Routing.of(config(num_layers=1))
    assert routing is not None
    layer(torch.randn(1, 50, 24), routing)
    assert routing.balance[0].item() == pytest.approx(1.0)
    numbers = routing.numbers()
    assert numbers["busiest_expert"] == pytest.approx(1.0)
    assert [numbers[f"expert_{e:02d}"] for e in range(4)] == pytest.approx([0.25] * 4)


def test_losses_do_not_depend_on_how_a_batch_is_cut() -> None:
    shape = config()
    model = Transformer(shape)
    random_weights(model)
    tokens = torch.randint(60, (6, 16))

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        routing = Routing.of(shape)
        assert routing is not None
        model(rows, causal(*rows.shape), routing)
        return routing.loss() * (len(rows) / len(tokens))

    torch.testing.assert_close(loss_of(tokens), loss_of(tokens[:1]) + loss_of(tokens[1:]))


def test_the_balance_loss_evens_out_what_it_is_applied_to() -> None:
    shape = config(num_layers=1)
    layer = MixtureOfExperts(shape)
    random_weights(layer)
    with torch.no_grad():
        layer.router.weight[0] += 2.0
    x_BTD = torch.randn(4, 64, 24) + 0.3
    optimizer = torch.optim.Adam([layer.router.weight], lr=0.1)
    busiest = []
    for _ in range(40):
        routing = Routing.of(shape)
        assert routing is not None
        layer(x_BTD, routing)
        busiest.append(routing.numbers()["busiest_expert"])
        optimizer.zero_grad()
        torch.stack(routing.balance).sum().backward()
        optimizer.step()
    assert busiest[0] > 1.7 and busiest[-1] < 1.3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"experts_per_token": 5, "num_experts": 4}, "between 1"),
        ({"d_ff": 0}, "d_ff"),
        ({"z_loss": -1.0}, "start at 0"),
    ],
)
def test_impossible_mixtures_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Experts(**wrong)  # type: ignore[arg-type]


def test_mup_says_nothing_about_routers() -> None:
    with pytest.raises(ValueError, match="routers"):
        Shape(mup=MuP(), experts=Experts())
