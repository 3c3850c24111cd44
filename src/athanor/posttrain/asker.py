"""Requests to a language model, several at a time, each kept on disk before it counts and never made twice.

In: prompts. Out: the answers in order. Limits of tokens and cost are checked before a request is made, at its longest.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from athanor.core.artifact import canonical_json, write_jsonl
from athanor.core.chat_endpoint import ChatClient, EndpointError
from athanor.data.synth_store import Generation, Store
from athanor.posttrain.config.asking import Asking

CHARACTERS_PER_TOKEN = 3  # a cautious estimate for limits, and for servers that tell no usage


class LimitReached(Exception):
    """No further request may be made; the message names the limit."""


class Asker:
    """Makes requests, several at a time, each once in all runs."""

    def __init__(self, config: Asking, store: Store, client: ChatClient, workers: ThreadPoolExecutor) -> None:
        self._config, self._store, self._client, self._workers = config, store, client, workers

    def ask(self, place: str, prompts: Sequence[str], max_tokens: int) -> list[Generation | None]:
        """The answers to `prompts` in order, None for one that failed; `place` tells equal prompts apart.

        Raises LimitReached where they, at their longest, could go beyond a limit.
        """
        keys = [self._key(place, i, prompt, max_tokens) for i, prompt in enumerate(prompts)]
        missing = [(key, prompt) for key, prompt in zip(keys, prompts, strict=True) if key not in self._store]
        self._check_limits([prompt for _, prompt in missing], max_tokens)
        problems = list(self._workers.map(lambda one: self._one(one[0], one[1], max_tokens), missing))
        failed = [problem for problem in problems if problem]
        if failed and len(failed) == len(prompts):
            raise ValueError(
                f"none of {len(prompts)} requests got an answer, the last: {failed[-1]}; {len(self._store)} answers "
                "are kept, run the step again when the server is back"
            )
        return [self._store.get(key) for key in keys]

    def _one(self, key: str, prompt: str, max_tokens: int) -> str | None:
        """Ask and keep the answer; what went wrong, if something did."""
        config = self._config
        messages = [{"role": "user", "content": prompt}]
        try:
            answer = self._client.ask(
                messages, temperature=config.temperature, top_p=config.top_p, max_tokens=max_tokens, seed=config.seed
            )
        except EndpointError as error:
            return str(error)
        counted = answer.prompt_tokens is not None and answer.completion_tokens is not None
        sent = answer.prompt_tokens or len(prompt) // CHARACTERS_PER_TOKEN
        received = answer.completion_tokens or len(answer.text) // CHARACTERS_PER_TOKEN
        cost = _cost(config, sent, received)
        finish = answer.finish_reason
        self._store.add(
            Generation(key, "", prompt, answer.text, finish, sent, received, counted, cost, answer.attempts, False)
        )
        return None

    def _key(self, place: str, number: int, prompt: str, max_tokens: int) -> str:
        config = self._config
        sampling = [config.temperature, config.top_p, max_tokens, config.seed]
        identity = [config.endpoint.model, sampling, place, number, prompt]
        return hashlib.sha256(canonical_json(identity)).hexdigest()[:32]

    def _check_limits(self, prompts: Sequence[str], max_tokens: int) -> None:
        config, store = self._config, self._store
        sent, received = sum(map(len, prompts)) // CHARACTERS_PER_TOKEN, len(prompts) * max_tokens
        total = store.prompt_tokens + store.completion_tokens + sent + received
        if prompts and config.max_tokens is not None and total > config.max_tokens:
            raise LimitReached("max_tokens")
        if prompts and config.max_cost is not None and store.cost + _cost(config, sent, received) > config.max_cost:
            raise LimitReached("max_cost")


def _cost(config: Asking, prompt_tokens: int, completion_tokens: int) -> float:
    sent = prompt_tokens * config.price_per_million_prompt_tokens
    return (sent + completion_tokens * config.price_per_million_completion_tokens) / 1e6


def write_generations(store: Store, out: Path) -> dict[str, Any]:
    """Write every answer with its prompt to generations.jsonl, in an order of their own; requests, tokens and cost."""
    in_order = sorted(store.all(), key=lambda generation: generation.key)  # not in the order of their coming
    write_jsonl(out / "generations.jsonl", (asdict(generation) for generation in in_order))
    return {
        "requests": len(store),
        "prompt_tokens": store.prompt_tokens,
        "completion_tokens": store.completion_tokens,
        "cost": round(store.cost, 6),
    }
