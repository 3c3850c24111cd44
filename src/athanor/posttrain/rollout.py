"""Answers sampled from the policy, and what PPO needs to know about each of their tokens.

In: a policy and prompts. Out: episodes, their scores, and per token the log-probability under policy and
reference, the value and the entropy. Sampling is at temperature 1 with nothing truncated, so that the
sampled distribution is the trained one; log-probabilities are computed again in the trainer's own forward
pass, and the largest difference to the sampler's is kept as a number to watch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from athanor.inference.config import Sampling
from athanor.inference.engine import generate
from athanor.inference.text import end_ids
from athanor.model.transformer import Transformer
from athanor.posttrain.flat import (
    completion_hidden_states,
    completion_scores,
    log_probabilities,
    padded,
    same_prompt_runs,
)
from athanor.posttrain.kl import entropy, exact_kl
from athanor.posttrain.messages import micro_batches
from athanor.tokenizer.tokenizer import Tokenizer

# B episodes, T completion tokens padded on the right, N completion tokens end to end, D model width

LOGIT_ROWS = 256  # distributions over the vocabulary that exist at once: few enough to stay in the cache


@dataclass(frozen=True)
class Episode:
    """One sampled answer."""

    prompt: list[int]
    completion: list[int]
    """With the token that ended it, if one did."""
    ended: bool
    sampled_log_probabilities: list[float]

    @property
    def num_tokens(self) -> int:
        """Tokens of one forward pass."""
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True)
class TokenNumbers:
    """What is known about every completion token of some episodes when they are sampled."""

    log_probabilities_BT: Tensor
    reference_BT: Tensor
    values_BT: Tensor
    mask_BT: Tensor
    value_mask_BT: Tensor
    """Where there is a value: as `mask_BT`, or one place further where the state after the last token has one too."""
    exact_kl_BT: Tensor | None
    """KL of the whole distributions, where it was asked for."""
    entropy: float
    """Mean over the tokens, nats."""
    sampler_gap: float | None
    """Largest difference between the sampler's and the trainer's log-probability of a token; None: not compared."""


class Critic(nn.Module):
    """Predicts the return after each token: a linear head on the policy's trunk, or on one of its own."""

    def __init__(self, width: int, trunk: Transformer | None, device: torch.device) -> None:
        super().__init__()
        self.trunk = trunk
        if trunk is not None and trunk.head is not None:
            trunk.head.requires_grad_(False)  # it predicts no tokens
        self.head = nn.Linear(width, 1, bias=False, device=device)
        nn.init.zeros_(self.head.weight)  # a value of 0 everywhere is the mean of normalised scores

    def forward(self, episodes: Sequence[Episode], policy_hidden_ND: Tensor | None, after_last: bool = False) -> Tensor:
        """Values [N] at the states of `states_of`, from the policy's or from those of a trunk of its own."""
        hidden_ND = policy_hidden_ND
        if self.trunk is not None:
            hidden_ND = states_of(self.trunk, episodes, after_last)
        assert hidden_ND is not None, "a head on the policy's trunk needs its states"
        values_N: Tensor = self.head(hidden_ND.float())[:, 0]
        return values_N


def states_of(model: Transformer, episodes: Sequence[Episode], after_last: bool = False) -> Tensor:
    """Hidden states [N, D] from which the completion tokens were drawn; `after_last` adds the one after each answer."""
    return completion_hidden_states(model, [e.prompt for e in episodes], completions(episodes), after_last)


def in_passes(episodes: Sequence[Episode], most_tokens: int) -> Iterator[list[Episode]]:
    """`episodes` in order, in parts for a forward pass each; answers to one prompt stay together where they fit."""
    groups = prompt_groups(episodes, range(len(episodes)), most_tokens)
    sizes = [num_tokens_together([episodes[i] for i in group]) for group in groups]
    for part in micro_batches(groups, sizes, most_tokens):
        yield [episodes[i] for group in part for i in group]


def prompt_groups(episodes: Sequence[Episode], places: Iterable[int], most_tokens: int) -> list[list[int]]:
    """`places` of episodes, those next to each other with the same prompt together: at most `most_tokens` a group."""
    places = list(places)
    groups: list[list[int]] = []
    for run in same_prompt_runs([episodes[place].prompt for place in places]):
        some = [places[i] for i in run]
        shared = len(episodes[some[0]].prompt)
        answers = [len(episodes[place].completion) for place in some]
        groups += micro_batches(some, answers, max(1, most_tokens - shared))
    return groups


