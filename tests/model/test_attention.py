"""Layouts: every sequence comes out as if it had been computed alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.model.attention import causal, segments, shared_prompt
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=50, context_length=64, num_layers=2, d_model=24, d_ff=32, num_heads=4, num_kv_heads=2, head_width=8
)


def random_model() -> Transformer:
    model = Transformer(CONFIG)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


MODEL = random_model()


def tokens(length: int, seed: int) -> torch.Tensor:
    return torch.randint(CONFIG.vocab_size, (length,), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def alone(sequence: torch.Tensor) -> torch.Tensor:
    return MODEL(sequence[None], causal(1, len(sequence)))[0]


def test_no_token_sees_a_later_one() -> None:
    sequence = tokens(12, seed=0)
    changed = sequence.clone()
    changed[7] = (changed[7] + 1) % CONFIG.vocab_size
    before, after = alone(sequence), alone(changed)
    assert torch.equal(before[:7], after[:7])
    assert not torch.allclose(before[7:], after[7:])


def test_causal_attention_equals_the_textbook_sum() -> None:
    q, k, v = torch.randn(3, 1, 2, 5, 4).unbind(0)
    seen = causal(1, 5).attend(0, q, k, v)
    for t in range(5):
        weights = torch.softmax(q[0, :, t, None] @ k[0, :, : t + 1].transpose(1, 2) / 2.0, dim=-1)
        torch.testing.assert_close(seen[0, :, t], (weights @ v[0, :, : t + 1])[:, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [1, 3, 4, 7, 8, 9, 16, 17, 40])
def test_a_window_is_the_textbook_sum_over_the_last_positions(window: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    q = torch.randn(2, 4, 17, 8, generator=generator).to(dtype)
    k, v = (torch.randn(2, 2, 17, 8, generator=generator).to(dtype) for _ in range(2))
    seen = causal(2, 17).attend(0, q, k, v, window=window)
    for t in range(17):
        last = slice(max(0, t + 1 - window), t + 1)
        keys, values = (x[:, :, last].repeat_interleave(2, dim=1).float() for x in (k, v))
        weights = torch.softmax(q[:, :, t, None].float() @ keys.mT / 8**0.5, dim=-1)
        expected = (weights @ values)[:, :, 0]
        tolerance = 1e-5 if dtype == torch.float32 else 3e-2
        torch.testing.assert_close(seen[:, :, t].float(), expected, atol=tolerance, rtol=tolerance)


def test_gradients_through_a_window_are_those_of_the_mask_written_out() -> None:
    q, k, v = (torch.randn(1, 2, 13, 4, requires_grad=True) for _ in range(3))
    away = torch.randn(1, 2, 13, 4)
    position = torch.arange(13)
    hidden = (position > position[:, None]) | (position <= position[:, None] - 3)
    scores = (q @ k.mT / 2).masked_fill(hidden, -torch.inf)
    expected = torch.autograd.grad((scores.softmax(-1) @ v * away).sum(), [q, k, v])
    found = torch.autograd.grad((causal(1, 13).attend(0, q, k, v, window=3) * away).sum(), [q, k, v])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=7))
def test_segments_equal_sequences_computed_alone(lengths: list[int]) -> None:
    sequences = [tokens(length, seed) for seed, length in enumerate(lengths)]
    with torch.no_grad():
        together = MODEL(torch.cat(sequences)[None], segments(lengths))[0]
    expected = torch.cat([alone(sequence) for sequence in sequences])
    torch.testing.assert_close(together, expected, atol=2e-5, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4))
def test_shared_prompts_equal_both_completions_computed_alone(triples: list[tuple[int, int, int]]) -> None:
    flat, expected = [], []
    for number, (p, c, r) in enumerate(triples):
        prompt, chosen, rejected = (tokens(n, 10 * number + i) for i, n in enumerate((p, c, r)))
        flat += [prompt, chosen, rejected]
        expected += [alone(torch.cat([prompt, chosen])), alone(torch.cat([prompt, rejected]))[p:]]
    with torch.no_grad():
        together = MODEL(torch.cat(flat)[None], shared_prompt(triples))[0]
    torch.testing.assert_close(together, torch.cat(expected), atol=2e-5, rtol=1e-4)


def test_gradients_of_a_shared_prompt_equal_those_of_two_sequences() -> None:
    prompt, chosen, rejected = tokens(9, 1), tokens(5, 2), tokens(7, 3)
    weights = torch.randn(9 + 5 + 7, CONFIG.d_model, generator=torch.Generator().manual_seed(4))
    together = MODEL(torch.cat([prompt, chosen, rejected])[None], shared_prompt([(9, 5, 7)]))[0]
    shared = torch.autograd.grad((together * weights).sum(), list(MODEL.parameters()), allow_unused=True)
    first = MODEL(torch.cat([prompt, chosen])[None], causal(1, 14))[0]
    second = MODEL(torch.cat([prompt, rejected])[None], causal(1, 16))[0][9:]
    apart = torch.autograd.grad(
        (torch.cat([first, second]) * weights).sum(), list(MODEL.parameters()), allow_unused=True
    )
    for ours, expected in zip(shared, apart, strict=True):
        if expected is not None and ours is not None:
            torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)


def test_an_empty_sequence_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        segments([3, 0])
    with pytest.raises(ValueError, match="at least 1"):
        shared_prompt([(3, 2, 0)])
