"""Number types follow the hardware, and results on the processor can be repeated."""

import pytest
import torch

from athanor.model.attention import shared_prompt
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.train import precision


def test_auto_is_bfloat16_only_where_the_hardware_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for native in (True, False):
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device, native=native: native)
        assert precision.compute_dtype("auto", cpu) == (torch.bfloat16 if native else torch.float32)
        assert precision.compute_dtype("float32", cpu) == torch.float32
        assert precision.compute_dtype("bfloat16", cpu) == torch.bfloat16


def test_other_processors_than_x86_train_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision.platform, "machine", lambda: "arm64")
    assert not precision.multiplies_bfloat16(torch.device("cpu"))


def test_gradients_on_two_threads_are_the_same_every_time() -> None:
    config = ModelConfig(vocab_size=50, num_layers=1, d_model=128, d_ff=64, num_heads=4, num_kv_heads=4, head_width=32)
    model = Transformer(config)
    triples = [(60, 40, 50)] * 12
    tokens = torch.randint(50, (1, 12 * 150), generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        precision.use_threads(2)
        found = []
        for _ in range(4):
            loss = model(tokens, shared_prompt(triples)).square().sum()
            found.append(torch.autograd.grad(loss, [model.blocks[0].qkv.weight])[0])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], again) for again in found[1:])
