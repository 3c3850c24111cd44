"""Bits per byte is the sum of the documents' code lengths over their bytes, whatever the windows."""

import math
from pathlib import Path

import pytest
import torch

from athanor.model.attention import causal
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.tokenizer.token_shards import TokenDataset
from athanor.train.validation import validate, windows


def random_model(vocab_size: int, context_length: int) -> Transformer:
    config = ModelConfig(
        vocab_size=vocab_size, context_length=context_length, num_layers=1, d_model=16, d_ff=24, num_heads=2,
        num_kv_heads=1, head_width=8,
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@pytest.mark.parametrize("context_length", [1, 2, 7, 16, 64])
def test_every_token_but_the_first_is_scored_once_with_enough_before_it(
    corpus: dict[str, Path], context_length: int
) -> None:
    dataset = TokenDataset(corpus["tokens"] / "validation")
    scored: dict[int, list[int]] = {}
    for window in windows(dataset, context_length):
        assert window.start < window.scored_from < window.end
        assert window.end - window.start <= context_length + 1
        assert window.start == 0 or window.scored_from - window.start >= context_length // 2
        scored.setdefault(window.document, []).extend(range(window.scored_from, window.end))
    for document, length in enumerate(dataset.document_lengths.tolist()):
        assert scored[document] == list(range(1, length))


def test_bits_per_byte_equals_the_code_length_of_whole_documents(corpus: dict[str, Path]) -> None:
    dataset = TokenDataset(corpus["tokens"] / "validation")
    model = random_model(dataset.vocab_size, context_length=int(dataset.document_lengths.max()))
    nats = 0.0
    with torch.no_grad():
        for i in range(dataset.num_documents):
            tokens = torch.from_numpy(dataset.document(i).astype("int64"))
            logits = model.logits(model(tokens[None, :-1], causal(1, len(tokens) - 1)))[0]
            nats -= float(logits.log_softmax(-1).gather(1, tokens[1:, None]).sum())
    found = validate(model, dataset)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / dataset.num_bytes, rel=1e-5)
    assert found.num_tokens == dataset.num_tokens - dataset.num_documents
    assert found.perplexity == pytest.approx(math.exp(nats / found.num_tokens), rel=1e-4)


def test_a_sample_of_the_windows_estimates_the_whole(corpus: dict[str, Path]) -> None:
    dataset = TokenDataset(corpus["tokens"] / "validation")
    model = random_model(dataset.vocab_size, context_length=32)
    whole, sample = validate(model, dataset), validate(model, dataset, max_tokens=whole_tokens(dataset) // 3)
    assert sample.num_tokens < whole.num_tokens / 2
    assert sample.bits_per_byte == pytest.approx(whole.bits_per_byte, rel=0.2)


def whole_tokens(dataset: TokenDataset) -> int:
    return dataset.num_tokens - dataset.num_documents