def num_tokens_together(episodes: Sequence[Episode]) -> int:
    """Tokens of one forward pass over answers to the same prompt."""
    return len(episodes[0].prompt) + sum(len(episode.completion) for episode in episodes)


def without_last(states_ND: Tensor, episodes: Sequence[Episode]) -> Tensor:
    """The states that predict a token, of those with one more after each answer."""
    kept: list[int] = []
    start = 0
    for episode in episodes:
        kept.extend(range(start, start + len(episode.completion)))
        start += len(episode.completion) + 1
    return states_ND[torch.tensor(kept, device=states_ND.device)]


def widened(rows_BT: Tensor, width: int) -> Tensor:
    """`rows_BT` cut or filled with zeros to `width` columns."""
    return functional.pad(rows_BT, (0, width - rows_BT.shape[1]))


def sample_episodes(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    max_new_tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> list[Episode]:
    """One answer to each prompt, drawn from the model's own distribution unless the temperature is another than 1."""
    made = generate(model, prompts, Sampling(temperature=temperature), max_new_tokens, end_ids(tokenizer), seed)
    return [
        Episode(prompt, g.tokens, g.finish_reason == "stop", g.log_probabilities)
        for prompt, g in zip(prompts, made, strict=True)
    ]


def completions(episodes: Sequence[Episode]) -> list[list[int]]:
    """The completions of `episodes`."""
    return [episode.completion for episode in episodes]


def text_of(tokenizer: Tokenizer, episode: Episode) -> str:
    """The answer as text, without the token that ended it."""
    return tokenizer.decode(episode.completion[:-1] if episode.ended else episode.completion).strip()


def exact_kl_of_states(policy: Transformer, own_ND: Tensor, reference: Transformer, reference_ND: Tensor) -> Tensor:
    """KL [N] of the policy's whole distribution to the reference's at every state."""
    chunks = zip(torch.split(own_ND, LOGIT_ROWS), torch.split(reference_ND, LOGIT_ROWS), strict=True)
    return torch.cat([exact_kl(policy.logits(rows_ND), reference.logits(other_ND)) for rows_ND, other_ND in chunks])


@torch.no_grad()
def scores_of(
    reward_model: tuple[Transformer, Tensor], tokenizer: Tokenizer, episodes: Sequence[Episode], most_tokens: int
) -> Tensor:
    """Score [B] of each answer, on the processor; raises ValueError for one that is not a finite number.

    The reward model has only seen finished turns, so every answer is read with an end of turn, also one
    that did not end by itself; what that costs is another matter (missing_end_penalty).
    """
    trunk, score_1D = reward_model
    end = tokenizer.end_of_turn_id
    finished = [
        replace(e, completion=[*(e.completion[:-1] if e.ended else e.completion), end], ended=True) for e in episodes
    ]
    found_B = torch.cat(
        [
            completion_scores(trunk, score_1D, [e.prompt for e in part], completions(part))
            for part in in_passes(finished, most_tokens)
        ]
    ).cpu()
    if not found_B.isfinite().all():
        first = int((~found_B.isfinite()).nonzero()[0])
        raise ValueError(
            f"the reward model gives {found_B[first]} to {text_of(tokenizer, episodes[first])[:80]!r}, not a "
            "finite number; training on it would destroy the policy"
        )
    return found_B


@torch.no_grad()
def token_numbers(
    policy: Transformer,
    reference: Transformer,
    critic: Critic | None,
    episodes: Sequence[Episode],
    most_tokens: int,
    *,
    width: int | None = None,
    value_after_last: bool = False,
    whole_distributions: bool = False,
    from_sampler: bool = False,
) -> TokenNumbers:
    """The numbers of every completion token, from the trainer's own forward passes; without a critic values are 0.

    `width` is the number of columns (None: the longest answer's tokens); `whole_distributions` asks for the exact KL.
    `from_sampler` takes the policy's log-probabilities from the episodes, which saves its pass where nothing else needs
    it; the entropy is then estimated from them.
    """
    if from_sampler and not whole_distributions:
        return _with_sampled(policy, reference, critic, episodes, most_tokens, width, value_after_last)
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    total_entropy = 0.0
    for part in in_passes(episodes, most_tokens):
        answers = completions(part)
        states_ND = states_of(policy, part, value_after_last)
        hidden_ND = without_last(states_ND, part) if value_after_last else states_ND
        reference_ND = states_of(reference, part)
        targets_N = torch.tensor([token for answer in answers for token in answer], device=hidden_ND.device)
        own: list[Tensor] = []
        kl: list[Tensor] = []
        for rows_ND, reference_rows_ND, rows_N in zip(
            *(torch.split(whole, LOGIT_ROWS) for whole in (hidden_ND, reference_ND, targets_N)), strict=True
        ):
            logits_NV = policy.logits(rows_ND)  # once for all that is read from a distribution
            own.append(logits_NV.gather(1, rows_N[:, None])[:, 0] - logits_NV.logsumexp(-1))
            total_entropy += float(entropy(logits_NV).sum())
            if whole_distributions:
                kl.append(exact_kl(logits_NV, reference.logits(reference_rows_ND)))
        own_N = torch.cat(own)
        values_N = critic(part, states_ND, value_after_last) if critic else torch.zeros_like(own_N)
        kl_N = torch.cat(kl) if kl else torch.zeros_like(own_N)
        found.append((own_N, log_probabilities(reference, reference_ND, answers), values_N, kl_N))
    own_N, reference_N, values_N, kl_N = (torch.cat(column) for column in zip(*found, strict=True))
    sampled_N = torch.tensor([p for e in episodes for p in e.sampled_log_probabilities], device=own_N.device)
    return _in_rows(
        episodes,
        own_N,
        reference_N,
        values_N,
        kl_N if whole_distributions else None,
        width=width,
        value_after_last=value_after_last and critic is not None,
        entropy=total_entropy / len(own_N),
        sampler_gap=float((own_N - sampled_N).abs().max()),
    )


def _with_sampled(
    policy: Transformer,
    reference: Transformer,
    critic: Critic | None,
    episodes: Sequence[Episode],
    most_tokens: int,
    width: int | None,
    value_after_last: bool,
) -> TokenNumbers:
    """The numbers with the sampler's log-probabilities as the policy's."""
    found: list[tuple[Tensor, Tensor]] = []
    for part in in_passes(episodes, most_tokens):
        reference_N = log_probabilities(reference, states_of(reference, part), completions(part))
        values_N = torch.zeros_like(reference_N)
        if critic is not None:
            states_ND = states_of(policy, part, value_after_last) if critic.trunk is None else None
            values_N = critic(part, states_ND, value_after_last)
        found.append((reference_N, values_N))
    reference_N, values_N = (torch.cat(column) for column in zip(*found, strict=True))
    own_N = torch.tensor([p for e in episodes for p in e.sampled_log_probabilities], device=reference_N.device)
    return _in_rows(
        episodes,
        own_N,
        reference_N,
        values_N,
        None,
        width=width,
        value_after_last=value_after_last and critic is not None,
        entropy=-float(own_N.mean()),
        sampler_gap=None,
    )


def _in_rows(
    episodes: Sequence[Episode],
    own_N: Tensor,
    reference_N: Tensor,
    values_N: Tensor,
    kl_N: Tensor | None,
    *,
    width: int | None,
    value_after_last: bool,
    entropy: float,
    sampler_gap: float | None,
) -> TokenNumbers:
    """Numbers per completion token, end to end, as rows of episodes."""
    lengths = [len(episode.completion) for episode in episodes]
    columns = max(lengths) if width is None else width
    own_BT, mask_BT = padded(own_N, lengths)
    values_BT, value_mask_BT = padded(values_N, [length + 1 for length in lengths] if value_after_last else lengths)
    return TokenNumbers(
        log_probabilities_BT=widened(own_BT, columns),
        reference_BT=widened(padded(reference_N, lengths)[0], columns),
        values_BT=widened(values_BT, columns),
        mask_BT=widened(mask_BT, columns),
        value_mask_BT=widened(value_mask_BT, columns),
        exact_kl_BT=None if kl_N is None else widened(padded(kl_N, lengths)[0], columns),
        entropy=entropy,
        sampler_gap=sampler_gap,
    )
