"""One forward pass over many sequences without padding, and what post-training reads out of it.

In: a model and sequences as lists of tokens. Out: log-probabilities of completions, distributions, scores.
Sequences lie end to end in one row and none sees another; the two completions of a pair, and answers to the same
prompt that follow one another, share the computation of their prompt. Predictions, and all behind the last layer's
attention, are computed only where something is read.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

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
    tokens = [token for pair in pairs for token in (*pair.prompt, *pair.chosen, *pair.rejected)]
    return _read(model, tokens, [(len(pair.prompt), len(pair.chosen), len(pair.rejected)) for pair in pairs], places)


def same_prompt_runs(prompts: Sequence[Sequence[int]]) -> list[range]:
    """The places of prompts that follow one another and are equal.

    >>> same_prompt_runs([[1], [1], [2], [1]])
    [range(0, 2), range(2, 3), range(3, 4)]
    """
    starts = [place for place in range(len(prompts)) if not place or prompts[place] != prompts[place - 1]]
    return [range(start, end) for start, end in pairwise([*starts, len(prompts)])]


def completion_hidden_states(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    after_last: bool = False,
) -> Tensor:
    """Hidden states [N, D] that predict the tokens of the completions, one after another.

    Prompts that follow one another and are equal are computed once. `after_last` adds the state after each completion.
    """
    places: list[int] = []
    # the last token predicts nothing that is asked for, unless the state after it is
    seen = completions if after_last else [completion[:-1] for completion in completions]
    tokens, groups, spans = _end_to_end(prompts, seen)
    for last_of_prompt, span in spans:
        places += [last_of_prompt, *span]
    return _read(model, tokens, groups, places)


def completion_scores(
    model: Transformer,
    score_1D: Tensor,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
) -> Tensor:
    """Score [B] of each completion, read at its last token; equal prompts that follow one another are computed once."""
    tokens, groups, spans = _end_to_end(prompts, completions)
    hidden_ND = _read(model, tokens, groups, [span[-1] for _, span in spans])
    return functional.linear(hidden_ND.float(), score_1D)[:, 0]


def _end_to_end(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]], list[tuple[int, range]]]:
    """The tokens, lengths for `shared_prompt`, and the place of each prompt's end with those of its completion."""
    tokens: list[int] = []
    groups: list[list[int]] = []
    spans: list[tuple[int, range]] = []
    for run in same_prompt_runs(prompts):
        tokens += prompts[run[0]]
        last_of_prompt = len(tokens) - 1
        for completion in completions[run.start : run.stop]:
            spans.append((last_of_prompt, range(len(tokens), len(tokens) + len(completion))))
            tokens += completion
        groups.append([len(prompts[run[0]]), *(len(span) for _, span in spans[run.start :] if len(span))])
    return tokens, groups, spans


def _read(model: Transformer, tokens: Sequence[int], groups: Sequence[Sequence[int]], places: Sequence[int]) -> Tensor:
    """Hidden states [N, D] at N places of prompts with their completions laid end to end."""
    device = device_of(model)
    read_N = torch.tensor(places, device=device)
    hidden_1ND: Tensor = model(torch.tensor([tokens], device=device), shared_prompt(groups, device), read_N=read_N)
    return hidden_1ND[0]


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
