"""Generation: equal to a model that reads everything anew for each token, whoever shares the batch."""

import dataclasses

import numpy as np
import pytest
import torch

from athanor.inference.config import Sampling
from athanor.inference.engine import Engine, generate
from athanor.inference.kv_cache import BLOCK
from athanor.inference.logprobs import logprobs
from athanor.inference.request import ContextOverflow, Request
from athanor.inference.sampling import RowSampling, draw, sampling_logits
from athanor.model.attention import causal
from athanor.model.config import Experts, LstmConfig, ModelConfig
from athanor.model.lstm import Lstm
from athanor.model.rope_scaling import YarnRope
from athanor.model.transformer import Transformer

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [12, 13], [1, 2, 3]]


def slow_generation(model, prompt, sampling, max_new_tokens, stop_ids, seed):
    """One sequence at a time, no cache: the whole text is read again for every token."""
    uniforms = np.random.default_rng(seed).random(max_new_tokens)
    tokens = list(prompt)
    options = RowSampling.of([sampling], model.config.vocab_size)
    for step in range(max_new_tokens):
        with torch.no_grad():
            hidden = model(torch.tensor([tokens]), causal(1, len(tokens)))
            logits = model.logits(hidden[:, -1])
        seen = torch.zeros(logits.shape, dtype=torch.bool)
        seen[0, tokens] = True
        drawn = draw(sampling_logits(logits, options, seen), torch.tensor([uniforms[step]], dtype=torch.float64))
        tokens.append(int(drawn))
        if tokens[-1] in stop_ids:
            break
    return tokens[len(prompt) :]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.0),
        Sampling(temperature=0.7, top_k=20, top_p=0.9),
        Sampling(min_p=0.05, repetition_penalty=1.2),
    ],
)
def test_every_completion_is_that_of_reading_everything_anew(model, sampling):
    results = generate(model, PROMPTS, sampling, max_new_tokens=90, stop_ids=[0, 7], seed=3)
    for index, (prompt, result) in enumerate(zip(PROMPTS, results, strict=True)):
        assert result.tokens == slow_generation(model, prompt, sampling, 90, {0, 7}, (3, index))
        assert result.finish_reason == ("stop" if result.tokens[-1] in (0, 7) else "length")


@pytest.mark.parametrize("max_rows", [1, 2, 3])
def test_a_completion_does_not_depend_on_who_shares_the_batch(model, max_rows):
    together = generate(model, PROMPTS, Sampling(), max_new_tokens=70, stop_ids=[0, 7], seed=1)
    apart = generate(model, PROMPTS, Sampling(), max_new_tokens=70, stop_ids=[0, 7], seed=1, max_rows=max_rows)
    assert [result.tokens for result in together] == [result.tokens for result in apart]


def test_a_longer_limit_continues_the_same_completion(model):
    short = generate(model, PROMPTS, Sampling(), max_new_tokens=5, stop_ids=[], seed=1)
    long = generate(model, PROMPTS, Sampling(), max_new_tokens=50, stop_ids=[], seed=1)
    assert [result.tokens for result in short] == [result.tokens[:5] for result in long]


def test_equal_prompts_draw_from_different_streams(model):
    results = generate(model, [[1, 2, 3]] * 4, Sampling(), max_new_tokens=20, stop_ids=[], seed=0)
    assert len({tuple(result.tokens) for result in results}) == 4


def test_log_probabilities_of_sampled_tokens_equal_the_forward_pass(model):
    sampling = Sampling(temperature=0.6, top_k=10)
    results = generate(model, PROMPTS, sampling, max_new_tokens=100, stop_ids=[7], seed=0)
    whole = [[*prompt, *result.tokens] for prompt, result in zip(PROMPTS, results, strict=True)]
    for prompt, result, expected in zip(PROMPTS, results, logprobs(model, whole), strict=True):
        got = torch.tensor(result.log_probabilities)
        assert (got - expected[len(prompt) - 1 :]).abs().max() < 1e-4
        assert all(drawn <= 1e-6 for drawn in result.sampling_log_probabilities)
        assert sum(result.sampling_log_probabilities) > sum(result.log_probabilities)  # sharper than the model


def test_under_the_models_own_distribution_both_log_probabilities_agree(model):
    (result,) = generate(model, [[1, 2]], Sampling(), max_new_tokens=30, stop_ids=[], seed=0)
    assert result.log_probabilities == result.sampling_log_probabilities


def test_alternatives_are_the_most_likely_tokens_best_first(model):
    (result,) = generate(model, [[1, 2]], Sampling(), max_new_tokens=3, stop_ids=[], seed=0, num_alternatives=4)
    tokens = [1, 2, *result.tokens]
    for place, alternatives in enumerate(result.alternatives):
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([tokens[: 2 + place]]), causal(1, 2 + place)))[0, -1]
        values, best = logits.log_softmax(-1).topk(4)
        assert [token for token, _ in alternatives] == best.tolist()
        assert [value for _, value in alternatives] == pytest.approx(values.tolist(), abs=1e-4)


