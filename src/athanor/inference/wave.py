"""Which waiting prompts are read together.

Equal prompts are read once, and a prompt that begins as one of the wave does waits for the next, where it finds that
beginning read (see `prefixes`).
"""

from collections import deque
from dataclasses import dataclass

from athanor.inference.prefixes import PREFIX_BLOCK, Node, Prefixes
from athanor.inference.request import Request

READ_TOKENS = 8192  # prompts are read at most this many tokens at a time (one long prompt may exceed it)


@dataclass(eq=False, slots=True)
class Waiting:
    """A request that has no row yet, and the blocks of its prompt that it may share."""

    ticket: int
    request: Request
    nodes: list[Node]


def next_wave(
    waiting: deque[Waiting], prefixes: Prefixes | None, room: int
) -> tuple[list[Waiting], list[list[Waiting]]]:
    """The requests to read together, at most `room`, and for each those with the same prompt; they wait no more.

    A request whose prompt goes on with a block that one of them reads waits for the next wave.
    """
    leaders: list[Waiting] = []
    followers: list[list[Waiting]] = []
    leader_of: dict[tuple[int, ...], int] = {}
    deferred: list[Waiting] = []
    being_read: set[Node] = set()
    num_tokens = num_rows = 0
    while waiting and num_rows < room and len(deferred) < room:
        candidate = waiting.popleft()
        prompt = tuple(candidate.request.prompt)
        num_held = 0 if prefixes is None else prefixes.held(candidate.nodes)
        num_unread = len(prompt) - num_held * PREFIX_BLOCK
        if prompt in leader_of and not candidate.request.prompt_log_probabilities:
            followers[leader_of[prompt]].append(candidate)
        elif not being_read.isdisjoint(candidate.nodes[num_held : num_held + 1]):
            deferred.append(candidate)
            continue
        elif leaders and num_tokens + num_unread > READ_TOKENS:
            waiting.appendleft(candidate)
            break
        else:
            leader_of.setdefault(prompt, len(leaders))
            leaders.append(candidate)
            followers.append([])
            being_read.update(candidate.nodes[num_held:])
            num_tokens += num_unread
        num_rows += 1
    waiting.extendleft(reversed(deferred))
    return leaders, followers
