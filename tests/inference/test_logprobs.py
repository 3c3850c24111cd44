"""Log-probabilities of sequences: those of each sequence alone."""

import dataclasses
import random

import pytest
import torch

from athanor.inference import logprobs as logprobs_module
from athanor.inference.logprobs import logprobs
from athanor.model import branches
from athanor.model.attention import causal
from athanor.model.config import LstmConfig
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer


def test_logprobs_equal_a_plain_softmax_of_each_sequence_alone(model, monkeypatch):
    monkeypatch.setattr(logprobs_module, "LOGIT_TOKENS", 7)  # smaller than a sequence
    sequences = [list(range(1, 30)), [5], [3, 4], list(range(40, 60))]
    for sequence, got in zip(sequences, logprobs(model, sequences, batch_tokens=31), strict=True):
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([sequence]), causal(1, len(sequence))))[0]
        expected = logits.log_softmax(-1)[:-1].gather(1, torch.tensor(sequence[1:], dtype=torch.int64)[:, None])[:, 0]
        assert got.shape == (len(sequence) - 1,)
        assert torch.allclose(got, expected, atol=1e-4)


def test_a_sequence_that_does_not_fit_is_refused_by_number(model):
    with pytest.raises(ValueError, match="sequence 1 has 201 tokens"):
        logprobs(model, [[1, 2], [1] * 201])


def tree(num_questions: int, header: int) -> list[list[int]]:
    """A header, questions after it, and three choices after each; then two sequences that have nothing in common."""
    draw = random.Random(3)

    def tokens(number: int) -> list[int]:
        return [draw.randrange(97) for _ in range(number)]

    begin = tokens(header)
    found = []
    for _ in range(num_questions):
        question = tokens(draw.randint(5, 40))
        found += [[*begin, *question, *tokens(draw.randint(1, 9))] for _ in range(3)]
    return [*found, tokens(7), tokens(33)]


@pytest.mark.parametrize(("window", "batch_tokens"), [(None, 8192), (None, 150), (9, 8192), (70, 8192)])
def test_a_common_beginning_is_computed_once_and_changes_nothing(model, window, batch_tokens, monkeypatch):
    monkeypatch.setattr(branches, "GATHERED", 256)  # a few branches at a time
    windowed = Transformer(dataclasses.replace(model.config, sliding_window=window)).eval()
    windowed.load_state_dict(model.state_dict())
    sequences = tree(num_questions=4, header=60)
    expected = [logprobs(windowed, [sequence])[0] for sequence in sequences]
    read = []
    windowed.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0].numel()))
    for got, alone in zip(logprobs(windowed, sequences, batch_tokens=batch_tokens), expected, strict=True):
        assert got.shape == alone.shape and torch.allclose(got, alone, atol=1e-4)
    if batch_tokens == 8192:
        different = {tuple(sequence[:end]) for sequence in sequences for end in range(1, len(sequence) + 1)}
        assert len(different) <= sum(read) <= len(different) + 3  # choices that begin alike by chance


def test_equal_sequences_and_beginnings_of_others_have_their_own_numbers(model):
    whole = list(range(1, 60))
    sequences = [whole, whole, whole[:40], whole, [*whole[:40], 3], whole[:17]]
    for got, sequence in zip(logprobs(model, sequences), sequences, strict=True):
        assert torch.allclose(got, logprobs(model, [sequence])[0], atol=1e-4)


def test_a_recurrent_model_reads_every_sequence_whole():
    lstm = Lstm(LstmConfig(vocab_size=97, context_length=200, num_layers=1, d_model=16)).eval()
    sequences = tree(num_questions=2, header=30)
    for got, sequence in zip(logprobs(lstm, sequences), sequences, strict=True):
        assert torch.allclose(got, logprobs(lstm, [sequence])[0], atol=1e-4)
