"""Log-probabilities of given sequences, by the trainer's own forward pass.

Sequences are laid end to end, none sees another, nothing is padded; logits of a limited number of positions
exist at once. What a sequence has in common with the one before it at its beginning is computed once: the question of
several choices, the examples before several questions. No gradients: a loss has its own forward pass.
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile

import torch
from torch import Tensor

from athanor.inference.sampling import log_probability_of
from athanor.model.attention import segments
from athanor.model.branches import Branches
from athanor.model.language_model import LanguageModel
from athanor.model.transformer import Transformer

# N tokens laid end to end, S tokens whose next one is asked for, D model width

BATCH_TOKENS = 8192
LOGIT_TOKENS = 1024  # logits of this many positions exist at once: 32 MB at a vocabulary of 8192
FEWEST_SHARED, LEAST_SHARE = 16, 0.25  # of a sequence; to compute a shorter common beginning again costs less


@torch.no_grad()  # not inference mode: the results may enter a loss
def logprobs(
    model: LanguageModel, sequences: Sequence[Sequence[int]], *, batch_tokens: int = BATCH_TOKENS
) -> list[Tensor]:
    """For each sequence the log-probability of its tokens 1, 2, ... given those before: float32, one fewer than tokens.

    Put sequences that begin alike next to each other: of `batch_tokens` tokens, every common beginning is read once.

    >>> [tuple(values.shape) for values in logprobs(model, [[1, 5, 9], [1]])]  # doctest: +SKIP
    [(2,), (0,)]
    """
    context_length = model.config.context_length
    for index, sequence in enumerate(sequences):
        if not 1 <= len(sequence) <= context_length:
            raise ValueError(f"sequence {index} has {len(sequence)} tokens; the model takes 1 to {context_length}")
    results: list[Tensor] = []
    for batch, shared in _batches(sequences, batch_tokens, isinstance(model, Transformer)):
        results.extend(_batch_logprobs(model, batch, shared))
    return results


def _batches(
    sequences: Sequence[Sequence[int]], batch_tokens: int, shares: bool
) -> Iterator[tuple[list[Sequence[int]], list[int]]]:
    """Sequences to compute together, and of each how many tokens it begins with as the one before does."""
    batch: list[Sequence[int]] = []
    shared: list[int] = []
    room = batch_tokens
    for sequence in sequences:
        common = _num_common(batch[-1], sequence) if shares and batch else 0
        if batch and len(sequence) - common > room:
            yield batch, shared
            batch, shared, room, common = [], [], batch_tokens, 0
        batch.append(sequence)
        shared.append(common)
        room -= len(sequence) - common
    if batch:
        yield batch, shared


def _num_common(before: Sequence[int], sequence: Sequence[int]) -> int:
    """How many first tokens two sequences share, 0 for few; the last of `sequence` counts as its own.

    >>> _num_common(range(40), [*range(30), 99])
    30
    """
    longest = min(len(before), len(sequence) - 1)
    if list(before[:FEWEST_SHARED]) != list(sequence[:FEWEST_SHARED]):
        return 0
    common = sum(1 for _ in takewhile(lambda i: before[i] == sequence[i], range(longest)))
    return common if common >= max(FEWEST_SHARED, LEAST_SHARE * len(sequence)) else 0


def _batch_logprobs(model: LanguageModel, batch: Sequence[Sequence[int]], shared: Sequence[int]) -> list[Tensor]:
    device = next(model.parameters()).device
    lengths = [len(sequence) for sequence in batch]
    if not any(shared):
        tokens_N = torch.tensor([token for sequence in batch for token in sequence], device=device)
        hidden_ND = model(tokens_N[None], segments(lengths, device=device))[0]
        next_N = tokens_N.roll(-1)  # at the last token of a sequence this is the next one's first: cut off below
        per_token_N = _next_log_probabilities(model, hidden_ND, next_N)
        return [values[:-1] for values in torch.split(per_token_N, lengths)]
    tokens = [token for sequence, common in zip(batch, shared, strict=True) for token in sequence[common:]]
    layout = Branches(lengths, shared, device=device)
    hidden_ND = model(torch.tensor([tokens], device=device), layout)[0]
    # The first token of a branch is predicted at a place of the sequence before; what comes before it is known.
    asked = [place for row, common in zip(layout.places, shared, strict=True) for place in row[max(common - 1, 0) : -1]]
    following = [token for sequence, common in zip(batch, shared, strict=True) for token in sequence[max(common, 1) :]]
    per_token_S = _next_log_probabilities(
        model, hidden_ND[torch.tensor(asked, device=device)], torch.tensor(following, device=device)
    )
    counts = [length - max(common, 1) for length, common in zip(lengths, shared, strict=True)]
    results: list[Tensor] = []
    for own, common in zip(torch.split(per_token_S, counts), shared, strict=True):
        results.append(torch.cat([results[-1][: common - 1], own]) if common else own)
    return results


def _next_log_probabilities(model: LanguageModel, hidden_SD: Tensor, next_S: Tensor) -> Tensor:
    parts = zip(torch.split(hidden_SD, LOGIT_TOKENS), torch.split(next_S, LOGIT_TOKENS), strict=True)
    return torch.cat([log_probability_of(model.logits(hidden), following) for hidden, following in parts])
