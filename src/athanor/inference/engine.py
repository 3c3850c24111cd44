"""Batched generation with a key-value cache.

In: a model, prompts as tokens, options. Out: for every prompt its completion, with the log-probability of each
sampled token under the model itself (temperature 1, nothing truncated: what a trainer's forward pass gives) and
under the distribution that it was drawn from.

A row enters the batch when there is room and leaves it when it finishes; the others go on undisturbed
(continuous batching, Yu et al. 2022, "Orca"). Prompts are read end to end in one pass without padding; after that
every step is one forward pass (`decoder`, where it knows the model), one sampling operation and one short loop over the
rows. Equal prompts are read once, and what prompts have in common at their beginning is read once (`prefixes`); a
recurrent model shares equal prompts only.

An engine sees the weights as they were at its first step; after an update of the weights make a new one.
Left out: speculative decoding, more than one device.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from athanor.inference import sampling as sample
from athanor.inference.config import Sampling
from athanor.inference.decoder import Decoder, decodes
from athanor.inference.kv_cache import KVCache, Reading
from athanor.inference.logprobs import LOGIT_TOKENS
from athanor.inference.logprobs import logprobs as logprobs
from athanor.inference.prefixes import DEFAULT_BYTES, PREFIX_BLOCK, Node, Prefixes
from athanor.inference.state_cache import StateCache, StateReading
from athanor.model.language_model import LanguageModel
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer

# B rows, N tokens laid end to end, D model width, V vocabulary, A alternatives

FinishReason = Literal["stop", "length"]
Alternatives = tuple[tuple[int, float], ...]
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
    alternatives: Alternatives = ()
    """The most likely tokens at this place and their log-probabilities under the model, best first."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished completion; a stop token that ended it is its last token."""

    tokens: list[int]
    log_probabilities: list[float]
    sampling_log_probabilities: list[float]
    finish_reason: FinishReason
    alternatives: list[Alternatives] = field(default_factory=list)
    prompt: list[Sampled] = field(default_factory=list)
    """The prompt's tokens from the second on, where the request asked for their log-probabilities."""


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
    prompt_log_probabilities: bool = False
    """Whether to tell the log-probabilities of the prompt too; then it is read in full, and new tokens may be none."""
    on_prompt: Callable[[list[Sampled]], None] | None = None
    """Called with those, once the prompt is read and before the first new token."""
    on_token: Callable[[Sampled], bool | None] | None = None
    """Called with each new token; returning True ends the completion there with reason "stop"."""


