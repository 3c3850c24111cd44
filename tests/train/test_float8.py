"""Products in float8 are near those in float32, forward and backward, and leave alone what they cannot do."""

import pytest
import torch

from athanor.model.attention import causal
from athanor.model.config import ModelConfig
from athanor.model.layers import Linear
from athanor.model.transformer import Transformer
from athanor.train import float8
from athanor.train.float8 import Float8Linear, has_float8, use_float8

pytestmark = pytest.mark.skipif(not has_float8(torch.device("cpu")), reason="this torch has no float8 products here")


def linear(width_in: int = 64, width_out: int = 48) -> Linear:
    layer = Linear(width_in, width_out)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(width_out, width_in, generator=torch.Generator().manual_seed(0)))
    return layer


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.detach().float() - expected.detach()).norm() / expected.detach().norm())


@pytest.mark.parametrize("rows", [32, 37])  # 37: no multiple of 16
@pytest.mark.parametrize("size", [1e-4, 1.0, 3e4])  # scaling keeps small and large numbers alike
def test_products_and_gradients_are_near_exact_ones(rows: int, size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    x = (torch.randn(2, rows, 64, generator=generator) * size).bfloat16().requires_grad_()
    upstream = torch.randn(2, rows, 48, generator=generator).bfloat16() / size
    exact_layer, layer = linear(), linear()
    layer.__class__ = Float8Linear
    exact = exact_layer(x.float())
    found = layer(x)
    assert found.dtype == torch.bfloat16 and error(found, exact) < 0.05
    ours = torch.autograd.grad(found, [x, layer.weight], upstream)
    plain = torch.autograd.grad(exact, [x, exact_layer.weight], upstream.float())
    assert ours[1].dtype == torch.float32
    assert all(error(a, b) < 0.08 for a, b in zip(ours, plain, strict=True))


def test_only_layers_with_fitting_sides_change_and_the_model_still_predicts(capsys: pytest.CaptureFixture[str]) -> None:
    config = ModelConfig(
        vocab_size=40, context_length=16, num_layers=2, d_model=32, d_ff=40, num_heads=2, num_kv_heads=1, head_width=16
    )
    model = Transformer(config)
    model.compute_dtype = torch.bfloat16
    tokens = torch.arange(32).view(2, 16)
    before = model(tokens, causal(2, 16))
    assert use_float8(model, torch.device("cpu")) == 2 * 3  # down, of 32 x 40, stays; head and embedding do
    assert "slower" in capsys.readouterr().err
    assert error(model(tokens, causal(2, 16)), before.float()) < 0.05
    assert set(model.state_dict()) == set(Transformer(config).state_dict())


def test_without_such_products_a_notice_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(float8, "has_float8", lambda device: False)
    layer = linear()
    assert use_float8(layer, torch.device("cpu")) == 0  # type: ignore[arg-type]
    assert "stay in bfloat16" in capsys.readouterr().err and type(layer) is Linear
