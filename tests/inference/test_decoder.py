"""The decoder for plain Transformers: the model's own logits, and no model taken for one."""

import dataclasses
import math

import pytest
import torch

from athanor.inference import decoder as decoder_module
from athanor.inference.decoder import Decoder, decodes
from athanor.inference.kv_cache import KVCache
from athanor.model.config import LstmConfig, MuP
from athanor.model.lstm import Lstm
from athanor.model.rope_scaling import LinearRope
from athanor.model.transformer import Transformer

from .conftest import random_model


def both(model, steps=5, rows=(3, 9, 5)):
    """Largest difference between the logits of the decoder and of the model over some steps."""
    caches = [KVCache(model.config, model.compute_dtype) for _ in range(2)]
    tokens = torch.arange(sum(rows))[None] % model.config.vocab_size
    largest = 0.0
    with torch.inference_mode():
        for cache in caches:
            model(tokens, cache.reading(rows))
        decoder = Decoder(model)
        for step in range(steps):
            token_B = torch.tensor([step, 7, 50])
            got = decoder(token_B, caches[0].writing(), max(caches[0].lengths))
            expected = model.logits(model(token_B[:, None], caches[1].writing())[:, 0])
            assert got.dtype == torch.float32
            largest = max(largest, float((got - expected).abs().max()))
    return largest


@pytest.fixture(params=[1, 3, 1000], ids=["kernels", "kernels from the third step on", "torch"], autouse=True)
def prepare_after(request, monkeypatch):
    monkeypatch.setattr(decoder_module, "FUSE_AFTER", request.param)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_logits_are_those_of_the_model(qk_norm, num_kv_heads):
    model = random_model(qk_norm, num_kv_heads=num_kv_heads)
    assert decodes(model)
    assert both(model) < 1e-4


def test_widths_scaled_by_mup_and_tied_embeddings_are_followed(model):
    scaled = dataclasses.replace(model.config, mup=MuP(base_width=16, base_head_width=8), tied_embeddings=True)
    other = Transformer(scaled)
    with torch.no_grad():
        for parameter in other.parameters():
            if parameter.ndim == 2:
                parameter.normal_(generator=torch.Generator().manual_seed(1)).div_(math.sqrt(parameter.shape[1]))
    assert both(other) < 1e-4


def test_windows_and_stretched_positions_are_followed(model):
    special = dataclasses.replace(
        model.config, sliding_window=6, window_layers=(0, 2), rope_scaling=LinearRope(kind="linear", factor=4.0)
    )
    other = Transformer(special)
    other.load_state_dict(model.state_dict())
    assert decodes(other)
    assert both(other, steps=12) < 1e-4
    assert both(other, steps=12, rows=(9, 9, 9)) < 1e-4


@pytest.mark.parametrize("packed", [False, True])
def test_bfloat16_products_agree_with_the_model_to_their_rounding(monkeypatch, packed):
    monkeypatch.setattr(decoder_module, "PACK_AFTER", 2 if packed else 1000)
    model = random_model()
    model.compute_dtype = torch.bfloat16  # with float32 weights, as while training
    exact = random_model()
    assert both(model, steps=6) < 0.5
    assert both(exact) < 1e-4


def test_a_machine_that_cannot_prepare_matrices_goes_on_without(monkeypatch, capsys):
    def refuse(weight):
        raise RuntimeError("not built in")

    monkeypatch.setattr(decoder_module, "PACK_AFTER", 2)
    monkeypatch.setattr(decoder_module, "_packed", refuse)
    monkeypatch.setattr(decoder_module, "_said", False)
    model = random_model()
    model.compute_dtype = torch.bfloat16
    assert both(model) < 0.5
    assert "not built in" in capsys.readouterr().err


def test_models_with_other_parts_are_left_to_their_own_forward(model):
    class Wider(Transformer):
        pass

    assert not decodes(Wider(model.config))
    assert not decodes(Lstm(LstmConfig(vocab_size=9, d_model=8)))
    extended = random_model()
    extended.blocks[1].extra = torch.nn.Linear(2, 2)
    assert not decodes(extended)
