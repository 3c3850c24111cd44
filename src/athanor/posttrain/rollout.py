"""Answers sampled from the policy, and what PPO needs to know about each of their tokens.

In: a policy and prompts. Out: episodes, their scores, and per token the log-probability under policy and
reference, the value and the entropy. Sampling is at temperature 1 with nothing truncated, so that the
sampled distribution is the trained one; log-probabilities are computed again in the trainer's own forward
pass, and the largest difference to the sampler's is kept as a number to watch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from athanor.inference.config import Sampling
from athanor.inference.engine import generate
from athanor.inference.text import end_ids
from athanor.model.transformer import Transformer
from athanor.posttrain.flat import completion_hidden_states, log_probabilities, padded, scores
from athanor.posttrain.kl import entropy
from athanor.posttrain.messages import micro_batches
from athanor.tokenizer.tokenizer import Tokenizer

# B episodes, T completion tokens padded on the right, N completion tokens end to end, D model width

LOGIT_ROWS = 1024  # distributions over the vocabulary that exist at once


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
    entropy: float
    """Mean over the tokens, nats."""
    sampler_gap: float
    """Largest difference between the sampler's and the trainer's log-probability of a token."""


class Critic(nn.Module):
    """Predicts the return after each token: a linear head on the policy's trunk, or on one of its own."""

    def __init__(self, width: int, trunk: Transformer | None, device: torch.device) -> None:
        super().__init__()
        self.trunk = trunk
        if trunk is not None and trunk.head is not None:
            trunk.head.requires_grad_(False)  # it predicts no tokens
        self.head = nn.Linear(width, 1, bias=False, device=device)
        nn.init.zeros_(self.head.weight)  # a value of 0 everywhere is the mean of normalised scores

    def forward(self, episodes: Sequence[Episode], policy_hidden_ND: Tensor) -> Tensor:
        """Values [N] at the positions from which the completion tokens were drawn."""
        hidden_ND = policy_hidden_ND
        if self.trunk is not None:
            hidden_ND = completion_hidden_states(self.trunk, [e.prompt for e in episodes], completions(episodes))
        values_N: Tensor = self.head(hidden_ND.float())[:, 0]
        return values_N


def sample_episodes(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[list[int]], max_new_tokens: int, seed: int
) -> list[Episode]:
    """One answer to each prompt, drawn from the model's own distribution."""
    made = generate(model, prompts, Sampling(), max_new_tokens, end_ids(tokenizer), seed)
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


@torch.no_grad()
def scores_of(
    reward_model: tuple[Transformer, Tensor], tokenizer: Tokenizer, episodes: Sequence[Episode], most_tokens: int
) -> Tensor:
    """Score [B] of each answer, on the processor; raises ValueError for one that is not a finite number.

    The reward model has only seen finished turns, so every answer is read with an end of turn, also one
    that did not end by itself; what that costs is another matter (missing_end_penalty).
    """
    trunk, score_1D = reward_model
    finished = [
        [*e.prompt, *(e.completion[:-1] if e.ended else e.completion), tokenizer.end_of_turn_id] for e in episodes
    ]
    parts = micro_batches(finished, [len(sequence) for sequence in finished], most_tokens)
    found_B = torch.cat([scores(trunk, score_1D, part) for part in parts]).cpu()
    if not found_B.isfinite().all():
        first = int((~found_B.isfinite()).nonzero()[0])
        raise ValueError(
            f"the reward model gives {found_B[first]} to {text_of(tokenizer, episodes[first])[:80]!r}, not a "
            "finite number; training on it would destroy the policy"
        )
    return found_B


@torch.no_grad()
def token_numbers(
    policy: Transformer, reference: Transformer, critic: Critic | None, episodes: Sequence[Episode], most_tokens: int
) -> TokenNumbers:
    """The numbers of every completion token, from the trainer's own forward passes; without a critic values are 0."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    total_entropy = 0.0
    for part in micro_batches(episodes, [e.num_tokens for e in episodes], most_tokens):
        prompts, answers = [e.prompt for e in part], completions(part)
        hidden_ND = completion_hidden_states(policy, prompts, answers)
        reference_ND = completion_hidden_states(reference, prompts, answers)
        own_N = log_probabilities(policy, hidden_ND, answers)
        values_N = critic(part, hidden_ND) if critic else torch.zeros_like(own_N)
        found.append((own_N, log_probabilities(reference, reference_ND, answers), values_N))
        for rows_ND in torch.split(hidden_ND, LOGIT_ROWS):
            total_entropy += float(entropy(policy.logits(rows_ND)).sum())
    own_N, reference_N, values_N = (torch.cat(column) for column in zip(*found, strict=True))
    lengths = [len(episode.completion) for episode in episodes]
    own_BT, mask_BT = padded(own_N, lengths)
    sampled_N = torch.tensor([p for e in episodes for p in e.sampled_log_probabilities], device=own_N.device)
    return TokenNumbers(
        log_probabilities_BT=own_BT,
        reference_BT=padded(reference_N, lengths)[0],
        values_BT=padded(values_N, lengths)[0],
        mask_BT=mask_BT,
        entropy=total_entropy / len(own_N),
        sampler_gap=float((own_N - sampled_N).abs().max()),
    )
