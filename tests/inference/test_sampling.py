"""Sampling: equal to independent implementations, and each row on its own."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers.generation import logits_process as hf

from athanor.inference.config import Sampling
from athanor.inference.sampling import RowSampling, _candidates, draw, log_probability_of, next_tokens, sampling_logits

VOCAB_SIZE = 300


def random_logits(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, VOCAB_SIZE, generator=torch.Generator().manual_seed(seed)) * 3


def peer_logits(logits_BV: torch.Tensor, sampling: Sampling, prompt_BT: torch.Tensor) -> torch.Tensor:
    """What transformers' own processors make of the logits, in its order."""
    if sampling.repetition_penalty != 1:
        logits_BV = hf.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)(prompt_BT, logits_BV)
    logits_BV = hf.TemperatureLogitsWarper(sampling.temperature)(prompt_BT, logits_BV)
    if sampling.top_k is not None:
        logits_BV = hf.TopKLogitsWarper(min(sampling.top_k, VOCAB_SIZE))(prompt_BT, logits_BV)
    if sampling.top_p < 1:
        logits_BV = hf.TopPLogitsWarper(sampling.top_p)(prompt_BT, logits_BV)
    if sampling.min_p > 0:
        logits_BV = hf.MinPLogitsWarper(sampling.min_p)(prompt_BT, logits_BV)
    return logits_BV


def nucleus_hangs_by_a_thread(logits_BV, sampling, prompt_BT):
    """Whether the sum of the likeliest tokens meets top_p so closely that the order of adding decides."""
    without = Sampling(
        temperature=sampling.temperature, top_k=sampling.top_k, repetition_penalty=sampling.repetition_penalty
    )
    probabilities_V = peer_logits(logits_BV, without, prompt_BT)[0].double().softmax(-1)
    sums_V = probabilities_V.sort(descending=True).values.cumsum(0)
    return sampling.top_p < 1 and bool(((sums_V - sampling.top_p).abs() < 1e-5).any())


samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.3, 0.8, 1.0, 2.5]),
    top_k=st.sampled_from([None, 1, 5, 100, VOCAB_SIZE, 10_000]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    repetition_penalty=st.sampled_from([0.7, 1.0, 1.3]),
)


@settings(max_examples=60, deadline=None)
@example([Sampling(temperature=2.5, top_p=0.999, repetition_penalty=1.3), Sampling(temperature=0.3, top_p=0.05)], 175)
@given(st.lists(samplings, min_size=1, max_size=5), st.integers(0, 1000))
def test_the_distribution_is_that_of_transformers_for_rows_with_different_options(rows, seed):
    logits_BV = random_logits(len(rows), seed)
    prompt_BT = torch.randint(VOCAB_SIZE, (len(rows), 12), generator=torch.Generator().manual_seed(seed))
    seen_BV = torch.zeros(len(rows), VOCAB_SIZE, dtype=torch.bool).scatter_(1, prompt_BT, True)
    ours = sampling_logits(logits_BV, RowSampling.of(rows, VOCAB_SIZE), seen_BV).softmax(-1)
    for index, row in enumerate(rows):
        if nucleus_hangs_by_a_thread(logits_BV[index : index + 1], row, prompt_BT[index : index + 1]):
            continue
        peer = peer_logits(logits_BV[index : index + 1], row, prompt_BT[index : index + 1]).softmax(-1)
        assert torch.allclose(ours[index], peer[0], atol=1e-6), row


def test_temperature_zero_takes_the_most_likely_token_and_the_first_of_equals():
    logits_BV = torch.tensor([[0.0, 3.0, 1.0, 3.0], [0.0, 3.0, 9.0, 3.0]])
    rows = RowSampling.of([Sampling(temperature=0), Sampling(temperature=0)], 4)
    for uniform in (0.0, 0.5, 1 - 2**-53):
        drawn = draw(sampling_logits(logits_BV, rows), torch.full((2,), uniform, dtype=torch.float64))
        assert drawn.tolist() == [1, 2]


def test_drawing_at_evenly_spaced_uniforms_gives_the_probabilities():
    logits_V = random_logits(1)[0, :20]
    uniform_B = (torch.arange(50_000, dtype=torch.float64) + 0.5) / 50_000
    tokens_B = draw(logits_V.expand(50_000, 20), uniform_B)
    shares = torch.bincount(tokens_B, minlength=20) / 50_000
    assert torch.allclose(shares, logits_V.softmax(-1), atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(samplings | st.builds(Sampling, temperature=st.just(0.0)), min_size=1, max_size=6),
    st.integers(0, 1000),
    st.sampled_from([VOCAB_SIZE, 2048, 4097]),
    st.booleans(),
)
def test_next_tokens_are_those_of_drawing_from_the_whole_distribution(rows, seed, vocab_size, coarse):
    generator = torch.Generator().manual_seed(seed)
    logits_BV = torch.randn(len(rows), vocab_size, generator=generator) * 3
    if coarse:
        logits_BV = logits_BV.to(torch.bfloat16).float()  # many ties
    seen_BV = torch.rand(len(rows), vocab_size, generator=generator) < 0.1
    uniform_B = torch.rand(len(rows), generator=generator, dtype=torch.float64)
    options = RowSampling.of(rows, vocab_size)
    drawn = next_tokens(logits_BV, options, uniform_B, seen_BV)
    expected_BV = sampling_logits(logits_BV, options, seen_BV)
    assert drawn.tokens_B.tolist() == draw(expected_BV, uniform_B).tolist()
    assert torch.allclose(drawn.log_probability_B, log_probability_of(logits_BV, drawn.tokens_B), atol=1e-5)
    assert torch.allclose(drawn.sampling_log_probability_B, log_probability_of(expected_BV, drawn.tokens_B), atol=1e-5)


