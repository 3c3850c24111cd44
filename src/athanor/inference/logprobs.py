"""Log-probabilities of given sequences, by the trainer's own forward pass.

Sequences are laid end to end, none sees another, nothing is padded; logits of a limited number of positions
exist at once. No gradients: a loss has its own forward pass.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from athanor.inference.sampling import log_probability_of
from athanor.model.attention import segments
from athanor.model.language_model import LanguageModel

# N tokens laid end to end, D model width

BATCH_TOKENS = 8192
LOGIT_TOKENS = 1024  # logits of this many positions exist at once: 32 MB at a vocabulary of 8192


@torch.no_grad()  # not inference mode: the results may enter a loss
def logprobs(
    model: LanguageModel, sequences: Sequence[Sequence[int]], *, batch_tokens: int = BATCH_TOKENS
) -> list[Tensor]:
    """For each sequence the log-probability of its tokens 1, 2, ... given those before: float32, one fewer than tokens.

    >>> [tuple(values.shape) for values in logprobs(model, [[1, 5, 9], [1]])]  # doctest: +SKIP
    [(2,), (0,)]
    """
    context_length = model.config.context_length
    for index, sequence in enumerate(sequences):
        if not 1 <= len(sequence) <= context_length:
            raise ValueError(f"sequence {index} has {len(sequence)} tokens; the model takes 1 to {context_length}")
    results: list[Tensor] = []
    for batch in _batches(sequences, batch_tokens):
        results.extend(_batch_logprobs(model, batch))
    return results


def _batches(sequences: Sequence[Sequence[int]], batch_tokens: int) -> list[list[Sequence[int]]]:
    batches: list[list[Sequence[int]]] = []
    room = 0
    for sequence in sequences:
        if not batches or len(sequence) > room:
            batches.append([])
            room = batch_tokens
        batches[-1].append(sequence)
        room -= len(sequence)
    return batches


def _batch_logprobs(model: LanguageModel, batch: Sequence[Sequence[int]]) -> list[Tensor]:
    device = next(model.parameters()).device
    lengths = [len(sequence) for sequence in batch]
    tokens_N = torch.tensor([token for sequence in batch for token in sequence], device=device)
    hidden_ND = model(tokens_N[None], segments(lengths, device=device))[0]
    next_N = tokens_N.roll(-1)  # at the last token of a sequence this is the next one's first: cut off below
    parts = zip(torch.split(hidden_ND, LOGIT_TOKENS), torch.split(next_N, LOGIT_TOKENS), strict=True)
    per_token_N = torch.cat([log_probability_of(model.logits(hidden), following) for hidden, following in parts])
    return [values[:-1] for values in torch.split(per_token_N, lengths)]
