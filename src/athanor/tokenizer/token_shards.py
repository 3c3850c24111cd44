"""Token shards: documents as ids on disk, to be read at random through memory maps.

A dataset is a folder:

    00000.tok     4,096 bytes of header, then the tokens, little-endian, 2 bytes each where the vocabulary has
                  at most 65,536 tokens, else 4
    00000.idx     the same header with another mark, then for each document where it ends, as uint64
    tokens.json   what the dataset is: vocabulary, counts, SHA-256 of every shard; written last

A document is a begin-of-text token, its ids, an end-of-text token. `dataset_id` in tokens.json is a hash of
all that training can see, so that a continued run can refuse a dataset that has changed. A header is a mark
of eight bytes, then little-endian: format and bytes per token (uint32), tokens, documents and vocabulary size
(uint64), the tokenizer's SHA-256 (32 bytes), zeros.
"""

import bisect
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import atomic_path, read_json, sha256_of, write_json
from athanor.tokenizer.texts import read_texts
from athanor.tokenizer.tokenizer import Tokenizer

FORMAT = 1
MANIFEST = "tokens.json"
HEADER_BYTES = 4096  # one page, so that tokens are aligned in the map
_TOKEN_MARK, _INDEX_MARK = b"ATHANTOK", b"ATHANIDX"
_HEADER = struct.Struct("<8sIIQQQ32s")
_KEYS = (
    "dataset_id", "vocab_size", "bos_id", "eos_id", "tokenizer_sha256", "num_tokens", "num_documents", "num_bytes",
    "shards",
)  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """One pair of .tok and .idx files, as tokens.json lists it."""

    name: str
    num_tokens: int
    num_documents: int
    num_bytes: int
    """UTF-8 bytes of the texts."""
    size_bytes: int
    """Of the .tok file."""
    sha256: str
    index_sha256: str
    input_sha256: str
    """Of the document shard it was made from."""


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest type that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def write_token_shard(documents: Path, tokenizer: Tokenizer, folder: Path, name: str) -> Shard:
    """Encode the document shard `documents` into `folder`/`name`.tok and .idx."""
    dtype = token_dtype(tokenizer.vocab_size)
    num_tokens, num_bytes = 0, 0
    ends: list[NDArray[np.uint64]] = []
    with atomic_path(folder / f"{name}.tok") as temporary, temporary.open("wb") as file:
        file.write(bytes(HEADER_BYTES))
        for texts in read_texts(documents):
            ids, before = tokenizer.encode_bytes(texts.data, texts.ends)
            framed, document_ends = _framed(ids, before, tokenizer.bos_id, tokenizer.eos_id)
            file.write(checked_cast(framed, tokenizer.vocab_size).tobytes())
            ends.append((document_ends + num_tokens).astype("<u8"))
            num_tokens += len(framed)
            num_bytes += texts.num_bytes
        num_documents = sum(map(len, ends))
        counts = (num_tokens, num_documents, tokenizer.vocab_size, bytes.fromhex(tokenizer.sha256))
        _write_header(file, _TOKEN_MARK, dtype.itemsize, counts)
    with atomic_path(folder / f"{name}.idx") as temporary, temporary.open("wb") as file:
        _write_header(file, _INDEX_MARK, dtype.itemsize, counts)
        for part in ends:
            file.write(part.tobytes())
    return Shard(
        name=name,
        num_tokens=num_tokens,
        num_documents=num_documents,
        num_bytes=num_bytes,
        size_bytes=HEADER_BYTES + num_tokens * dtype.itemsize,
        sha256=sha256_of(folder / f"{name}.tok"),
        index_sha256=sha256_of(folder / f"{name}.idx"),
        input_sha256=sha256_of(documents),
    )


