"""The two files that OpenAI published with GPT-2: `encoder.json` (token -> id) and `vocab.bpe` (merges in order).

They hold no split; it is GPT-2's. Special tokens are the entries of encoder.json spelled <|...|>.
"""

import json
from pathlib import Path

from athanor.core.artifact import read_json, write_text
from athanor.tokenizer.vocabulary import Vocabulary, names_of, vocabulary_of_names


def read_gpt2_files(encoder_json: Path, vocab_bpe: Path) -> Vocabulary:
    """The vocabulary in the two files that OpenAI published with GPT-2."""
    names: dict[str, int] = read_json(encoder_json)
    lines = vocab_bpe.read_text(encoding="utf-8").split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    special = {name: token_id for name, token_id in names.items() if name.startswith("<|") and name.endswith("|>")}
    ordinary = {name: token_id for name, token_id in names.items() if name not in special}
    return vocabulary_of_names(ordinary, merges, "gpt2", special, vocab_bpe)


def write_gpt2_files(encoder_json: Path, vocab_bpe: Path, vocabulary: Vocabulary) -> None:
    """Write both files; raises ValueError for a split or special tokens that they cannot say."""
    if vocabulary.split != "gpt2":
        raise ValueError(f"{vocab_bpe}: these files mean the split gpt2; the vocabulary has {vocabulary.split}")
    if not vocabulary.in_order:
        raise ValueError(
            f"{vocab_bpe}: several merges make one token, or whole words are tokens; these files cannot say so"
        )
    unmarked = [token for token in vocabulary.special_tokens if not (token.startswith("<|") and token.endswith("|>"))]
    if unmarked:
        raise ValueError(f"{encoder_json}: special tokens are told by <|...|> in these files; found {unmarked[:3]}")
    names = names_of(vocabulary)
    ids = dict(zip(names, vocabulary.ids.tolist(), strict=True)) | vocabulary.special_tokens
    ordered = dict(sorted(ids.items(), key=lambda entry: entry[1]))
    lines = ["#version: 0.2", *(f"{names[left]} {names[right]}" for left, right in vocabulary.merges.tolist())]
    write_text(encoder_json, json.dumps(ordered))
    write_text(vocab_bpe, "\n".join(lines) + "\n")
