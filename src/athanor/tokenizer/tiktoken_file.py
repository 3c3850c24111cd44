"""tiktoken's `.tiktoken` file: one token in base64 and its rank per line; neither split nor special tokens."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from athanor.core.artifact import write_bytes
from athanor.tokenizer.config import Split
from athanor.tokenizer.tokenizer_json import with_whole_words
from athanor.tokenizer.vocabulary import Vocabulary, byte_letters, name_of, vocabulary_of_names


def read_tiktoken(path: Path, split: Split, special_tokens: dict[str, int] | None = None) -> Vocabulary:
    """The vocabulary in a `.tiktoken` file, whose lines are a token in base64 and its rank.

    The file holds neither split nor special tokens, so they are given. The two halves that a token was
    merged from are those left when its bytes are merged with the ranks below its own. Where that is not so of every
    token, all ways to cut a token in two are merges, and a word that they do not lead to is a token all the same.
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
        if len(parts) != 2:  # tokens of another vocabulary were added, as Llama 3 did
            return _with_every_cut(ranks, split, dict(special_tokens or {}), path)
        pairs.append((index[parts[0]], index[parts[1]]))
        index[token] = 256 + len(pairs) - 1
        ids.append(rank)
    return Vocabulary(
        split, np.array(pairs, np.int32).reshape(-1, 2), np.array(ids, np.int32), dict(special_tokens or {})
    )


def write_tiktoken(path: Path, vocabulary: Vocabulary) -> None:
    """Write the `.tiktoken` file; its ranks are the ids, which must therefore follow the order of merges."""
    ranks = dict(zip(vocabulary.token_bytes, vocabulary.ids.tolist(), strict=True)) | vocabulary.whole_words
    if vocabulary.in_order:
        says_all = bool(np.all(np.diff(vocabulary.ids[256:]) > 0))
    else:
        every_cut = _with_every_cut(ranks, vocabulary.split, vocabulary.special_tokens, path)
        says_all = replace(every_cut, normalizer=vocabulary.normalizer).sha256 == vocabulary.sha256
    if not says_all:
        raise ValueError(f"{path}: ids do not follow the order of the merges, which a .tiktoken file requires")
    entries = sorted((rank, token) for token, rank in ranks.items())
    write_bytes(path, b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in entries))


def _with_every_cut(ranks: Mapping[bytes, int], split: Split, special: dict[str, int], path: Path) -> Vocabulary:
    letters = byte_letters()
    names = {name_of(token, letters): rank for token, rank in ranks.items()}
    cuts = [(name[:i], name[i:]) for name in names for i in range(1, len(name))]
    merges = [cut for cut in cuts if cut[0] in names and cut[1] in names]
    merges.sort(key=lambda cut: (names[cut[0] + cut[1]], names[cut[0]], names[cut[1]]))
    return with_whole_words(vocabulary_of_names(names, merges, split, special, path), names)


def _merged_below(token: bytes, ranks: Mapping[bytes, int], limit: int) -> list[bytes]:
    """The parts of `token` once every pair whose rank is below `limit` is merged."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while True:
        candidates = [(ranks.get(parts[i] + parts[i + 1], limit), i) for i in range(len(parts) - 1)]
        rank, at = min(candidates, default=(limit, 0))
        if rank >= limit:
            return parts
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
