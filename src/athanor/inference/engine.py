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
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from athanor.inference import sampling as sample
from athanor.inference.config import Sampling
from athanor.inference.decoder import Decoder, decodes
from athanor.inference.kv_cache import KVCache, Reading
from athanor.inference.logprobs import LOGIT_TOKENS
from athanor.inference.prefixes import DEFAULT_BYTES, PREFIX_BLOCK, Prefixes
from athanor.inference.request import Generation, Request, Sampled, check_room
from athanor.inference.rows import Row, alternatives_of, seen_tokens
from athanor.inference.state_cache import StateCache, StateReading
from athanor.inference.wave import Waiting, next_wave
from athanor.model.language_model import LanguageModel
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer

# B rows, N tokens laid end to end, T prompt tokens, D model width, V vocabulary

DEFAULT_ROWS = 64


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
        self._waiting: deque[Waiting] = deque()
        self._rows: list[Row] = []
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
        self._waiting.append(Waiting(ticket, request, nodes))
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
            leaders, followers = next_wave(self._waiting, self._prefixes, self.max_rows - first)
            logits_BV = self._read(leaders, followers)
            self._options = self._seen_BV = None
            finished |= self._extend(logits_BV, first)
        return finished

    def _read(self, leaders: Sequence[Waiting], followers: Sequence[Sequence[Waiting]]) -> Tensor:
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
            row = Row(waiting.ticket, waiting.request, context_length)
            if waiting.request.prompt_log_probabilities:
                row.prompt = self._prompt_numbers(hidden_ND[start:end], waiting.request)
                if waiting.request.on_prompt is not None:
                    waiting.request.on_prompt(row.prompt)
            self._rows.append(row)
        for index, group in enumerate(followers):
            if group:
                self._cache.repeat(first + index, len(group))
                self._rows += [Row(waiting.ticket, waiting.request, context_length) for waiting in group]
        logits_BV = self.model.logits(hidden_ND[torch.tensor(ends, device=self._device) - 1])
        if any(counts):
            repeated = [index for index, count in enumerate(counts) for _ in range(count)]
            logits_BV = logits_BV[torch.tensor([*range(len(leaders)), *repeated], device=self._device)]
        return logits_BV

    def _beginning(self, waiting: Waiting) -> list[Tensor]:
        return [] if self._prefixes is None else self._prefixes.beginning(waiting.nodes)

    def _share(self, first: int, leaders: Sequence[Waiting], followers: Sequence[Sequence[Waiting]]) -> None:
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
            alternatives = alternatives_of(logits_TV, [request.num_alternatives] * len(tokens))
            found += [Sampled(*values) for values in zip(tokens, own, own, alternatives, strict=True)]
        return found

    def _extend(self, logits_BV: Tensor, first: int) -> dict[int, Generation]:
        """Draws a token for every row from `first` on; rows that finish leave and are returned."""
        rows = self._rows[first:]
        drawn = self._draw(logits_BV, rows, whole=first == 0)
        wanted = [row.request.num_alternatives for row in rows]
        alternatives = alternatives_of(logits_BV, wanted) if any(wanted) else None
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

    def _draw(self, logits_BV: Tensor, rows: list[Row], whole: bool) -> sample.Drawn:
        options = self._options if whole else None
        if options is None:
            options = sample.RowSampling.of([row.request.sampling for row in rows], logits_BV.shape[1], self._device)
        seen_BV = None
        if options.penalty_B1 is not None:
            seen_BV = self._seen_BV if whole else None
            if seen_BV is None:
                seen_BV = seen_tokens(rows, logits_BV)
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
