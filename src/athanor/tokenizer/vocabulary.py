"""A vocabulary: which merges, which id each token has, which tokens are special.

The files it lives in are read and written by `tokenizer_json` (Hugging Face), `gpt2_files` (encoder.json with
vocab.bpe) and `tiktoken_file`. Only byte-level BPE is read, with a split that `pretokenize` knows; anything
else is refused by name.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from athanor.tokenizer.config import Split
from athanor.tokenizer.pretokenize import PATTERNS


@dataclass(frozen=True)
class Vocabulary:
    """Merges with the ids of what they make. Bytes are tokens 0 to 255, merge `i` makes token 256 + i."""

    split: Split
    merges: NDArray[np.int32]
    """One row (left, right) a merge, in order."""
    ids: NDArray[np.int32]
    """The id of each of these tokens."""
    special_tokens: dict[str, int]
    """Text and id of tokens that no text merges to."""
    normalizer: Literal["", "NFC"] = ""
    """What is done to a text before it is encoded: nothing, or Unicode's composed form, as Qwen does."""

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes of each token: 256 single bytes, then what each merge makes."""
        made = [bytes([byte]) for byte in range(256)]
        for left, right in self.merges.tolist():
            made.append(made[left] + made[right])
        return made

    @cached_property
    def sha256(self) -> str:
        """A hash of what decides encoding: the split, merges, ids and special tokens."""
        state = hashlib.sha256()
        state.update(json.dumps(["athanor vocabulary 1", PATTERNS[self.split], self.special_tokens]).encode())
        state.update(self.normalizer.encode())
        state.update(np.ascontiguousarray(self.merges, "<i4").tobytes())
        state.update(np.ascontiguousarray(self.ids, "<i4").tobytes())
        return state.hexdigest()

    @property
    def size(self) -> int:
        """One more than the largest id: the rows of an embedding table."""
        return max(int(self.ids.max()), *self.special_tokens.values(), 0) + 1


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
    pairs = []
    for number, merge in enumerate(merges):
        joined = "".join(merge)
        if len(merge) != 2 or merge[0] not in known or merge[1] not in known or joined not in names:
            raise ValueError(f"{path}: merge {number} {merge!r} does not join two earlier tokens to one with an id")
        pairs.append((known[merge[0]], known[merge[1]]))
        known.setdefault(joined, 256 + number)
        ids.append(names[joined])
    return Vocabulary(split, np.array(pairs, np.int32).reshape(-1, 2), np.array(ids, np.int32), special)


def names_of(vocabulary: Vocabulary) -> list[str]:
    """The tokens spelled with one letter a byte, in the order of the merges."""
    letters = byte_letters()
    return ["".join(letters[byte] for byte in token) for token in vocabulary.token_bytes]


def byte_letters() -> list[str]:
    """A printable letter for each byte (GPT-2): itself where it prints, else the next from U+0100 on."""
    prints = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unprinted = [byte for byte in range(256) if byte not in prints]
    return [chr(byte) if byte in prints else chr(0x100 + unprinted.index(byte)) for byte in range(256)]