def write_dataset_manifest(folder: Path, tokenizer: Tokenizer, shards: Sequence[Shard]) -> dict[str, Any]:
    """Write `folder`/tokens.json, which makes the shards a dataset, and return its content."""
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "dtype": "u16" if token_dtype(tokenizer.vocab_size).itemsize == 2 else "u32",
        "vocab_size": tokenizer.vocab_size,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "tokenizer_sha256": tokenizer.sha256,
        "num_tokens": sum(shard.num_tokens for shard in shards),
        "num_documents": sum(shard.num_documents for shard in shards),
        "num_bytes": sum(shard.num_bytes for shard in shards),
        "shards": [asdict(shard) for shard in shards],
    }
    manifest["dataset_id"] = _dataset_id(manifest)
    write_json(folder / MANIFEST, manifest)
    return manifest


class TokenDataset:
    """The documents of a dataset as ids. Opening checks headers and sizes; `verify` reads everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        path = self.folder / MANIFEST
        if not path.exists():
            raise ValueError(f"{path} is missing: no token dataset there, or one whose writing never finished")
        manifest = _read_manifest(path)
        self.dataset_id: str = manifest["dataset_id"]
        self.vocab_size: int = manifest["vocab_size"]
        self.bos_id: int = manifest["bos_id"]
        self.eos_id: int = manifest["eos_id"]
        self.tokenizer_sha256: str = manifest["tokenizer_sha256"]
        self.num_tokens: int = manifest["num_tokens"]
        self.num_documents: int = manifest["num_documents"]
        self.num_bytes: int = manifest["num_bytes"]
        self.shards = [Shard(**entry) for entry in manifest["shards"]]
        self.dtype = token_dtype(self.vocab_size)
        if _dataset_id(manifest) != self.dataset_id:
            raise ValueError(f"{path}: dataset_id does not fit the rest of the file, which was changed by hand")
        self._tokens = [self._map(shard, "tok", _TOKEN_MARK, self.dtype, shard.num_tokens) for shard in self.shards]
        self._ends = [
            self._map(shard, "idx", _INDEX_MARK, np.dtype("<u8"), shard.num_documents) for shard in self.shards
        ]
        self._first_document = np.cumsum([0, *(shard.num_documents for shard in self.shards)]).tolist()

    def document(self, i: int) -> NDArray[Any]:
        """The ids of document `i`, with begin-of-text and end-of-text."""
        s, inside = self._place(i)
        ends = self._ends[s]
        start = int(ends[inside - 1]) if inside else 0
        found: NDArray[Any] = self._tokens[s][start : int(ends[inside])]
        return found

    def shard_of(self, i: int) -> tuple[Shard, int]:
        """The shard that holds document `i`, and its place there: the same as in the shard of documents."""
        s, inside = self._place(i)
        return self.shards[s], inside

    def _place(self, i: int) -> tuple[int, int]:
        if not 0 <= i < self.num_documents:
            raise IndexError(f"document {i} of {self.num_documents}")
        s = bisect.bisect_right(self._first_document, i) - 1
        return s, i - self._first_document[s]

    @cached_property
    def document_lengths(self) -> NDArray[np.int64]:
        """The number of tokens of every document; raises ValueError where an index is not that of its tokens."""
        lengths = [self._lengths(shard, ends) for shard, ends in zip(self.shards, self._ends, strict=True)]
        return np.concatenate(lengths) if lengths else np.zeros(0, np.int64)

    def _lengths(self, shard: Shard, ends: Any) -> NDArray[np.int64]:
        numbers: Any = ends.astype(np.int64)
        lengths: NDArray[np.int64] = np.diff(numbers, prepend=0)
        if np.any(lengths < 0) or (int(ends[-1]) if len(ends) else 0) != shard.num_tokens:
            path = self.folder / f"{shard.name}.idx"
            raise ValueError(f"{path}: document ends do not cover the tokens in order; encode the documents again")
        return lengths

    def _map(self, shard: Shard, suffix: str, mark: bytes, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
        """The numbers in one file as a read-only array, after its header and size were checked."""
        path = self.folder / f"{shard.name}.{suffix}"
        expected = HEADER_BYTES + length * dtype.itemsize
        size = path.stat().st_size if path.exists() else None
        if size != expected:
            raise ValueError(f"{path}: {'missing' if size is None else f'{size} bytes'}; expected {expected} bytes")
        with path.open("rb") as file:
            found = _HEADER.unpack(file.read(_HEADER.size))
        counts = (shard.num_tokens, shard.num_documents, self.vocab_size, bytes.fromhex(self.tokenizer_sha256))
        if found != (mark, FORMAT, self.dtype.itemsize, *counts):
            raise ValueError(f"{path}: its header does not fit {MANIFEST}; encode the documents again")
        if length == 0:  # an empty map cannot be opened
            return np.zeros(0, dtype)
        return np.memmap(path, dtype, mode="r", offset=HEADER_BYTES, shape=(length,))


def verify(folder: Path) -> TokenDataset:
    """The dataset in `folder`, after every byte was compared with its SHA-256 and every id with the vocabulary."""
    dataset = TokenDataset(folder)
    for shard, tokens in zip(dataset.shards, dataset._tokens, strict=True):
        for suffix, expected in (("tok", shard.sha256), ("idx", shard.index_sha256)):
            path = dataset.folder / f"{shard.name}.{suffix}"
            if (found := sha256_of(path)) != expected:
                raise ValueError(f"{path}: SHA-256 is {found}, expected {expected}; encode the documents again")
        if len(tokens) and int(tokens.max()) >= dataset.vocab_size:
            raise ValueError(f"{shard.name}.tok: id {int(tokens.max())} in a vocabulary of {dataset.vocab_size}")
    dataset.document_lengths  # noqa: B018 - raises where the ends are not in order
    return dataset


def checked_cast(ids: NDArray[Any], vocab_size: int) -> NDArray[Any]:
    """`ids` in the dataset's type; raises ValueError for an id outside the vocabulary, which would wrap."""
    if len(ids) and int(ids.max()) >= vocab_size:
        raise ValueError(f"id {int(ids.max())} in a vocabulary of {vocab_size}")
    return ids.astype(token_dtype(vocab_size))


