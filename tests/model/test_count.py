"""Counts by formula equal counts of the thing itself."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from athanor.model.attention import causal
from athanor.model.config import Experts, ModelConfig, Shape
from athanor.model.count import count_parameters, flops_per_token
from athanor.model.transformer import Transformer


def config(**changes: object) -> ModelConfig:
    shape = {
        "vocab_size": 300, "context_length": 32, "num_layers": 3, "d_model": 48, "d_ff": 80, "num_heads": 4,
        "num_kv_heads": 2, "head_width": 16, "qk_norm": True, "tied_embeddings": False,
    }  # fmt: skip
    return ModelConfig(**(shape | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_equal_the_tensors_of_the_model(qk_norm: bool, tied: bool) -> None:
    shape = config(qk_norm=qk_norm, tied_embeddings=tied)
    sizes = {name: p.numel() for name, p in Transformer(shape).named_parameters()}
    tables = [sizes.pop(name, 0) for name in ("embedding.weight", "head.weight")]
    assert count_parameters(shape, "all") == sum(sizes.values()) + sum(tables)
    assert count_parameters(shape, "non_embedding") == sum(sizes.values())
    matrices = sum(p.numel() for n, p in Transformer(shape).named_parameters() if p.ndim == 2 and "blocks" in n)
    assert count_parameters(shape, "matmul") == matrices + 300 * 48


@pytest.mark.parametrize(("num_kv_heads", "tied"), [(4, False), (2, True), (1, False)])
def test_flops_equal_those_torch_counts(num_kv_heads: int, tied: bool) -> None:
    shape = config(num_kv_heads=num_kv_heads, tied_embeddings=tied)
    model = Transformer(shape)
    model.compute_dtype = torch.bfloat16  # attention written out as products, which torch counts one by one
    tokens = torch.randint(300, (2, 32))
    with FlopCounterMode(display=False) as counter:
        model.logits(model(tokens, causal(2, 32))).sum().backward()
    total = counter.get_total_flops()
    gains = 0  # the norms' gradients contain a small product with the gain, which no convention counts
    for name, p in model.named_parameters():
        if p.ndim == 1:
            rows = {"q_norm": shape.num_heads, "k_norm": shape.num_kv_heads}.get(name.split(".")[-2], 1)
            gains += 2 * rows * p.numel() * tokens.numel()
    assert total - gains == pytest.approx(flops_per_token(shape) * tokens.numel(), rel=1e-9)


def test_a_mixture_counts_all_experts_as_weights_and_those_chosen_as_work() -> None:
    shape = config(experts=Experts(num_experts=6, experts_per_token=2, d_ff=40))
    model = Transformer(shape)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    matrices = sum(p.numel() for n, p in model.named_parameters() if p.ndim >= 2 and "blocks" in n)
    idle = sum(size for name, size in sizes.items() if ".experts." in name) * 4 // 6
    assert count_parameters(shape, "all") == sum(sizes.values())
    assert count_parameters(shape, "matmul_total") == matrices + 300 * 48
    assert count_parameters(shape, "matmul") == matrices + 300 * 48 - idle
    model.compute_dtype = torch.bfloat16
    tokens = torch.randint(300, (2, 32))
    with FlopCounterMode(display=False) as counter:
        model.logits(model(tokens, causal(2, 32)))
    assert counter.get_total_flops() * 3 == flops_per_token(shape) * tokens.numel()


def test_a_window_bounds_the_positions_that_a_query_meets() -> None:
    shape = config(sliding_window=8, window_layers=(0, 2))
    heads = (
        2 * 2 * 2 * shape.num_heads * shape.head_width
    )  # two products, both ways as much again, a multiply-add is two
    position = torch.arange(32)
    met = [min(32, 8), 32, min(32, 8)]
    band = (position[:, None] - position >= 0) & (position[:, None] - position < 8)
    assert int(band[-1].sum()) == met[0]
    attention = flops_per_token(shape) - flops_per_token(shape, "six_n")
    assert attention == 1.5 * heads * sum(met)
    assert flops_per_token(shape, sequence_length=8) == flops_per_token(config(), sequence_length=8)


def test_six_n_leaves_attention_out() -> None:
    shape = config()
    assert flops_per_token(shape, "six_n") == 6 * count_parameters(shape, "matmul")
    longer = flops_per_token(shape, sequence_length=64) - flops_per_token(shape, "six_n")
    assert longer == 2 * (flops_per_token(shape) - flops_per_token(shape, "six_n"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"num_kv_heads": 3}, "not a multiple"), ({"head_width": 15}, "odd"), ({"num_layers": 0}, "num_layers")],
)
def test_impossible_shapes_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shape(**wrong)  # type: ignore[arg-type]
