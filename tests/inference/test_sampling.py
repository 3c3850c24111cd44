"""Sampling: equal to independent implementations, and each row on its own."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers.generation import logits_process as hf

from athanor.inference.config import Sampling
from athanor.inference.sampling import RowSampling, draw, log_probability_of, sampling_logits

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
