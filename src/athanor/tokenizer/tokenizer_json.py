"""Hugging Face `tokenizer.json`: read, and written so that `tokenizers`, transformers and vLLM load it with
identical ids.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from athanor.core.artifact import read_json, write_text
from athanor.tokenizer.config import Split
from athanor.tokenizer.pretokenize import PATTERNS, split
from athanor.tokenizer.vocabulary import Vocabulary, byte_letters, name_of, names_of, vocabulary_of_names

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


def write_tokenizer_json(path: Path, vocabulary: Vocabulary) -> None:
    """Write the file that Hugging Face `tokenizers` loads."""
    write_text(path, tokenizer_json_text(vocabulary) + "\n")


def tokenizer_json_text(vocabulary: Vocabulary, special_tokens: bool = True) -> str:
    """The content of that file; without `special_tokens` as if the vocabulary had none."""
    names = names_of(vocabulary)
    letters = byte_letters()
    whole = [(token_id, name_of(word, letters)) for word, token_id in vocabulary.whole_words.items()]
    by_id = sorted({*zip(vocabulary.ids.tolist(), names, strict=True), *whole})
    named = vocabulary.special_tokens if special_tokens else {}
    special = sorted(named.items(), key=lambda entry: entry[1])
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(token, token_id) for token, token_id in special],
        "normalizer": {"type": vocabulary.normalizer} if vocabulary.normalizer else None,
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
            "ignore_merges": bool(vocabulary.whole_words),
            "vocab": {name: token_id for token_id, name in by_id},
            "merges": [[names[left], names[right]] for left, right in vocabulary.merges.tolist()],
        },
    }
    return json.dumps(value, ensure_ascii=False, indent=1)


def added_token(token: str, token_id: int) -> dict[str, Any]:
    """A special token as the file lists it."""
    return {
        "id": token_id,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def read_tokenizer_json(path: Path) -> Vocabulary:
    """The vocabulary in a Hugging Face `tokenizer.json`; raises ValueError where it is not byte-level BPE."""
    value = read_json(path)
    model = value.get("model") if isinstance(value, dict) else None
    model = model if isinstance(model, dict) else {}
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise ValueError(f"{path}: its model is {model.get('type')!r}; only byte-level BPE can be read")
    if model.get("byte_fallback"):
        raise ValueError(
            f"{path}: a SentencePiece tokenizer (BPE with byte fallback, as Llama 1 and 2 and Mistral have); byte-level"
            " BPE can be read: GPT-2, GPT-4, Llama 3, Qwen 2 and 3, and what is trained here"
        )
    normalizer = (value.get("normalizer") or {}).get("type", "")
    if normalizer not in ("", "NFC"):
        raise ValueError(f"{path}: it normalizes text ({normalizer}), so decoding would not undo it")
    split = _split_of(value.get("pre_tokenizer"), path)
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    special = {entry["content"]: entry["id"] for entry in value.get("added_tokens", [])}
    vocabulary = vocabulary_of_names(model["vocab"], merges, split, special, path)
    vocabulary = replace(vocabulary, normalizer=normalizer)
    return with_whole_words(vocabulary, model["vocab"]) if model.get("ignore_merges") else vocabulary


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


def with_whole_words(vocabulary: Vocabulary, names: Mapping[str, int]) -> Vocabulary:
    """The vocabulary with those words that have an id but come out of their merges as other tokens."""
    from athanor.tokenizer.tokenizer import Tokenizer

    byte_of = {letter: byte for byte, letter in enumerate(byte_letters())}
    tokens = {
        bytes(byte_of[letter] for letter in name): token_id
        for name, token_id in names.items()
        if set(name) <= byte_of.keys() and name not in vocabulary.special_tokens
    }
    texts: dict[str, int] = {}
    for token, token_id in tokens.items():
        with contextlib.suppress(UnicodeDecodeError):  # no word is cut inside a character
            texts[token.decode("utf-8")] = token_id
    encoded = Tokenizer(replace(vocabulary, normalizer="")).encode_documents(list(texts))
    other = [text for (text, token_id), ids in zip(texts.items(), encoded, strict=True) if ids.tolist() != [token_id]]
    whole = {text.encode(): texts[text] for text in other if len(split(text, vocabulary.split)) == 1}
    return replace(vocabulary, whole_words=whole)
