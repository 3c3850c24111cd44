"""A vocabulary: which merges, which id each token has, which tokens are special; and the files it lives in.

Read: Hugging Face `tokenizer.json`, GPT-2's `encoder.json` with `vocab.bpe`, tiktoken's `.tiktoken`.
Written: `tokenizer.json` (which `tokenizers`, transformers and vLLM load with identical ids) and `.tiktoken`.
Only byte-level BPE is read, with a split that `pretokenize` knows; anything else is refused by name.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import read_json, write_bytes, write_text
from athanor.tokenizer.config import Split
from athanor.tokenizer.pretokenize import PATTERNS

# Other spellings of the same cuts, as published files hold them. Possessive quantifiers save time, no more.
_CONTRACTIONS, _CONTRACTIONS_ANY_CASE = r"'(?:[sdmt]|ll|ve|re)", r"'(?i:[sdmt]|ll|ve|re)"
_SAME_CUTS: dict[str, Split] = {
    **{pattern: split for split, pattern in reversed(PATTERNS.items())},
    _CONTRACTIONS_ANY_CASE
    + r"|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+": "gpt4",
    _CONTRACTIONS_ANY_CASE
    + r"|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s": "cl100k",
    _CONTRACTIONS + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    _CONTRACTIONS + r"| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s": "gpt2",
}


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


# --- Hugging Face tokenizer.json ---


def write_tokenizer_json(path: Path, vocabulary: Vocabulary) -> None:
    """Write the file that Hugging Face `tokenizers` loads."""
    letters = _byte_letters()
    names = ["".join(letters[byte] for byte in token) for token in vocabulary.token_bytes]
    by_id = sorted(zip(vocabulary.ids.tolist(), names, strict=True))
    special = sorted(vocabulary.special_tokens.items(), key=lambda entry: entry[1])
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token_id,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token, token_id in special
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": PATTERNS[vocabulary.split]},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {name: token_id for token_id, name in by_id},
            "merges": [[names[left], names[right]] for left, right in vocabulary.merges.tolist()],
        },
    }
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_tokenizer_json(path: Path) -> Vocabulary:
    """The vocabulary in a Hugging Face `tokenizer.json`; raises ValueError where it is not byte-level BPE."""
    value = read_json(path)
    model = value.get("model") or {}
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise ValueError(f"{path}: its model is {model.get('type')!r}; only byte-level BPE can be read")
    if value.get("normalizer"):
        raise ValueError(
            f"{path}: it normalizes text ({value['normalizer'].get('type')}), so decoding would not undo it"
        )
    split = _split_of(value.get("pre_tokenizer"), path)
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    special = {entry["content"]: entry["id"] for entry in value.get("added_tokens", [])}
    vocabulary = _from_names(model["vocab"], merges, split, special, path)
    if model.get("ignore_merges"):
        _require_reachable(vocabulary, path)
    return vocabulary


def _split_of(pre_tokenizer: Any, path: Path) -> Split:
    """The split that the pre-tokenizer of a tokenizer.json makes."""
    parts = [pre_tokenizer or {}]
    if parts[0].get("type") == "Sequence":
        parts = parts[0]["pretokenizers"]
    byte_level = [part for part in parts if part.get("type") == "ByteLevel"]
    splits = [part for part in parts if part.get("type") == "Split"]
    if len(byte_level) != 1 or len(byte_level) + len(splits) != len(parts) or byte_level[0].get("add_prefix_space"):
        found = ", ".join(str(part.get("type")) for part in parts)
        raise ValueError(f"{path}: its pre-tokenizer is {found}; expected Split and ByteLevel without a prefix space")
    if byte_level[0].get("use_regex", True):
        patterns = [PATTERNS["gpt2"]] + [str(part.get("pattern")) for part in splits]
    else:
        patterns = [part["pattern"].get("Regex", "") for part in splits]
    if len(patterns) != 1 or patterns[0] not in _SAME_CUTS:
        raise ValueError(f"{path}: it splits by {patterns}; known are the splits {', '.join(PATTERNS)}")
    return _SAME_CUTS[patterns[0]]


def _require_reachable(vocabulary: Vocabulary, path: Path) -> None:
    """Raise ValueError where whole words are tokens that the merges alone do not make."""
    from athanor.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer(vocabulary)
    for token, token_id in zip(vocabulary.token_bytes, vocabulary.ids.tolist(), strict=True):
        try:
            text = token.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if len(ids := tokenizer.encode(text)) == 1 and ids != [token_id]:
            raise ValueError(f"{path}: it ignores merges for {text!r}, which this reader does not do")


# --- GPT-2's encoder.json and vocab.bpe ---


def read_gpt2_files(encoder_json: Path, vocab_bpe: Path) -> Vocabulary:
    """The vocabulary in the two files that OpenAI published with GPT-2."""
    names: dict[str, int] = read_json(encoder_json)
    lines = vocab_bpe.read_text(encoding="utf-8").split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    special = {name: token_id for name, token_id in names.items() if name.startswith("<|") and name.endswith("|>")}
    ordinary = {name: token_id for name, token_id in names.items() if name not in special}
    return _from_names(ordinary, merges, "gpt2", special, vocab_bpe)


def _from_names(
    names: Mapping[str, int],
    merges: Sequence[tuple[str, ...]],
    split: Split,
    special: dict[str, int],
    path: Path,
) -> Vocabulary:
    """A vocabulary from tokens spelled with one letter a byte, as GPT-2 does."""
    letters = _byte_letters()
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


def _byte_letters() -> list[str]:
    """A printable letter for each byte (GPT-2): itself where it prints, else the next from U+0100 on."""
    prints = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unprinted = [byte for byte in range(256) if byte not in prints]
    return [chr(byte) if byte in prints else chr(0x100 + unprinted.index(byte)) for byte in range(256)]


# --- tiktoken ---


def read_tiktoken(path: Path, split: Split, special_tokens: dict[str, int] | None = None) -> Vocabulary:
    """The vocabulary in a `.tiktoken` file, whose lines are a token in base64 and its rank.

    The file holds neither split nor special tokens, so they are given. The two halves that a token was
    merged from are those left when its bytes are merged with the ranks below its own.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line:
            continue
        try:
            encoded, written_rank = line.split()
            ranks[base64.b64decode(encoded, validate=True)] = int(written_rank)
        except ValueError as error:
            raise ValueError(f"{path}: line {number} is not a token in base64 and its rank: {line[:60]!r}") from error
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise ValueError(f"{path}: no token for the bytes {missing[:8]}; expected all 256")
    index = {bytes([byte]): byte for byte in range(256)}
    ids = [ranks[bytes([byte])] for byte in range(256)]
    pairs = []
    for token, rank in sorted(ranks.items(), key=lambda entry: entry[1]):
        if len(token) == 1:
            continue
        parts = _merged_below(token, ranks, rank)
        if len(parts) != 2:
            raise ValueError(f"{path}: token {rank} {token!r} is not a merge of two tokens of lower rank")
        pairs.append((index[parts[0]], index[parts[1]]))
        index[token] = 256 + len(pairs) - 1
        ids.append(rank)
    return Vocabulary(
        split, np.array(pairs, np.int32).reshape(-1, 2), np.array(ids, np.int32), dict(special_tokens or {})
    )


def write_tiktoken(path: Path, vocabulary: Vocabulary) -> None:
    """Write the `.tiktoken` file; its ranks are the ids, which must therefore follow the order of merges."""
    if np.any(np.diff(vocabulary.ids[256:]) <= 0):
        raise ValueError(f"{path}: ids do not follow the order of the merges, which a .tiktoken file requires")
    entries = sorted(zip(vocabulary.ids.tolist(), vocabulary.token_bytes, strict=True))
    write_bytes(path, b"".join(base64.b64encode(token) + b" %d\n" % token_id for token_id, token in entries))


def _merged_below(token: bytes, ranks: Mapping[bytes, int], limit: int) -> list[bytes]:
    """The parts of `token` once every pair whose rank is below `limit` is merged."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while True:
        candidates = [(ranks.get(parts[i] + parts[i + 1], limit), i) for i in range(len(parts) - 1)]
        rank, at = min(candidates, default=(limit, 0))
        if rank >= limit:
            return parts
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
