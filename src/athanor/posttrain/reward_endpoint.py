"""Rewards from a server of one's own: one POST for a batch of answers, tried again where that can help.

Sent: {"prompts": [messages, ...], "completions": [text, ...], "rows": [object, ...]}. Expected:
{"rewards": [number, ...]}, one for each completion, or that list alone. A server that is busy, fails, or does not
answer in time is asked again after a pause that doubles; one that gives another count, something else than numbers, or
NaN ends the run at once: it would be wrong again.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from athanor.core.chat_endpoint import SHOWN_CHARACTERS, TRY_AGAIN, network_errors, posted
from athanor.posttrain.config.reward import Reward

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE_SECONDS = 0.5


def endpoint_rewards(
    config: Reward,
    prompts: Sequence[Any],
    answers: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    sleep: Callable[[float], object] = time.sleep,
) -> list[float]:
    """A number for each answer; raises ValueError that says what the server did where there is none."""
    import httpx

    found: list[float] = []
    with httpx.Client(timeout=config.timeout_seconds) as client:
        for start in range(0, len(answers), config.batch_size):
            part = slice(start, start + config.batch_size)
            body = {
                "prompts": list(prompts[part]),
                "completions": list(answers[part]),
                "rows": [dict(r) for r in rows[part]],
            }
            found += rewards_in(_asked(config, client, body, sleep), len(answers[part]), config.url)
    return found


def rewards_in(content: bytes, count: int, url: str) -> list[float]:
    """The rewards in a server's answer; raises ValueError unless they are `count` finite numbers."""
    try:
        data = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{url}: the answer is no JSON: {_said(content)}") from error
    values = data.get("rewards") if isinstance(data, Mapping) else data
    if not isinstance(values, list):
        raise ValueError(f"{url}: expected {{'rewards': [...]}}, found {_said(content)}")
    if len(values) != count:
        raise ValueError(f"{url}: {len(values)} rewards for {count} answers; one for each is needed, in their order")
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{url}: reward {place} of {count} is {value!r}, not a finite number")
    return [float(value) for value in values]


def _asked(config: Reward, client: "httpx.Client", body: Mapping[str, Any], sleep: Callable[[float], object]) -> bytes:
    """What the server answers with status 200; raises ValueError after the last attempt."""
    problem = ""
    for attempt in range(config.attempts):
        if attempt:
            sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            status, _, content = posted(client, config.url, body, config.timeout_seconds, {})
        except network_errors() as error:
            problem = (
                f"no whole answer ({config.timeout_seconds:g} seconds are allowed; {type(error).__name__}: {error})"
            )
            continue
        if status == 200:
            return content
        problem = f"status {status}: {_said(content)}"
        if status not in TRY_AGAIN:
            break
    raise ValueError(f"{config.url}: {problem}; asked {attempt + 1} times. The run continues from its last checkpoint")


def _said(content: bytes) -> str:
    return " ".join(content[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace").split())[:SHOWN_CHARACTERS] or "nothing"