def test_the_context_is_filled_to_its_last_token_and_not_beyond(model):
    context_length = model.config.context_length
    (result,) = generate(model, [[1] * (context_length - 3)], Sampling(), max_new_tokens=50, stop_ids=[], seed=0)
    assert len(result.tokens) == 3 and result.finish_reason == "length"
    with pytest.raises(ContextOverflow, match=f"{context_length} tokens"):
        generate(model, [[1] * context_length], Sampling(), max_new_tokens=1, stop_ids=[], seed=0)
    with pytest.raises(ValueError, match="no tokens"):
        generate(model, [[]], Sampling(), max_new_tokens=1, stop_ids=[], seed=0)


def test_the_callback_sees_every_token_in_order_and_can_end_a_completion(model):
    seen: dict[int, list[int]] = {}

    def on_token(index, sampled):
        seen.setdefault(index, []).append(sampled.token)
        return index == 1 and len(seen[1]) == 4

    results = generate(model, PROMPTS, Sampling(), max_new_tokens=20, stop_ids=[7], seed=0, on_token=on_token)
    assert [seen[index] for index in range(len(PROMPTS))] == [result.tokens for result in results]
    assert len(results[1].tokens) == 4 and results[1].finish_reason == "stop"


def test_requests_join_and_leave_a_running_batch_undisturbed(model):
    def request(prompt, seed):
        return Request(prompt, Sampling(temperature=0.8), 60, frozenset(), (seed,))

    alone = [generate_one(model, request(prompt, seed)) for seed, prompt in enumerate([[1, 2], [3], [4, 5, 6]])]
    engine = Engine(model, max_rows=3)
    finished = {}
    first = engine.add(request([1, 2], 0))
    for _ in range(10):
        finished |= engine.step()
    left = engine.add(request([9, 9, 9, 9], 9))
    second = engine.add(request([3], 1))
    for _ in range(10):
        finished |= engine.step()
    engine.cancel(left)
    third = engine.add(request([4, 5, 6], 2))
    while engine.busy:
        finished |= engine.step()
    assert [finished[ticket].tokens for ticket in (first, second, third)] == alone
    assert left not in finished


def generate_one(model, request):
    engine = Engine(model)
    ticket = engine.add(request)
    finished = {}
    while engine.busy:
        finished |= engine.step()
    return finished[ticket].tokens


def test_bfloat16_weights_generate_too_close_to_float32(model):
    half = Transformer(model.config)
    half.load_state_dict(model.state_dict())
    half = half.to(torch.bfloat16)
    half.compute_dtype = torch.bfloat16
    (result,) = generate(half, [[1, 2, 3]], Sampling(), max_new_tokens=60, stop_ids=[], seed=0)
    (expected,) = logprobs(half, [[1, 2, 3, *result.tokens]])
    assert (torch.tensor(result.log_probabilities) - expected[2:]).abs().max() < 0.5  # bfloat16 keeps 8 bits


def test_an_lstm_generates_as_if_it_read_everything_anew():
    recurrent = Lstm(LstmConfig(vocab_size=50, context_length=128, num_layers=2, d_model=16), seed=5).eval()
    for max_rows in (2, 8):
        results = generate(
            recurrent, PROMPTS, Sampling(), max_new_tokens=30, stop_ids=[0, 7], seed=3, max_rows=max_rows
        )
        for index, (prompt, result) in enumerate(zip(PROMPTS, results, strict=True)):
            assert result.tokens == slow_generation(recurrent, prompt, Sampling(), 30, {0, 7}, (3, index))


@pytest.mark.parametrize("window", [1, 9, 70])
def test_a_sliding_window_forgets_old_keys_and_changes_nothing(model, window):
    windowed = Transformer(dataclasses.replace(model.config, sliding_window=window)).eval()
    windowed.load_state_dict(model.state_dict())
    engine = Engine(windowed, max_rows=4)
    prompts = [[1, 2, 3], [4] * 20, [5, 6, 7]]
    for index, prompt in enumerate(prompts):
        engine.add(Request(prompt, Sampling(), 170 - 10 * index, frozenset(), (index,)))
    finished = {}
    while engine.busy:
        finished |= engine.step()
    assert engine._cache.held_2LBCGK.shape[2] <= -(-(window + BLOCK + 1) // BLOCK) * BLOCK
    whole = [[*prompt, *finished[index].tokens] for index, prompt in enumerate(prompts)]
    for index, expected in enumerate(logprobs(windowed, whole)):
        got = torch.tensor(finished[index].log_probabilities)
        assert (got - expected[len(prompts[index]) - 1 :]).abs().max() < 1e-4


def test_windows_mixtures_and_stretched_positions_generate_as_if_everything_were_read_anew():
    config = ModelConfig(
        vocab_size=50, context_length=64, num_layers=2, d_model=16, d_ff=8, num_heads=2, num_kv_heads=1, head_width=8,
        sliding_window=5, window_layers=(1,), experts=Experts(num_experts=4, experts_per_token=2, d_ff=12),
        rope_scaling=YarnRope(kind="yarn", factor=2.0, original_context_length=32),
    )  # fmt: skip
    special = Transformer(config).eval()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in special.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    results = generate(special, PROMPTS, Sampling(), max_new_tokens=30, stop_ids=[0, 7], seed=3, max_rows=3)
    for index, (prompt, result) in enumerate(zip(PROMPTS, results, strict=True)):
        assert result.tokens == slow_generation(special, prompt, Sampling(), 30, {0, 7}, (3, index))
