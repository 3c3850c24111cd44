"""Beginnings of prompts that several requests share, read once.

A trie over blocks of tokens (as in vLLM's and SGLang's prefix caches: Kwon et al. 2023; Zheng et al. 2024): a node is
one more block after those above it, and may hold the keys and values of its tokens. Tokens are compared, not hashes,
so two prompts are never confused. A block is held while another waiting request begins with it, or, where the
engine is told to remember, for whoever comes later; beyond the limit of memory what was used longest ago goes first,
leaves before what they stand on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

# L layers, P positions, G key-value heads, K head width; 2L: keys of layer 0, values of layer 0, keys of layer 1, ...

PREFIX_BLOCK = 16  # tokens; what is shared beyond whole blocks is read by everyone
DEFAULT_BYTES = 256 * 2**20


@dataclass(eq=False, slots=True)
class Node:
    """A block of tokens after those of the nodes above."""

    above: "Node | None" = None
    tokens: tuple[int, ...] = ()
    below: "dict[tuple[int, ...], Node]" = field(default_factory=dict)
    held_2LPGK: Tensor | None = None
    num_waiting: int = 0
    """Waiting requests that begin with this block and those above."""
    used: int = 0
    """When it was last read or written."""


class Prefixes:
    """The trie, within `limit_bytes`."""

    def __init__(self, limit_bytes: int = DEFAULT_BYTES, remember: bool = False) -> None:
        self.size_bytes = 0
        """What is held now."""
        self.remember = remember
        """Whether blocks are held that nobody waits for yet."""
        self._limit_bytes = limit_bytes
        self._root = Node()
        self._holding: dict[Node, None] = {}
        self._clock = 0

    def expect(self, prompt: Sequence[int]) -> list[Node]:
        """The nodes of a request that begins to wait; `release` them when it waits no more."""
        nodes = self._path(prompt[:-1])  # the last token is always read: it predicts the first new one
        for node in nodes:
            node.num_waiting += 1
        return nodes

    def release(self, nodes: Sequence[Node]) -> None:
        """A request waits no more; what no other waits for is forgotten, unless it is to be remembered."""
        for node in reversed(nodes):
            node.num_waiting -= 1
            if node.num_waiting == 0 and not self.remember:
                self._forget(node)
            self._prune(node)

    def held(self, nodes: Sequence[Node]) -> int:
        """How many of the first nodes hold their keys and values."""
        for number, node in enumerate(nodes):
            if node.held_2LPGK is None:
                return number
        return len(nodes)

    def beginning(self, nodes: Sequence[Node]) -> list[Tensor]:
        """Keys and values [2L, P, G, K] of the first blocks, as far as they are held."""
        self._clock += 1
        blocks = []
        for node in nodes:
            if node.held_2LPGK is None:
                break
            node.used = self._clock
            blocks.append(node.held_2LPGK)
        return blocks

    def store(self, nodes: Sequence[Node], copy: Callable[[int, int], Tensor]) -> None:
        """Holds what `copy(start, end)` gives for those blocks of a request that is no more to wait and others want."""
        self._clock += 1
        for number, node in enumerate(nodes):
            if node.held_2LPGK is None and (self.remember or node.num_waiting > 1):
                self._hold(node, copy(number * PREFIX_BLOCK, (number + 1) * PREFIX_BLOCK))

    def store_text(self, tokens: Sequence[int], copy: Callable[[int, int], Tensor]) -> None:
        """The same for all whole blocks of a text that has ended; does nothing unless it is to be remembered."""
        if self.remember:
            nodes = self._path(tokens)
            self.store(nodes, copy)
            for node in reversed(nodes):
                self._prune(node)

    def _path(self, tokens: Sequence[int]) -> list[Node]:
        node, nodes = self._root, []
        for start in range(0, len(tokens) - PREFIX_BLOCK + 1, PREFIX_BLOCK):
            block = tuple(tokens[start : start + PREFIX_BLOCK])
            below = node.below.get(block)
            if below is None:
                below = node.below[block] = Node(node, block)
            nodes.append(below)
            node = below
        return nodes

    def _hold(self, node: Node, held_2LPGK: Tensor) -> None:
        size = held_2LPGK.numel() * held_2LPGK.element_size()
        while self.size_bytes + size > self._limit_bytes:
            # what was used by this very call has the latest clock and stays
            ends = [n for n in self._holding if n.used < self._clock and _is_end(n)]
            if not ends:
                return
            oldest = min(ends, key=lambda n: n.used)
            self._forget(oldest)
            self._prune(oldest)
        node.held_2LPGK, node.used = held_2LPGK, self._clock
        self._holding[node] = None
        self.size_bytes += size

    def _forget(self, node: Node) -> None:
        if node.held_2LPGK is not None:
            self.size_bytes -= node.held_2LPGK.numel() * node.held_2LPGK.element_size()
            node.held_2LPGK = None
            del self._holding[node]

    def _prune(self, node: Node) -> None:
        """Takes a node that is of no use any more out of the trie."""
        if node.above is not None and node.held_2LPGK is None and not node.num_waiting and not node.below:
            node.above.below.pop(node.tokens, None)


def _is_end(node: Node) -> bool:
    return all(below.held_2LPGK is None for below in node.below.values())
