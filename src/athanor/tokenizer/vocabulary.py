"""A vocabulary: which merges, which id each token has, which tokens are special.

The files it lives in are read and written by `tokenizer_json` (Hugging Face), `gpt2_files` (encoder.json with
vocab.bpe) and `tiktoken_file`. Only byte-level BPE is read, with a split that `pretokenize` knows; anything
else is refused by name.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from athanor.tokenizer.config import Split
from athanor.tokenizer.pretokenize import PATTERNS


@dataclass(frozen=True)
class Vocabulary:
    """Merges with the ids of what they make. Bytes are tokens 0 to 255, merge `i` makes token `made[i]`."""

    split: Split
    merges: NDArray[np.int32]
    """One row (left, right) a merge, in order."""
    ids: NDArray[np.int32]
    """The id of each of these tokens."""
    special_tokens: dict[str, int]
    """Text and id of tokens that no text merges to."""
    normalizer: Literal["", "NFC"] = ""
    """What is done to a text before it is encoded: nothing, or Unicode's composed form, as Qwen does."""
    products: NDArray[np.int32] | None = None
    """The token that each merge makes, where several make the same one or a merge stands before those that make its
    parts, as in files converted from tiktoken (Llama 3); None: merge `i` makes token 256 + i."""
    whole_words: dict[bytes, int] = field(default_factory=dict)
    """Words with an id of their own that their merges do not lead to (`ignore_merges` in tokenizer.json)."""

    @property
    def made(self) -> NDArray[np.int32]:
        """The token that each merge makes."""
        return np.arange(256, 256 + len(self.merges), dtype=np.int32) if self.products is None else self.products

    @property
    def in_order(self) -> bool:
        """Whether the merges alone, each making the next token, say all."""
        return self.products is None and not self.whole_words

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes of each token: 256 single bytes, then those that merges make."""
        found: dict[int, bytes] = {byte: bytes([byte]) for byte in range(256)}
        waiting = [
            (left, right, made) for (left, right), made in zip(self.merges.tolist(), self.made.tolist(), strict=True)
        ]
        while waiting:
            later = []
            for left, right, made in waiting:
                if left in found and right in found:
                    found[made] = found[left] + found[right]
                else:
                    later.append((left, right, made))
            if len(later) == len(waiting):
                raise ValueError(f"{len(later)} merges join tokens that no merge makes, the first is {later[0][:2]}")
            waiting = later
        return [found[token] for token in range(len(self.ids))]

    @cached_property
    def sha256(self) -> str:
        """A hash of what decides encoding: the split, merges, ids and special tokens."""
        state = hashlib.sha256()
        state.update(json.dumps(["athanor vocabulary 1", PATTERNS[self.split], self.special_tokens]).encode())
        state.update(self.normalizer.encode())
        state.update(np.ascontiguousarray(self.merges, "<i4").tobytes())
        state.update(np.ascontiguousarray(self.ids, "<i4").tobytes())
        if not self.in_order:
            state.update(np.ascontiguousarray(self.made, "<i4").tobytes())
            state.update(json.dumps(sorted((word.hex(), i) for word, i in self.whole_words.items())).encode())
        return state.hexdigest()

    @property
    def size(self) -> int:
        """One more than the largest id: the rows of an embedding table."""
        return max(int(self.ids.max()), *self.special_tokens.values(), *self.whole_words.values(), 0) + 1


def trained_vocabulary(split: Split, merges: NDArray[np.int32], special_tokens: Sequence[str]) -> Vocabulary:
    """The vocabulary of merges trained here: bytes, then merges, then special tokens."""
    num_ordinary = 256 + len(merges)
    special = {token: num_ordinary + i for i, token in enumerate(special_tokens)}
    return Vocabulary(split, merges, np.arange(num_ordinary, dtype=np.int32), special)


def vocabulary_of_names(
    names: Mapping[str, int],
    merges: Sequence[tuple[str, ...]],
    split: Split,
    special: dict[str, int],
    path: Path,
) -> Vocabulary:
    """A vocabulary from tokens spelled with one letter a byte, as GPT-2 does."""
    letters = byte_letters()
    known = {letters[byte]: byte for byte in range(256)}
    missing = [f"{byte:#04x}" for byte in range(256) if letters[byte] not in names]
    if missing:
        raise ValueError(f"{path}: no token for the bytes {', '.join(missing[:8])}; expected all 256")
    ids = [names[letters[byte]] for byte in range(256)]
    for number, merge in enumerate(merges):
        if len(merge) != 2 or not {*merge, "".join(merge)} <= names.keys():
            raise ValueError(f"{path}: merge {number} {merge!r} does not join two tokens to one with an id")
    merges = _reached(merges, known)
    for left, right in merges:
        if left + right not in known:
            known[left + right] = len(ids)
            ids.append(names[left + right])
    pairs = np.array([(known[left], known[right]) for left, right in merges], np.int32).reshape(-1, 2)
    made = np.array([known["".join(merge)] for merge in merges], np.int32)
    in_order = np.array_equal(made, np.arange(256, 256 + len(made))) and bool((pairs < made[:, None]).all())
    return Vocabulary(split, pairs, np.array(ids, np.int32), special, products=None if in_order else made)


def _reached(merges: Sequence[tuple[str, ...]], letters: Iterable[str]) -> list[tuple[str, ...]]:
    """The merges whose parts are letters or made by other merges; the rest can never be done."""
    reached, waiting = set(letters), list(merges)
    while True:
        later = []
        for merge in waiting:
            if merge[0] in reached and merge[1] in reached:
                reached.add("".join(merge))
            else:
                later.append(merge)
        if len(later) == len(waiting):
            return [merge for merge in merges if merge[0] in reached and merge[1] in reached]
        waiting = later


def names_of(vocabulary: Vocabulary) -> list[str]:
    """The tokens spelled with one letter a byte."""
    letters = byte_letters()
    return [name_of(token, letters) for token in vocabulary.token_bytes]


def name_of(token: bytes, letters: Sequence[str]) -> str:
    """A token spelled with one of `byte_letters` a byte."""
    return "".join(letters[byte] for byte in token)


def byte_letters() -> list[str]:
    """A printable letter for each byte (GPT-2): itself where it prints, else the next from U+0100 on."""
    prints = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unprinted = [byte for byte in range(256) if byte not in prints]
    return [chr(byte) if byte in prints else chr(0x100 + unprinted.index(byte)) for byte in range(256)]