class Engine:
    """A batch that requests join and leave while it runs. One thread at a time may use it."""

    def __init__(
        self,
        model: LanguageModel,
        max_rows: int = DEFAULT_ROWS,
        *,
        prefix_bytes: int = DEFAULT_BYTES,
        remember: bool = False,
    ) -> None:
        """`prefix_bytes` bounds what is held of common beginnings; 0 shares equal prompts only.

        With `remember` they are also held for requests that come later, finished completions included.
        """
        self.model = model
        self.max_rows = max_rows
        self.num_read = 0
        """Tokens of prompts that the model read."""
        self._device = next(model.parameters()).device
        self._cache: StateCache | KVCache
        self._prefixes: Prefixes | None = None
        if isinstance(model, Lstm):
            self._cache = StateCache(model.config, model.compute_dtype, self._device)
        else:
            self._cache = KVCache(model.config, model.compute_dtype, self._device)
            self._prefixes = Prefixes(prefix_bytes, remember) if prefix_bytes > 0 else None
        self._decodes = decodes(model)
        self._decoder: Decoder | None = None  # made at the first step
        self._waiting: deque[_Waiting] = deque()
        self._rows: list[_Row] = []
        self._options: sample.RowSampling | None = None  # None after the set of rows changed
        self._seen_BV: Tensor | None = None  # the same, and where no row has a repetition penalty
        self._next_ticket = 0

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        return bool(self._waiting or self._rows)

    def add(self, request: Request) -> int:
        """A ticket for the request, which starts as soon as there is a free row."""
        fewest = 0 if request.prompt_log_probabilities else 1
        if request.max_new_tokens < fewest:
            raise ValueError(f"max_new_tokens is {request.max_new_tokens}; it must be at least {fewest}")
        check_room(len(request.prompt), self.model.config.context_length, min(request.max_new_tokens, 1))
        ticket = self._next_ticket
        self._next_ticket += 1
        shares = self._prefixes is not None and not request.prompt_log_probabilities
        nodes = self._prefixes.expect(request.prompt) if self._prefixes is not None and shares else []
        self._waiting.append(_Waiting(ticket, request, nodes))
        return ticket

    @torch.inference_mode()
    def cancel(self, ticket: int) -> None:
        """Forgets a request, waiting or running; one that is already finished is left alone."""
        for waiting in self._waiting:
            if waiting.ticket == ticket:
                self._waiting.remove(waiting)
                if self._prefixes is not None:
                    self._prefixes.release(waiting.nodes)
                return
        for index, row in enumerate(self._rows):
            if row.ticket == ticket:
                self._leave(index)
                return

    @torch.inference_mode()
    def step(self) -> dict[int, Generation]:
        """Gives every row one more token and returns what finished, by ticket."""
        finished = self._admit()
        if self._rows:
            token_B = torch.tensor([row.tokens[-1] for row in self._rows], device=self._device)
            finished |= self._extend(self._logits(token_B), first=0)
        return finished

    def _logits(self, token_B: Tensor) -> Tensor:
        """The logits of what follows one more token in every row."""
        if self._decodes:
            assert isinstance(self.model, Transformer) and isinstance(self._cache, KVCache)
            self._decoder = self._decoder or Decoder(self.model)
            return self._decoder(token_B, self._cache.writing(), max(self._cache.lengths))
        return self.model.logits(self.model(token_B[:, None], self._cache.writing())[:, 0])

    def _admit(self) -> dict[int, Generation]:
        """Reads waiting prompts into free rows and gives each its first token."""
        finished: dict[int, Generation] = {}
        while self._waiting and len(self._rows) < self.max_rows:
            first = len(self._rows)
            leaders, followers = self._next_wave(self.max_rows - first)
            logits_BV = self._read(leaders, followers)
            self._options = self._seen_BV = None
            finished |= self._extend(logits_BV, first)
        return finished

    def _next_wave(self, room: int) -> "tuple[list[_Waiting], list[list[_Waiting]]]":
        """Requests to read together, and for each those with the same prompt.

        A request whose prompt goes on with a block that one of them reads waits for the next wave.
        """
        leaders: list[_Waiting] = []
        followers: list[list[_Waiting]] = []
        leader_of: dict[tuple[int, ...], int] = {}
        deferred: list[_Waiting] = []
        being_read: set[Node] = set()
        num_tokens = num_rows = 0
        while self._waiting and num_rows < room and len(deferred) < room:
            waiting = self._waiting.popleft()
            prompt = tuple(waiting.request.prompt)
            num_held = 0 if self._prefixes is None else self._prefixes.held(waiting.nodes)
            num_unread = len(prompt) - num_held * PREFIX_BLOCK
            if prompt in leader_of and not waiting.request.prompt_log_probabilities:
                followers[leader_of[prompt]].append(waiting)
            elif not being_read.isdisjoint(waiting.nodes[num_held : num_held + 1]):
                deferred.append(waiting)
                continue
            elif leaders and num_tokens + num_unread > READ_TOKENS:
                self._waiting.appendleft(waiting)
                break
            else:
                leader_of.setdefault(prompt, len(leaders))
                leaders.append(waiting)
                followers.append([])
                being_read.update(waiting.nodes[num_held:])
                num_tokens += num_unread
            num_rows += 1
        self._waiting.extendleft(reversed(deferred))
        return leaders, followers

    def _read(self, leaders: "Sequence[_Waiting]", followers: "Sequence[Sequence[_Waiting]]") -> Tensor:
        """Fills rows with the prompts of a wave; the logits of what follows each, in the order of the new rows."""
        first = len(self._rows)
        lengths = [len(waiting.request.prompt) for waiting in leaders]
        counts = [len(group) for group in followers]
        layout: Reading | StateReading
        if isinstance(self._cache, StateCache):
            unread, layout = lengths, self._cache.reading(lengths)
        else:
            begun = [self._beginning(waiting) for waiting in leaders]
            unread = [length - len(blocks) * PREFIX_BLOCK for length, blocks in zip(lengths, begun, strict=True)]
            layout = self._cache.reading(lengths, begun, more_rows=sum(counts))
        prompts = [waiting.request.prompt[-number:] for waiting, number in zip(leaders, unread, strict=True)]
        tokens_N = torch.tensor([token for prompt in prompts for token in prompt], device=self._device)
        self.num_read += len(tokens_N)
        hidden_ND = self.model(tokens_N[None], layout)[0]
        if self._prefixes is not None:
            self._share(first, leaders, followers)
        context_length = self.model.config.context_length
        ends = list(accumulate(unread))
        for waiting, start, end in zip(leaders, [0, *ends], ends, strict=False):
            row = _Row(waiting.ticket, waiting.request, context_length)
            if waiting.request.prompt_log_probabilities:
                row.prompt = self._prompt_numbers(hidden_ND[start:end], waiting.request)
                if waiting.request.on_prompt is not None:
                    waiting.request.on_prompt(row.prompt)
            self._rows.append(row)
        for index, group in enumerate(followers):
            if group:
                self._cache.repeat(first + index, len(group))
                self._rows += [_Row(waiting.ticket, waiting.request, context_length) for waiting in group]
        logits_BV = self.model.logits(hidden_ND[torch.tensor(ends, device=self._device) - 1])
        if any(counts):
            repeated = [index for index, count in enumerate(counts) for _ in range(count)]
            logits_BV = logits_BV[torch.tensor([*range(len(leaders)), *repeated], device=self._device)]
        return logits_BV

    def _beginning(self, waiting: "_Waiting") -> list[Tensor]:
        return [] if self._prefixes is None else self._prefixes.beginning(waiting.nodes)

    def _share(self, first: int, leaders: "Sequence[_Waiting]", followers: "Sequence[Sequence[_Waiting]]") -> None:
        """Holds what was read for those who still wait for it."""
        assert self._prefixes is not None and isinstance(self._cache, KVCache)
        for group in followers:
            for waiting in group:
                self._prefixes.release(waiting.nodes)
        for index, waiting in enumerate(leaders):
            self._prefixes.store(waiting.nodes, partial(self._cache.copy, first + index))
        for waiting in leaders:
            self._prefixes.release(waiting.nodes)

    def _prompt_numbers(self, hidden_TD: Tensor, request: Request) -> list[Sampled]:
        """The tokens of a prompt from the second on, each with its log-probability given those before it."""
        found: list[Sampled] = []
        following = list(request.prompt[1:])
        for start in range(0, len(following), LOGIT_TOKENS):
            tokens = following[start : start + LOGIT_TOKENS]
            logits_TV = self.model.logits(hidden_TD[start : start + len(tokens)])
            own = sample.log_probability_of(logits_TV, torch.tensor(tokens, device=self._device)).tolist()
            alternatives = _alternatives(logits_TV, [request.num_alternatives] * len(tokens))
            found += [Sampled(*values) for values in zip(tokens, own, own, alternatives, strict=True)]
        return found

    def _extend(self, logits_BV: Tensor, first: int) -> dict[int, Generation]:
        """Draws a token for every row from `first` on; rows that finish leave and are returned."""
        rows = self._rows[first:]
        drawn = self._draw(logits_BV, rows, whole=first == 0)
        wanted = [row.request.num_alternatives for row in rows]
        alternatives = _alternatives(logits_BV, wanted) if any(wanted) else None
        tokens, own = drawn.tokens_B.tolist(), drawn.log_probability_B.tolist()
        sampled = own
        if drawn.sampling_log_probability_B is not drawn.log_probability_B:
            sampled = drawn.sampling_log_probability_B.tolist()
        finished: dict[int, Generation] = {}
        for index in range(len(rows) - 1, -1, -1):  # backwards: a leaving row is replaced by the last one
            row = rows[index]
            reason = row.append(tokens[index], own[index], sampled[index], alternatives[index] if alternatives else ())
            if reason is not None:
                finished[row.ticket] = row.generation(reason)
                self._leave(first + index)
        return finished

    def _draw(self, logits_BV: Tensor, rows: "list[_Row]", whole: bool) -> sample.Drawn:
        options = self._options if whole else None
        if options is None:
            options = sample.RowSampling.of([row.request.sampling for row in rows], logits_BV.shape[1], self._device)
        seen_BV = None
        if options.penalty_B1 is not None:
            seen_BV = self._seen_BV if whole else None
            if seen_BV is None:
                seen_BV = _seen_tokens(rows, logits_BV)
        uniform_B = torch.tensor([row.next_uniform() for row in rows], dtype=torch.float64, device=self._device)
        drawn = sample.next_tokens(logits_BV, options, uniform_B, seen_BV)
        if whole:
            self._options = options
            self._seen_BV = None if seen_BV is None else seen_BV.scatter_(1, drawn.tokens_B[:, None], True)
        return drawn

    def _leave(self, index: int) -> None:
        if self._prefixes is not None and self._prefixes.remember and isinstance(self._cache, KVCache):
            row = self._rows[index]
            if not self._cache.forgotten[index]:
                read = [*row.request.prompt, *row.tokens][: self._cache.lengths[index]]
                self._prefixes.store_text(read, partial(self._cache.copy, index))
        self._rows[index] = self._rows[self._cache.drop(index)]
        self._rows.pop()
        self._options = self._seen_BV = None


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request that has no row yet, and the blocks of its prompt that it may share."""

    ticket: int
    request: Request
    nodes: list[Node]


class _Row:
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
        return Generation(
            tokens=self.tokens,
            log_probabilities=self._log_probabilities,
            sampling_log_probabilities=self._sampling_log_probabilities,
            finish_reason=reason,
            alternatives=self._alternatives,
            prompt=self.prompt,
        )


def _seen_tokens(rows: Sequence[_Row], logits_BV: Tensor) -> Tensor:
    seen_BV = torch.zeros(logits_BV.shape, dtype=torch.bool, device=logits_BV.device)
    row_N = [index for index, row in enumerate(rows) for _ in range(len(row.request.prompt) + len(row.tokens))]
    token_N = [token for row in rows for tokens in (row.request.prompt, row.tokens) for token in tokens]
    seen_BV[torch.tensor(row_N, device=seen_BV.device), torch.tensor(token_N, device=seen_BV.device)] = True
    return seen_BV


def _alternatives(logits_BV: Tensor, wanted: Sequence[int]) -> list[Alternatives]:
    """For each row its `wanted` most likely tokens with their log-probabilities under the model."""
    most = min(max(wanted), logits_BV.shape[1])
    if most == 0:
        return [()] * len(wanted)
    best_BA, token_BA = logits_BV.topk(most, dim=-1)
    log_probability_BA = best_BA - logits_BV.logsumexp(dim=-1, keepdim=True)
    rows = zip(wanted, token_BA.tolist(), log_probability_BA.tolist(), strict=True)
    return [tuple(zip(tokens[:count], values[:count], strict=True)) for count, tokens, values in rows]


def check_room(prompt_length: int, context_length: int, new_tokens: int = 1) -> None:
    """Raises unless a prompt has at least one token and leaves room for `new_tokens` more."""
    if prompt_length == 0:
        raise ValueError("the prompt has no tokens; begin it at least with the begin-of-text token")
    if prompt_length + new_tokens > context_length:
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
