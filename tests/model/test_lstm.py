"""The LSTM is an LSTM, reads every layout as if each sequence stood alone, and costs what the formulas say."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from athanor.model import folder as model_files
from athanor.model.attention import causal, segments, shared_prompt
from athanor.model.config import LstmConfig, LstmShape
from athanor.model.count import count_parameters, flops_per_token
from athanor.model.lstm import Lstm, LstmLayer


def config(**changes: object) -> LstmConfig:
    shape = {"vocab_size": 300, "context_length": 32, "num_layers": 2, "d_model": 32, "tied_embeddings": False}
    return LstmConfig(**(shape | changes))  # type: ignore[arg-type]


def by_hand(layer: LstmLayer, x_TD: torch.Tensor) -> torch.Tensor:
    """The recurrence of Hochreiter & Schmidhuber with forget gates, one step after another."""
    width = x_TD.shape[1]
    output, memory, outputs = torch.zeros(width), torch.zeros(width), []
    for x_D in x_TD:
        gates = layer.from_input.weight @ x_D + layer.from_state.weight @ output + layer.bias
        enter, keep, candidate, leave = gates.split(width)
        memory = keep.sigmoid() * memory + enter.sigmoid() * candidate.tanh()
        output = leave.sigmoid() * memory.tanh()
        outputs.append(output)
    return torch.stack(outputs)


def test_a_layer_is_the_recurrence_written_out() -> None:
    layer = Lstm(config(), seed=1).blocks[0]
    x_TD = torch.randn(7, 32)
    expected = x_TD + by_hand(layer, layer.norm(x_TD))
    torch.testing.assert_close(layer(x_TD[None], causal(1, 7))[0], expected)


def test_gradients_are_those_of_the_recurrence_written_out() -> None:
    layer = Lstm(config(), seed=1).blocks[0]
    x_TD = torch.randn(5, 32)
    weights = list(layer.parameters())
    found = torch.autograd.grad(layer(x_TD[None], causal(1, 5)).square().sum(), weights)
    expected = torch.autograd.grad((x_TD + by_hand(layer, layer.norm(x_TD))).square().sum(), weights)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_bfloat16_products_stay_near_float32_in_value_and_gradient() -> None:
    tokens = torch.randint(300, (2, 32))
    gradients = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = Lstm(config(), seed=2)
        model.compute_dtype = dtype
        loss = model.logits(model(tokens, causal(2, 32))).log_softmax(-1)[..., 5].mean()
        loss.backward()
        gradients[dtype] = torch.cat([p.grad.flatten() for p in model.parameters()])
    cosine = torch.cosine_similarity(gradients[torch.float32], gradients[torch.bfloat16], dim=0)
    assert cosine > 0.999


def test_sequences_end_to_end_come_out_as_if_alone() -> None:
    model = Lstm(config(), seed=3)
    lengths = [17, 40, 1, 33]
    parts = [torch.randint(300, (n,)) for n in lengths]
    together = model(torch.cat(parts)[None], segments(lengths))[0]
    alone = torch.cat([model(part[None], causal(1, len(part)))[0] for part in parts])
    torch.testing.assert_close(together, alone)


def test_a_shared_prompt_is_read_before_both_completions() -> None:
    model = Lstm(config(), seed=3)
    prompt, chosen, rejected = torch.randint(300, (9,)), torch.randint(300, (4,)), torch.randint(300, (6,))
    hidden = model(torch.cat([prompt, chosen, rejected])[None], shared_prompt([(9, 4, 6)]))[0]
    with_chosen = model(torch.cat([prompt, chosen])[None], causal(1, 13))[0]
    with_rejected = model(torch.cat([prompt, rejected])[None], causal(1, 15))[0]
    torch.testing.assert_close(hidden, torch.cat([with_chosen, with_rejected[9:]]))


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_equal_the_tensors_of_the_model(tied: bool) -> None:
    shape = config(tied_embeddings=tied)
    sizes = {name: p.numel() for name, p in Lstm(shape).named_parameters()}
    matrices = sum(p.numel() for n, p in Lstm(shape).named_parameters() if p.ndim == 2 and "blocks" in n)
    tables = [sizes.pop(name, 0) for name in ("embedding.weight", "head.weight")]
    assert count_parameters(shape, "all") == sum(sizes.values()) + sum(tables)
    assert count_parameters(shape, "non_embedding") == sum(sizes.values())
    assert count_parameters(shape, "matmul") == matrices + 300 * 32


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_flops_equal_those_torch_counts() -> None:
    shape = config()
    model = Lstm(shape)
    tokens = torch.randint(300, (2, 32))
    # without the fused kernel torch sees the products of every step
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        model.logits(model(tokens, causal(2, 32))).sum().backward()
    gains = sum(2 * p.numel() for n, p in model.named_parameters() if "norm" in n) * tokens.numel()
    first_state = shape.num_layers * len(tokens) * 2 * 4 * shape.d_model**2  # zero: nothing flows back into it
    expected = flops_per_token(shape) * tokens.numel()
    assert counter.get_total_flops() - gains + first_state == pytest.approx(expected, rel=1e-9)
    assert flops_per_token(shape) == flops_per_token(shape, "six_n") == 6 * count_parameters(shape, "matmul")


def test_a_folder_gives_the_model_back(tmp_path: Path) -> None:
    model = Lstm(config(tied_embeddings=True), seed=4)
    model_files.save(model, tmp_path)
    loaded = model_files.load(tmp_path)
    assert loaded.config == model.config
    tokens = torch.randint(300, (1, 20))
    assert torch.equal(loaded(tokens, causal(1, 20)), model(tokens, causal(1, 20)))


def test_a_folder_with_other_tensors_is_refused(tmp_path: Path) -> None:
    model_files.save(Lstm(config()), tmp_path)
    text = (tmp_path / "config.json").read_text().replace('"d_model": 32', '"d_model": 48')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="expected"):
        model_files.load(tmp_path)


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_layers"):
        LstmShape(num_layers=0)
