"""A small model with random weights, in which every token depends on all before it."""

import pytest
import torch

from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer

VOCAB_SIZE = 97


def random_model(qk_norm: bool = True, context_length: int = 200, num_kv_heads: int = 2, seed: int = 0) -> Transformer:
    config = ModelConfig(
        vocab_size=VOCAB_SIZE,
        context_length=context_length,
        num_layers=3,
        d_model=32,
        d_ff=48,
        num_heads=4,
        num_kv_heads=num_kv_heads,
        head_width=16,
        qk_norm=qk_norm,
    )
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 1.5 / parameter.shape[1] ** 0.5)
    return model


@pytest.fixture(scope="session")
def model() -> Transformer:
    return random_model()
