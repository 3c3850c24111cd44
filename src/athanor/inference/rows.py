"""The requests that are running, one a row of the batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from athanor.inference.request import Alternatives, FinishReason, Generation, Request, Sampled

# B rows, N tokens laid end to end, V vocabulary, A alternatives


class Row:
    """A request that is running."""

    def __init__(self, ticket: int, request: Request, context_length: int) -> None:
        self.ticket = ticket
        self.request = request
        self.tokens: list[int] = []
        self.prompt: list[Sampled] = []
        self._log_probabilities: list[float] = []
        self._sampling_log_probabilities: list[float] = []
        self._alternatives: list[Alternatives] = []
        self._room = min(request.max_new_tokens, context_length - len(request.prompt))
        self._uniforms = np.random.default_rng(request.seed).random(max(self._room, 1)).tolist()

    def next_uniform(self) -> float:
        """The random number in [0, 1) that chooses the next token."""
        return float(self._uniforms[len(self.tokens)])

    def append(
        self, token: int, log_probability: float, sampling_log_probability: float, alternatives: Alternatives
    ) -> FinishReason | None:
        """Takes one more token; the reason if it was the last."""
        if self._room == 0:  # only the prompt was asked for
            return "length"
        self.tokens.append(token)
        self._log_probabilities.append(log_probability)
        self._sampling_log_probabilities.append(sampling_log_probability)
        request = self.request
        if request.num_alternatives:
            self._alternatives.append(alternatives)
        if request.on_token is not None:
            sampled = Sampled(token, log_probability, sampling_log_probability, alternatives)
            if request.on_token(sampled) is True:
                return "stop"
        if token in request.stop_ids:
            return "stop"
        return "length" if len(self.tokens) == self._room else None

    def generation(self, reason: FinishReason) -> Generation:
        """What the row has made, now that it has ended for this reason."""
        return Generation(
            tokens=self.tokens,
            log_probabilities=self._log_probabilities,
            sampling_log_probabilities=self._sampling_log_probabilities,
            finish_reason=reason,
            alternatives=self._alternatives,
            prompt=self.prompt,
        )


def seen_tokens(rows: Sequence[Row], logits_BV: Tensor) -> Tensor:
    """Which tokens every row holds already, prompt or new: bool, shaped like `logits_BV`."""
    seen_BV = torch.zeros(logits_BV.shape, dtype=torch.bool, device=logits_BV.device)
    row_N = [index for index, row in enumerate(rows) for _ in range(len(row.request.prompt) + len(row.tokens))]
    token_N = [token for row in rows for tokens in (row.request.prompt, row.tokens) for token in tokens]
    seen_BV[torch.tensor(row_N, device=seen_BV.device), torch.tensor(token_N, device=seen_BV.device)] = True
    return seen_BV


def alternatives_of(logits_BV: Tensor, wanted: Sequence[int]) -> list[Alternatives]:
    """For each row its `wanted` most likely tokens with their log-probabilities under the model."""
    most = min(max(wanted), logits_BV.shape[1])
    if most == 0:
        return [()] * len(wanted)
    best_BA, token_BA = logits_BV.topk(most, dim=-1)
    log_probability_BA = best_BA - logits_BV.logsumexp(dim=-1, keepdim=True)
    rows = zip(wanted, token_BA.tolist(), log_probability_BA.tolist(), strict=True)
    return [tuple(zip(tokens[:count], values[:count], strict=True)) for count, tokens, values in rows]
