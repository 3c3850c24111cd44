"""One forward pass over many sequences without padding, and what post-training reads out of it.

In: a model and sequences as lists of tokens. Out: log-probabilities of completions, distributions, scores.
Sequences lie end to end in one row and none sees another; the two completions of a pair share the
computation of their prompt. Predictions, and all behind the last layer's attention, are computed only where something
is read.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from athanor.model.attention import segments, shared_prompt
from athanor.model.transformer import Transformer
from athanor.posttrain.messages import Pair
from athanor.train.loss import token_log_probabilities

# N places in a flat row or completion tokens end to end, D model width, P pairs, B sequences, T completion tokens


def device_of(model: Transformer) -> torch.device:
    """Where the model's weights are."""
    return model.embedding.weight.device


def hidden_states(
    model: Transformer, sequences: Sequence[Sequence[int]], places: Sequence[int] | None = None
) -> Tensor:
    """Hidden states [N, D] at N places of the sequences laid end to end; at all of them where none are named."""
    device = device_of(model)
    tokens_1N = torch.tensor([[token for sequence in sequences for token in sequence]], device=device)
    layout = segments([len(sequence) for sequence in sequences], device)
    read_N = None if places is None else torch.tensor(places, device=device)
    hidden_1ND: Tensor = model(tokens_1N, layout, read_N=read_N)
    return hidden_1ND[0]


def pair_hidden_states(model: Transformer, pairs: Sequence[Pair], places: Sequence[int]) -> Tensor:
    """Hidden states [N, D] at N places of prompt, chosen, rejected of each pair laid end to end."""
    device = device_of(model)
    tokens_1N = torch.tensor(
        [[token for pair in pairs for token in (*pair.prompt, *pair.chosen, *pair.rejected)]], device=device
    )
    lengths = [(len(pair.prompt), len(pair.chosen), len(pair.rejected)) for pair in pairs]
    read_N = torch.tensor(places, device=device)
    hidden_1ND: Tensor = model(tokens_1N, shared_prompt(lengths, device), read_N=read_N)
    return hidden_1ND[0]


def predicting_places(prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[int]:
    """Flat places whose hidden state predicts a completion token: the one before each."""
    places: list[int] = []
    start = 0
    for prompt, completion in zip(prompts, completions, strict=True):
        first = start + len(prompt) - 1
        places.extend(range(first, first + len(completion)))
        start += len(prompt) + len(completion)
    return places


def completion_hidden_states(
    model: Transformer, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
) -> Tensor:
    """Hidden states [N, D] that predict the tokens of the completions, one after another."""
    sequences = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
    return hidden_states(model, sequences, predicting_places(prompts, completions))


def log_probabilities(model: Transformer, hidden_ND: Tensor, completions: Sequence[Sequence[int]]) -> Tensor:
    """Log-probability [N] of every completion token, from the hidden states that predict them."""
    targets_N = torch.tensor([token for completion in completions for token in completion], device=hidden_ND.device)
    return token_log_probabilities(hidden_ND, model.head_weight, targets_N)


def pair_log_probabilities(model: Transformer, pairs: Sequence[Pair]) -> Tensor:
    """Log-probabilities [P, 2] of the chosen and the rejected completion, summed over their tokens."""
    places: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    start = 0
    for number, pair in enumerate(pairs):
        last_of_prompt, chosen_end = start + len(pair.prompt) - 1, start + len(pair.prompt) + len(pair.chosen)
        places += range(last_of_prompt, chosen_end - 1)
        places += [last_of_prompt, *range(chosen_end, chosen_end + len(pair.rejected) - 1)]
        targets += [*pair.chosen, *pair.rejected]
        owners += [2 * number] * len(pair.chosen) + [2 * number + 1] * len(pair.rejected)
        start += pair.num_tokens
    hidden_ND = pair_hidden_states(model, pairs, places)
    device = hidden_ND.device
    per_token_N = token_log_probabilities(hidden_ND, model.head_weight, torch.tensor(targets, device=device))
    summed = torch.zeros(2 * len(pairs), device=device).index_add(0, torch.tensor(owners, device=device), per_token_N)
    return summed.view(-1, 2)


def pair_scores(model: Transformer, score_1D: Tensor, pairs: Sequence[Pair]) -> Tensor:
    """Scores [P, 2] of the chosen and the rejected answer, each read at its last token."""
    last, start = [], 0
    for pair in pairs:
        chosen_end = start + len(pair.prompt) + len(pair.chosen)
        last += [chosen_end - 1, chosen_end + len(pair.rejected) - 1]
        start += pair.num_tokens
    hidden_ND = pair_hidden_states(model, pairs, last)
    return functional.linear(hidden_ND.float(), score_1D)[:, 0].view(-1, 2)


def scores(model: Transformer, score_1D: Tensor, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Score [B] of each sequence, read at its last token."""
    last = [end - 1 for end in accumulate(len(sequence) for sequence in sequences)]
    return functional.linear(hidden_states(model, sequences, last).float(), score_1D)[:, 0]


def padded(per_token_N: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Numbers per completion token as rows [B, T] with zeros after the end, and the mask of what is real."""
    device = per_token_N.device
    mask_BT = torch.arange(max(lengths), device=device)[None] < torch.tensor(lengths, device=device)[:, None]
    rows_BT = torch.zeros(mask_BT.shape, dtype=per_token_N.dtype, device=device)
    return rows_BT.masked_scatter(mask_BT, per_token_N), mask_BT
