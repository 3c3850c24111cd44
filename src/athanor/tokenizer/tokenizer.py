"""The tokenizer: text to token ids and back.

`decode(encode(text)) == text` for every text, since any byte is a token (where the vocabulary normalizes, for every
text in that form). Special tokens come from
`special_tokens` or `encode_with_special`, never from `encode`: a page that writes "<|user|>" stays a page.
A Python string can hold lone surrogates, which UTF-8 cannot; each becomes U+FFFD, as in tiktoken.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.core import console
from athanor.core.artifact import read_json, write_json
from athanor.tokenizer.bpe_encode import Encoder
from athanor.tokenizer.chat_jinja import JinjaTemplate
from athanor.tokenizer.chat_named import CHAT_TEMPLATE, TEMPLATES, TemplateName
from athanor.tokenizer.chat_named import SPECIAL_TOKENS as TOKENS_OF_TEMPLATES
from athanor.tokenizer.chat_template import END_OF_TURN, ROLE_TOKENS
from athanor.tokenizer.gigatoken_encoder import GigatokenEncoder, NoGigatoken
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

    def __init__(
        self,
        vocabulary: Vocabulary,
        bos_token: str = BEGIN_OF_TEXT,
        eos_token: str = END_OF_TEXT,
        chat_template: str | None = None,
    ) -> None:
        """`chat_template` is Jinja; none: the package's own where the vocabulary has its tokens."""
        self.vocabulary = vocabulary
        self.bos_token, self.eos_token = bos_token, eos_token
        self._chat_source = chat_template
        self._encoder = Encoder(
            vocabulary.merges, vocabulary.ids, vocabulary.split, vocabulary.made, vocabulary.whole_words
        )
        self._peer: GigatokenEncoder | None = None

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """The tokenizer in `folder`: tokenizer.json, or GPT-2's encoder.json and vocab.bpe."""
        folder = Path(folder)
        if (folder / "tokenizer.json").exists():
            config_path = folder / "tokenizer_config.json"
            config = read_json(config_path) if config_path.exists() else {}
            if not isinstance(config, dict):
                raise ValueError(f"{config_path}: expected an object, found {type(config).__name__}")
            bos, eos = (_token_text(config.get(key)) for key in ("bos_token", "eos_token"))
            vocabulary = read_tokenizer_json(folder / "tokenizer.json")
            return cls(vocabulary, bos or BEGIN_OF_TEXT, eos or END_OF_TEXT, read_chat_template(folder))
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
        if self.has_chat_template:
            config["chat_template"] = self.chat_template
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
        """The token before the first of a document; the end-of-text token where there is no other, as in Qwen."""
        return self.special_id(self.bos_token) if self.bos_token in self.special_tokens else self.eos_id

    @property
    def eos_id(self) -> int:
        """The token after the last of a document."""
        return self.special_id(self.eos_token)

    @property
    def end_of_turn_id(self) -> int:
        """The token after a message of the assistant."""
        if self.jinja_template is not None:
            return self.jinja_template.end_of_turn_id(self)
        return self.special_id(END_OF_TURN)

    @property
    def stop_ids(self) -> list[int]:
        """The tokens after which nothing is to be generated: end of text, end of turn, as far as there are any."""
        found = [self.special_tokens[self.eos_token]] if self.eos_token in self.special_tokens else []
        ends = [self.end_of_turn_id] if self.has_chat_template else []
        return [*found, *(token for token in ends if token not in found)]

    @property
    def has_chat_template(self) -> bool:
        """Whether conversations can be written."""
        return self._chat_source is not None or self._has(SPECIAL_TOKENS)

    @property
    def chat_template(self) -> str:
        """The chat template as Jinja; raises ValueError where there is none."""
        template = self.jinja_template
        return CHAT_TEMPLATE if template is None else template.source

    @cached_property
    def jinja_template(self) -> JinjaTemplate | None:
        """The chat template, None for the package's own, which needs no Jinja.

        Raises ValueError where there is none, or where it does not fit the vocabulary.
        """
        if not self.has_chat_template:
            raise ValueError(
                "this tokenizer has no chat template; choose one by name when fine-tuning: "
                f"chat_template: {', '.join(TEMPLATES)}"
            )
        if self._chat_source in (None, CHAT_TEMPLATE) and self._has(SPECIAL_TOKENS):
            return None
        variables = {"bos_token": self.bos_token, "eos_token": self.eos_token}
        present = {name: token for name, token in variables.items() if token in self.special_tokens}
        # a template may read thinking out of a content, so these stay what they are
        spelled = [token for token in self.special_tokens if token not in ("<think>", "</think>")]
        return JinjaTemplate(self._chat_source or CHAT_TEMPLATE, present, spelled).checked(self)

    def with_chat_template(self, name: TemplateName) -> "Tokenizer":
        """The same tokenizer with a chat template by name, and with its special tokens where they are missing."""
        missing = [token for token in TOKENS_OF_TEMPLATES[name] if token not in self.special_tokens]
        first = self.vocab_size
        added = {token: first + i for i, token in enumerate(missing)}
        vocabulary = replace(self.vocabulary, special_tokens=self.special_tokens | added)
        source = None if name == "athanor" else TEMPLATES[name]
        bos = BEGIN_OF_TEXT if name == "athanor" else self.bos_token
        return Tokenizer(vocabulary, bos, self.eos_token, source)

    def _has(self, tokens: Iterable[str]) -> bool:
        return all(token in self.special_tokens for token in tokens)

    def special_id(self, token: str) -> int:
        """The id of a special token; raises ValueError where the vocabulary has none of that name."""
        if token not in self.special_tokens:
            known = ", ".join(self.special_tokens) or "none"
            raise ValueError(f"this vocabulary has no special token {token!r}; it has {known}")
        return self.special_tokens[token]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; what looks like a special token is plain text."""
        data = utf8(self._normal(text))
        ids, _ = self._encoder.encode(with_slack(data), np.array([0, len(data)], np.int64))
        tokens: list[int] = ids.tolist()
        return tokens

    def encode_with_special(self, text: str) -> list[int]:
        """The ids of `text` with every special token in it as its one id. For text that you trust."""
        ids: list[int] = []
        for part, special in self.parts(text):
            ids += self.encode(part) if special is None else [special]
        return ids

    def parts(self, text: str) -> Iterator[tuple[str, int | None]]:
        """`text` cut at its special tokens, each part with its id where it is one."""
        for i, part in enumerate(self._special_pattern.split(text)):
            if part:
                yield part, self.special_tokens[part] if i % 2 else None

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
        if self.vocabulary.normalizer:
            whole = text[: int(document_ends[-1])].tobytes()
            ends = document_ends.tolist()
            parts = [utf8(self._normal(whole[a:b].decode("utf-8"))) for a, b in pairwise(ends)]
            text = with_slack(b"".join(parts))
            document_ends = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
        if self._peer is not None:
            try:
                return self._peer.encode(text, document_ends)
            except NoGigatoken as error:
                console.warn(f"{error}; the rest is encoded by athanor")
                self._peer = None
        return self._encoder.encode(text, document_ends)

    def use_gigatoken(self) -> bool:
        """Encode documents by the library gigatoken from here on, where its ids are ours; else tell why not."""
        try:
            self._peer = GigatokenEncoder(self.vocabulary, self._encoder)
        except NoGigatoken as error:
            console.warn(f"{error}; text is encoded by athanor")
        return self._peer is not None

    def _normal(self, text: str) -> str:
        """`text` as the vocabulary wants it before it is encoded."""
        if not self.vocabulary.normalizer:
            return text
        return unicodedata.normalize(self.vocabulary.normalizer, text)

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
        ordinary |= {token_id: word for word, token_id in self.vocabulary.whole_words.items()}
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


def read_chat_template(folder: Path) -> str | None:
    """The Jinja of a Hugging Face folder: chat_template.jinja, or the entry of tokenizer_config.json."""
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    path = folder / "tokenizer_config.json"
    found = read_json(path).get("chat_template") if path.exists() else None
    if isinstance(found, list):  # several under names: for tools, for documents
        by_name = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = by_name.get("default")
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{path}: chat_template is {type(found).__name__}, expected Jinja as text")
    return found


def _token_text(value: object) -> str | None:
    """The text of a token in a tokenizer_config.json, which writes it as text or as a mapping."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None
