"""Batched generation with a key-value cache.

In: a model, prompts as tokens, options. Out: for every prompt its completion, with the log-probability of each
sampled token under the model itself (temperature 1, nothing truncated: what a trainer's forward pass gives) and
under the distribution that it was drawn from.

A row enters the batch when there is room and leaves it when it finishes; the others go on undisturbed
(continuous batching, Yu et al. 2022, "Orca"). Prompts are read end to end in one pass without padding; after that
every step is one forward pass, one sampling operation and one short loop over the rows.

Left out: speculative decoding, sharing of common prefixes between prompts, more than one device.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from athanor.inference import sampling as sample
from athanor.inference.config import Sampling
from athanor.inference.kv_cache import KVCache
from athanor.inference.logprobs import logprobs as logprobs
from athanor.inference.state_cache import StateCache
from athanor.model.language_model import LanguageModel
from athanor.model.lstm import Lstm

# B rows, N tokens laid end to end, D model width, V vocabulary, A alternatives

FinishReason = Literal["stop", "length"]
DEFAULT_ROWS = 64
READ_TOKENS = 8192  # prompts are read at most this many tokens at a time (one long prompt may exceed it)


class ContextOverflow(ValueError):
    """A prompt leaves no room for a single new token within the model's context."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One new token of one request."""

    token: int
    log_probability: float
    """Under the model itself: temperature 1, nothing truncated."""
    sampling_log_probability: float
    """Under the distribution that the token was drawn from."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The most likely tokens at this place and their log-probabilities under the model, best first."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished completion; a stop token that ended it is its last token."""

    tokens: list[int]
    log_probabilities: list[float]
    sampling_log_probabilities: list[float]
    finish_reason: FinishReason
    alternatives: list[tuple[tuple[int, float], ...]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and how to continue it."""

    prompt: Sequence[int]
    sampling: Sampling
    max_new_tokens: int
    stop_ids: frozenset[int]
    seed: tuple[int, ...]
    """Any non-negative numbers; equal ones give equal draws."""
    num_alternatives: int = 0
    on_token: Callable[[Sampled], bool | None] | None = None
    """Called with each new token; returning True ends the completion there with reason "stop"."""


class Engine:
    """A batch that requests join and leave while it runs. One thread at a time may use it."""

    def __init__(self, model: LanguageModel, max_rows: int = DEFAULT_ROWS) -> None:
        self.model = model
        self.max_rows = max_rows
        self._device = next(model.parameters()).device
        kind_of_cache = StateCache if isinstance(model, Lstm) else KVCache
        self._cache: StateCache | KVCache = kind_of_cache(model.config, model.compute_dtype, self._device)
        self._waiting: deque[tuple[int, Request]] = deque()
        self._rows: list[_Row] = []
        self._options: sample.RowSampling | None = None  # None after the set of rows changed
        self._next_ticket = 0

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        return bool(self._waiting or self._rows)

    def add(self, request: Request) -> int:
        """A ticket for the request, which starts as soon as there is a free row."""
        check_room(len(request.prompt), self.model.config.context_length)
        if request.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {request.max_new_tokens}; it must be at least 1")
        ticket = self._next_ticket
        self._next_ticket += 1
        self._waiting.append((ticket, request))
        return ticket

    @torch.inference_mode()
    def cancel(self, ticket: int) -> None:
        """Forgets a request, waiting or running; one that is already finished is left alone."""
        self._waiting = deque((other, request) for other, request in self._waiting if other != ticket)
        for index, row in enumerate(self._rows):
            if row.ticket == ticket:
                self._leave(index)
                return

    @torch.inference_mode()
    def step(self) -> dict[int, Generation]:
        """Gives every row one more token and returns what finished, by ticket."""
        finished = self._admit()
        if self._rows:
            tokens_B1 = torch.tensor([[row.tokens[-1]] for row in self._rows], device=self._device)
            hidden_B1D = self.model(tokens_B1, self._cache.writing())
            finished |= self._extend(self.model.logits(hidden_B1D[:, 0]), first=0)
        return finished

    def _admit(self) -> dict[int, Generation]:
        """Reads waiting prompts into free rows and gives each its first token."""
        finished: dict[int, Generation] = {}
        while self._waiting and len(self._rows) < self.max_rows:
            first = len(self._rows)
            entering: list[_Row] = []
            num_tokens = 0
            while self._waiting and first + len(entering) < self.max_rows:
                ticket, request = self._waiting[0]
                num_tokens += len(request.prompt)
                if entering and num_tokens > READ_TOKENS:
                    break
                self._waiting.popleft()
                entering.append(_Row(ticket, request, self.model.config.context_length))
            lengths = [len(row.request.prompt) for row in entering]
            tokens_1N = torch.tensor([[token for row in entering for token in row.request.prompt]], device=self._device)
            hidden_1ND = self.model(tokens_1N, self._cache.reading(lengths))
            self._rows.extend(entering)
            self._options = None
            last_B = torch.tensor(lengths, device=self._device).cumsum(0) - 1
            finished |= self._extend(self.model.logits(hidden_1ND[0, last_B]), first)
        return finished

    def _extend(self, logits_BV: Tensor, first: int) -> dict[int, Generation]:
        """Draws a token for every row from `first` on; rows that finish leave and are returned."""
        rows = self._rows[first:]
        sampled = self._draw(logits_BV, rows, whole=first == 0)
        finished: dict[int, Generation] = {}
        for index in range(len(rows) - 1, -1, -1):  # backwards: a leaving row is replaced by the last one
            reason = rows[index].append(sampled[index])
            if reason is not None:
                finished[rows[index].ticket] = rows[index].generation(reason)
                self._leave(first + index)
        return finished

    def _draw(self, logits_BV: Tensor, rows: "list[_Row]", whole: bool) -> list[Sampled]:
        if self._options is None or not whole:
            options = sample.RowSampling.of([row.request.sampling for row in rows], logits_BV.shape[1], self._device)
            self._options = options if whole else None
        else:
            options = self._options
        seen_BV = _seen_tokens(rows, logits_BV) if options.penalty_B1 is not None else None
        drawn_from_BV = sample.sampling_logits(logits_BV, options, seen_BV)
        uniform_B = torch.tensor([row.next_uniform() for row in rows], dtype=torch.float64, device=self._device)
        tokens_B = sample.draw(drawn_from_BV, uniform_B)
        own_B = sample.log_probability_of(logits_BV, tokens_B)
        drawn_B = sample.log_probability_of(drawn_from_BV, tokens_B) if options.changes_distribution else own_B
        alternatives = _alternatives(logits_BV, [row.request.num_alternatives for row in rows])
        return [
            Sampled(*values)
            for values in zip(tokens_B.tolist(), own_B.tolist(), drawn_B.tolist(), alternatives, strict=True)
        ]

    def _leave(self, index: int) -> None:
        self._rows[index] = self._rows[self._cache.drop(index)]
        self._rows.pop()
        self._options = None


class _Row:
    """A request that is running."""

    def __init__(self, ticket: int, request: Request, context_length: int) -> None:
        self.ticket = ticket
        self.request = request
        self.tokens: list[int] = []
        self._sampled: list[Sampled] = []
        self._room = min(request.max_new_tokens, context_length - len(request.prompt))
        self._uniforms = np.random.default_rng(request.seed).random(self._room).tolist()

    def next_uniform(self) -> float:
        return float(self._uniforms[len(self.tokens)])

    def append(self, sampled: Sampled) -> FinishReason | None:
        """Takes one more token; the reason if it was the last."""
        self.tokens.append(sampled.token)
        self._sampled.append(sampled)
        wants_end = self.request.on_token is not None and self.request.on_token(sampled) is True
        if wants_end or sampled.token in self.request.stop_ids:
            return "stop"
        return "length" if len(self.tokens) == self._room else None

    def generation(self, reason: FinishReason) -> Generation:
        return Generation(
            tokens=self.tokens,
            log_probabilities=[sampled.log_probability for sampled in self._sampled],
            sampling_log_probabilities=[sampled.sampling_log_probability for sampled in self._sampled],
            finish_reason=reason,
            alternatives=[sampled.alternatives for sampled in self._sampled] if self.request.num_alternatives else [],
        )


def _seen_tokens(rows: Sequence[_Row], logits_BV: Tensor) -> Tensor:
    seen_BV = torch.zeros(logits_BV.shape, dtype=torch.bool, device=logits_BV.device)
    row_N = [index for index, row in enumerate(rows) for _ in range(len(row.request.prompt) + len(row.tokens))]
    token_N = [token for row in rows for tokens in (row.request.prompt, row.tokens) for token in tokens]
    seen_BV[torch.tensor(row_N, device=seen_BV.device), torch.tensor(token_N, device=seen_BV.device)] = True
    return seen_BV


def _alternatives(logits_BV: Tensor, wanted: Sequence[int]) -> list[tuple[tuple[int, float], ...]]:
    """For each row its `wanted` most likely tokens with their log-probabilities under the model."""
    most = min(max(wanted), logits_BV.shape[1])
    if most == 0:
        return [()] * len(wanted)
    best_BA, token_BA = logits_BV.topk(most, dim=-1)
    log_probability_BA = best_BA - logits_BV.logsumexp(dim=-1, keepdim=True)
    rows = zip(wanted, token_BA.tolist(), log_probability_BA.tolist(), strict=True)
    return [tuple(zip(tokens[:count], values[:count], strict=True)) for count, tokens, values in rows]


def check_room(prompt_length: int, context_length: int) -> None:
    """Raises unless a prompt has at least one token and leaves room for one more."""
    if prompt_length == 0:
        raise ValueError("the prompt has no tokens; begin it at least with the begin-of-text token")
    if prompt_length >= context_length:
        raise ContextOverflow(
            f"the prompt has {prompt_length} tokens, but the model's context holds {context_length} "
            "including at least one new token; shorten the prompt"
        )


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    max_new_tokens: int,
    stop_ids: Sequence[int] | frozenset[int],
    seed: int,
    on_token: Callable[[int, Sampled], bool | None] | None = None,
    *,
    num_alternatives: int = 0,
    max_rows: int = DEFAULT_ROWS,
) -> list[Generation]:
    """A completion for every prompt, in order.

    A completion ends with one of `stop_ids` (kept as its last token; reason "stop"), or after `max_new_tokens` or
    where the model's context is full (reason "length"). Prompt i draws from its own stream, given by (seed, i), so
    its completion does not depend on the other prompts beyond the rounding of floating-point sums.
    `on_token(i, sampled)` is called with each new token of prompt i; returning True ends that completion.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must not be negative")
    engine = Engine(model, max_rows)
    stop = frozenset(stop_ids)
    tickets = [
        engine.add(
            Request(
                prompt=prompt,
                sampling=sampling,
                max_new_tokens=max_new_tokens,
                stop_ids=stop,
                seed=(seed, index),
                num_alternatives=num_alternatives,
                on_token=_told(on_token, index),
            )
        )
        for index, prompt in enumerate(prompts)
    ]
    finished: dict[int, Generation] = {}
    while engine.busy:
        finished |= engine.step()
    return [finished[ticket] for ticket in tickets]


def _told(
    on_token: Callable[[int, Sampled], bool | None] | None, index: int
) -> Callable[[Sampled], bool | None] | None:
    return None if on_token is None else lambda sampled: on_token(index, sampled)
