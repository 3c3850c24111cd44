"""The tokenizer: text to token ids and back.

`decode(encode(text)) == text` for every text, since any byte is a token. Special tokens come from
`special_tokens` or `encode_with_special`, never from `encode`: a page that writes "<|user|>" stays a page.
A Python string can hold lone surrogates, which UTF-8 cannot; each becomes U+FFFD, as in tiktoken.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import read_json, write_json
from athanor.tokenizer.bpe_encode import Encoder
from athanor.tokenizer.chat_template import CHAT_TEMPLATE, END_OF_TURN, ROLE_TOKENS
from athanor.tokenizer.gpt2_files import read_gpt2_files
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.tokenizer_json import read_tokenizer_json, write_tokenizer_json
from athanor.tokenizer.vocabulary import Vocabulary

BEGIN_OF_TEXT, END_OF_TEXT = "<|begin_of_text|>", "<|end_of_text|>"
SPECIAL_TOKENS = (BEGIN_OF_TEXT, END_OF_TEXT, *ROLE_TOKENS.values(), END_OF_TURN)
"""What every vocabulary trained here ends with, in the order of their ids."""

_BATCH_BYTES = 1 << 22  # documents are encoded in batches of about this size, which stay in the cache


class Tokenizer:
    """A vocabulary with its encoder. One tokenizer may be used by many threads."""

    def __init__(self, vocabulary: Vocabulary, bos_token: str = BEGIN_OF_TEXT, eos_token: str = END_OF_TEXT) -> None:
        self.vocabulary = vocabulary
        self.bos_token, self.eos_token = bos_token, eos_token
        self._encoder = Encoder(vocabulary.merges, vocabulary.ids, vocabulary.split)

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """The tokenizer in `folder`: tokenizer.json, or GPT-2's encoder.json and vocab.bpe."""
        folder = Path(folder)
        if (folder / "tokenizer.json").exists():
            config_path = folder / "tokenizer_config.json"
            config = read_json(config_path) if config_path.exists() else {}
            bos, eos = (_token_text(config.get(key)) for key in ("bos_token", "eos_token"))
            return cls(read_tokenizer_json(folder / "tokenizer.json"), bos or BEGIN_OF_TEXT, eos or END_OF_TEXT)
        if (folder / "encoder.json").exists() and (folder / "vocab.bpe").exists():
            vocabulary = read_gpt2_files(folder / "encoder.json", folder / "vocab.bpe")
            return cls(vocabulary, "<|endoftext|>", "<|endoftext|>")
        raise ValueError(f"{folder}: no tokenizer.json there, nor encoder.json with vocab.bpe")

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers loads with identical ids."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_tokenizer_json(folder / "tokenizer.json", self.vocabulary)
        config: dict[str, object] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
        }
        for key, token in (("bos_token", self.bos_token), ("eos_token", self.eos_token)):
            if token in self.special_tokens:
                config[key] = token
        if all(token in self.special_tokens for token in SPECIAL_TOKENS):
            config["chat_template"] = CHAT_TEMPLATE
        write_json(folder / "tokenizer_config.json", config)

    @property
    def vocab_size(self) -> int:
        """Rows that an embedding table needs: one more than the largest id."""
        return self.vocabulary.size

    @property
    def special_tokens(self) -> dict[str, int]:
        """Text and id of the special tokens."""
        return self.vocabulary.special_tokens

    @property
    def sha256(self) -> str:
        """A hash of everything that decides which ids a text gets."""
        return self.vocabulary.sha256

    @property
    def bos_id(self) -> int:
        """The token before the first of a document."""
        return self.special_id(self.bos_token)

    @property
    def eos_id(self) -> int:
        """The token after the last of a document."""
        return self.special_id(self.eos_token)

    @property
    def end_of_turn_id(self) -> int:
        """The token after a message."""
        return self.special_id(END_OF_TURN)

    def special_id(self, token: str) -> int:
        """The id of a special token; raises ValueError where the vocabulary has none of that name."""
        if token not in self.special_tokens:
            known = ", ".join(self.special_tokens) or "none"
            raise ValueError(f"this vocabulary has no special token {token!r}; it has {known}")
        return self.special_tokens[token]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; what looks like a special token is plain text."""
        data = utf8(text)
        ids, _ = self._encoder.encode(with_slack(data), np.array([0, len(data)], np.int64))
        tokens: list[int] = ids.tolist()
        return tokens

    def encode_with_special(self, text: str) -> list[int]:
        """The ids of `text` with every special token in it as its one id. For text that you trust."""
        ids: list[int] = []
        for i, part in enumerate(self._special_pattern.split(text)):
            if i % 2:
                ids.append(self.special_tokens[part])
            elif part:
                ids += self.encode(part)
        return ids

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        """The ids of each text; as `encode`, much faster for many."""
        found: list[NDArray[np.uint32]] = []
        batch: list[bytes] = []
        size = 0
        for i, text in enumerate(texts):
            batch.append(utf8(text))
            size += len(batch[-1])
            if size >= _BATCH_BYTES or i == len(texts) - 1:
                ends = np.cumsum([0, *(len(data) for data in batch)], dtype=np.int64)
                ids, before = self.encode_bytes(with_slack(b"".join(batch)), ends)
                found += [ids[before[d] : before[d + 1]] for d in range(len(batch))]
                batch, size = [], 0
        return found

    def encode_bytes(
        self, text: NDArray[np.uint8], document_ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of UTF-8 documents end to end, and how many lie before each boundary (see `bpe_encode`)."""
        return self._encoder.encode(text, document_ends)

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD, or as `errors` of bytes.decode says."""
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, special tokens as their text; raises ValueError for an id that is no token."""
        table = self._bytes_by_id
        listed = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        try:
            return b"".join([table[token] for token in listed])
        except KeyError as error:
            raise ValueError(f"{error.args[0]} is no token of this vocabulary of {self.vocab_size}") from None

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token."""
        return self.decode_bytes([token_id])

    @cached_property
    def _bytes_by_id(self) -> dict[int, bytes]:
        ordinary = dict(zip(self.vocabulary.ids.tolist(), self.vocabulary.token_bytes, strict=True))
        return ordinary | {token_id: token.encode("utf-8") for token, token_id in self.special_tokens.items()}

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})" if longest_first else r"((?!))")


def utf8(text: str) -> bytes:
    """`text` as UTF-8; pairs of surrogates are joined, lone ones become U+FFFD."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode("utf-8")


def _token_text(value: object) -> str | None:
    """The text of a token in a tokenizer_config.json, which writes it as text or as a mapping."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None
