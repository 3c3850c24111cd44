"""Packed documents that are kept apart give the losses and gradients of documents computed alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from athanor.model.attention import causal
from athanor.model.config import LstmConfig, ModelConfig
from athanor.model.language_model import LanguageModel
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer
from athanor.train.documents import block_mask, document_lengths, documents_apart, has_flex

CONFIG = ModelConfig(
    vocab_size=50, context_length=64, num_layers=2, d_model=32, d_ff=48, num_heads=4, num_kv_heads=2, head_width=8
)
ENDS = [np.array([5, 40, 64]), np.array([63]), np.array([1, 2, 30, 50])]  # the last row ends in padding
LENGTH = 64


def filled(model: LanguageModel) -> LanguageModel:
    """A new model's blocks are the identity: with random weights attention counts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def test_lengths_follow_the_ends_and_padding_stands_alone() -> None:
    assert document_lengths(ENDS, LENGTH) == [5, 35, 24, 63, 1, 1, 1, 28, 20, 14]
    assert document_lengths([np.array([65])], LENGTH) == [LENGTH]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kind", ["gathered", "window", "flex", "flex window", "lstm"])
def test_packed_equals_alone(kind: str) -> None:
    flex = "flex" in kind
    if flex and not has_flex():
        pytest.skip("this torch has no FlexAttention")
    lstm = LstmConfig(vocab_size=50, context_length=64, num_layers=1, d_model=16)
    config = replace(CONFIG, sliding_window=10) if "window" in kind else CONFIG
    model = filled(Lstm(lstm, 0) if kind == "lstm" else Transformer(config))
    tokens = torch.randint(50, (len(ENDS), LENGTH), generator=torch.Generator().manual_seed(0))
    lengths = document_lengths(ENDS, LENGTH)
    upstream = torch.randn(tokens.numel(), model.config.d_model, generator=torch.Generator().manual_seed(2))
    layout = documents_apart(lengths, torch.device("cpu"), flex=flex)
    with torch.set_grad_enabled(not flex):  # on a processor FlexAttention has no backward pass
        packed = model(tokens.reshape(1, -1), layout)[0]
        alone = torch.cat([model(part[None], causal(1, len(part)))[0] for part in tokens.flatten().split(lengths)])
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)
    if not flex:
        parameters = list(model.parameters())
        both = [torch.autograd.grad(hidden, parameters, upstream, allow_unused=True) for hidden in (packed, alone)]
        for ours, expected in zip(*both, strict=True):
            if expected is not None:
                torch.testing.assert_close(ours, expected, atol=1e-5 * float(expected.abs().max()) + 1e-5, rtol=1e-4)


@pytest.mark.skipif(not has_flex(), reason="this torch has no FlexAttention")
@pytest.mark.parametrize("window", [None, 1, 5, 16, 40, 1000])
@pytest.mark.parametrize("lengths", [[64], [3, 40, 21], [1] * 20, [16, 32, 16, 5], [100, 7, 1, 30]])
def test_the_blocks_that_meet_are_those_of_the_mask_written_out(lengths: list[int], window: int | None) -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    documents, count = torch.repeat_interleave(torch.tensor(lengths)), sum(lengths)
    ours = block_mask(documents, window, size=16)
    expected = create_block_mask(ours.mask_mod, None, None, count, count, device="cpu", BLOCK_SIZE=16)
    assert ours.shape == expected.shape
    for side in ("kv", "full_kv", "q", "full_q"):
        counts, order = getattr(ours, f"{side}_num_blocks"), getattr(ours, f"{side}_indices")
        assert torch.equal(counts, getattr(expected, f"{side}_num_blocks"))
        for row, (number, listed) in enumerate(zip(counts[0, 0], order[0, 0], strict=True)):
            assert torch.equal(listed[:number], getattr(expected, f"{side}_indices")[0, 0, row, :number])