@pytest.mark.parametrize("vocab_size", [8192, 8195])
def test_candidates_hold_every_token_that_top_k_leaves(vocab_size):
    logits_BV = torch.randn(8, vocab_size, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16).float()
    options = RowSampling.of([Sampling(top_k=k) for k in (1, 2, 5, 20, 50, 50, 49, 7)], vocab_size)
    found = _candidates(logits_BV, options)
    assert found is not None and found[0].shape[1] < vocab_size / 4
    tokens_BC, values_BC = found
    assert torch.equal(values_BC, logits_BV.gather(1, tokens_BC))
    for row in range(8):
        kept = sampling_logits(logits_BV, options)[row].isfinite().nonzero()[:, 0].tolist()
        assert set(kept) <= set(tokens_BC[row].tolist())


def test_too_many_ties_at_the_edge_of_top_k_are_all_kept():
    logits_BV = torch.zeros(1, 8192)
    logits_BV[0, 100:110] = 1.0
    logits_BV = logits_BV.repeat(4, 1)
    options = RowSampling.of([Sampling(top_k=20)] * 4, 8192)
    assert _candidates(logits_BV, options) is None
    assert int(sampling_logits(logits_BV, options).isfinite().sum()) == 4 * 8192


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.7, top_k=12),
        Sampling(top_p=0.8),
        Sampling(temperature=1.5, min_p=0.1),
        Sampling(top_k=40, top_p=0.9, repetition_penalty=1.3),
    ],
)
def test_frequencies_follow_the_law(sampling):
    """Pearson's chi-square of 20,000 draws with a fixed seed, against probabilities by the definitions."""
    vocab_size, num_draws = 1500, 20_000
    logits_V = torch.randn(vocab_size, generator=torch.Generator().manual_seed(3)) * 2
    seen_V = torch.zeros(vocab_size, dtype=torch.bool)
    seen_V[logits_V.topk(5).indices] = True
    law_V = slow_law(logits_V, sampling, seen_V)
    uniform_B = torch.from_numpy(np.random.default_rng(8).random(num_draws))
    counts_V = torch.zeros(vocab_size, dtype=torch.float64)
    for part_B in uniform_B.split(2000):
        options = RowSampling.of([sampling] * len(part_B), vocab_size)
        drawn = next_tokens(logits_V.expand(len(part_B), -1), options, part_B, seen_V.expand(len(part_B), -1))
        counts_V += torch.bincount(drawn.tokens_B, minlength=vocab_size)
    assert counts_V[law_V == 0].sum() == 0
    expected_V = law_V * num_draws
    common_V = expected_V >= 5  # the rest together is one class
    expected = torch.cat([expected_V[common_V], expected_V[~common_V].sum()[None]])
    counts = torch.cat([counts_V[common_V], counts_V[~common_V].sum()[None]])
    inside = expected > 0
    chi_square = float(((counts - expected) ** 2 / expected)[inside].sum())
    freedom = int(inside.sum()) - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5  # four standard deviations


def slow_law(logits_V, sampling, seen_V):
    """The probabilities, token by token, as the papers define them."""
    logits = [float(value) for value in logits_V]
    for token, seen in enumerate(seen_V.tolist()):
        if seen:
            factor = sampling.repetition_penalty
            logits[token] = logits[token] / factor if logits[token] > 0 else logits[token] * factor
    logits = [value / sampling.temperature for value in logits]
    order = sorted(range(len(logits)), key=lambda token: -logits[token])
    order = order[: sampling.top_k]
    weight = {token: math.exp(logits[token]) for token in order}
    total, nucleus, mass = sum(weight.values()), [], 0.0
    for token in order:
        nucleus.append(token)
        mass += weight[token] / total
        if mass >= sampling.top_p:
            break
    kept = [token for token in nucleus if weight[token] >= sampling.min_p * weight[order[0]]]
    law_V = torch.zeros(len(logits), dtype=torch.float64)
    for token in kept:
        law_V[token] = weight[token] / sum(weight[other] for other in kept)
    return law_V


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_a_token_without_probability_is_never_drawn(uniform):
    logits_BV = torch.tensor([[-torch.inf, 1.0, 2.0, -torch.inf]])
    assert draw(logits_BV, torch.tensor([uniform], dtype=torch.float64)).item() in (1, 2)


def test_a_wide_nucleus_beyond_the_first_candidates_is_complete():
    logits_BV = torch.zeros(1, 5000) + torch.linspace(0, 0.1, 5000)  # nearly flat: the nucleus holds thousands
    kept = sampling_logits(logits_BV, RowSampling.of([Sampling(top_p=0.9)], 5000)).isfinite().sum().item()
    assert kept == pytest.approx(4477, abs=3)  # where (e^0.1 - e^x) / (e^0.1 - 1) reaches 0.9


def test_log_probabilities_are_those_of_the_softmax():
    logits_BV = random_logits(3)
    tokens_B = torch.tensor([5, 0, 299])
    expected = logits_BV.log_softmax(-1).gather(1, tokens_B[:, None])[:, 0]
    assert torch.allclose(log_probability_of(logits_BV, tokens_B), expected, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"repetition_penalty": 0.0},
    ],
)
def test_an_option_out_of_range_is_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Sampling(**options)