def _framed(
    ids: NDArray[np.uint32], before: NDArray[np.int64], bos_id: int, eos_id: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The documents with a token before and after each, and where each then ends."""
    documents = np.arange(len(before) - 1)
    firsts, lasts = before[:-1] + 2 * documents, before[1:] + 2 * documents + 1
    framed = np.empty(len(ids) + 2 * len(documents), np.uint32)
    is_text = np.ones(len(framed), np.bool_)
    is_text[firsts] = is_text[lasts] = False
    framed[is_text] = ids
    framed[firsts], framed[lasts] = bos_id, eos_id
    return framed, lasts + 1


def _write_header(file: BinaryIO, mark: bytes, itemsize: int, counts: tuple[int, int, int, bytes]) -> None:
    file.seek(0)
    file.write(_HEADER.pack(mark, FORMAT, itemsize, *counts).ljust(HEADER_BYTES, b"\0"))


def _read_manifest(path: Path) -> dict[str, Any]:
    """The content of tokens.json; raises ValueError where it is not what `write_dataset_manifest` writes."""
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise ValueError(f"{path}: format {found!r}; this version reads {FORMAT}")
    missing = [key for key in _KEYS if key not in manifest]
    names = {entry.name for entry in fields(Shard)}
    if missing or not all(isinstance(shard, dict) and set(shard) == names for shard in manifest["shards"]):
        what = f"{', '.join(missing)} missing" if missing else f"expected shards of {', '.join(sorted(names))}"
        raise ValueError(f"{path}: {what}; encode the documents again")
    return manifest


def _dataset_id(manifest: Mapping[str, Any]) -> str:
    """A hash of what training can see of the dataset: the ids, their meaning and their order."""
    seen = {key: manifest[key] for key in ("format", "vocab_size", "bos_id", "eos_id", "tokenizer_sha256")}
    seen["shards"] = [[shard["sha256"], shard["index_sha256"]] for shard in manifest["shards"]]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
