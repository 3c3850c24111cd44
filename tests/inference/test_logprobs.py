"""Log-probabilities of sequences: those of each sequence alone."""

import pytest
import torch

from athanor.inference import logprobs as logprobs_module
from athanor.inference.logprobs import logprobs
from athanor.model.attention import causal


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
