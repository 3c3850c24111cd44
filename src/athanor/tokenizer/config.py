"""Settings of the tokenizer's steps; imports nothing heavy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Split = Literal["gpt2", "gpt4", "llama3", "cl100k", "qwen2"]
"""How text is cut into words before merging; see `pretokenize`."""

NUM_SPECIAL_TOKENS = 6
SMALLEST_VOCABULARY = 256 + NUM_SPECIAL_TOKENS
LARGEST_WORD_BYTES = 1 << 29  # each byte may be listed three times in 31 bits while merges are learnt
LARGEST_VOCABULARY = 1 << 20  # what the encoder's tables hold


@dataclass(frozen=True)
class TrainTokenizer:
    """Learn a byte-level BPE vocabulary from the training documents."""

    vocab_size: int = 8192
    """Tokens in all: 256 bytes, the merges and 6 special tokens."""
    split: Split = "gpt4"
    """How text is cut into words: gpt4 (as Llama 3), gpt2, cl100k (gpt4 as tiktoken cuts it now), qwen2."""
    max_bytes: int = 10_000_000_000
    """Train on at most about this many bytes of text; of more, a random sample of documents is taken."""
    max_word_bytes: int = field(default=100_000_000, metadata={"added": 100_000_000})
    """Merges are learnt from at most this many bytes of different words, some 4 GB of memory; of more, the rarest are
    left out."""
    sample: str = "The furnace keeps one even heat; tokenization merges the most frequent pairs first."
    """A sentence whose merges are written to sample.json, step by step."""
    seed: int = 0
    """Chooses the sample of documents where there are more than max_bytes."""
    memory_bytes: int = field(default=2_000_000_000, metadata={"runtime": True})
    """Tables of counted words grow to about this size, then go to disk; changes the speed, never the result."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Threads that count words; changes the speed, never the result."""

    def __post_init__(self) -> None:
        if not SMALLEST_VOCABULARY <= self.vocab_size <= LARGEST_VOCABULARY:
            raise ValueError(
                f"vocab_size is {self.vocab_size}; choose {SMALLEST_VOCABULARY} (bytes and special tokens only) "
                f"to {LARGEST_VOCABULARY}"
            )
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes is {self.max_bytes}; choose at least 1")
        if not 1 <= self.max_word_bytes < LARGEST_WORD_BYTES:
            raise ValueError(f"max_word_bytes is {self.max_word_bytes}; choose 1 to {LARGEST_WORD_BYTES - 1}")


@dataclass(frozen=True)
class TokenizeDocuments:
    """Turn documents into token shards, the form that training reads."""

    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use; changes the speed, never the result."""
    encoder: Literal["athanor", "gigatoken"] = field(default="athanor", metadata={"runtime": True})
    """Who encodes; gigatoken (extra `fast`) is used only as far as its ids are ours, and is faster."""


@dataclass(frozen=True)
class Show:
    """Show how a text is cut into tokens."""

    text: str
    """The text."""
    tokenizer: str | None = None
    """Folder of a tokenizer or model, or of a run; absent: the newest tokenizer in runs/."""
    merges: bool = False
    """Show also how it came about: the tokens after every merge, from single bytes on."""


@dataclass(frozen=True)
class Convert:
    """Write a tokenizer in the files of another library."""

    out: Path
    """Folder for the files; new or empty."""
    tokenizer: str | None = None
    """Folder of a tokenizer, model or run, a tokenizer.json, or FILE.tiktoken:SPLIT; absent: the newest in runs/."""
    to: Literal["huggingface", "tiktoken", "gpt2"] = "huggingface"
    """huggingface: tokenizer.json; tiktoken: tokenizer.tiktoken; gpt2: encoder.json and vocab.bpe."""


@dataclass(frozen=True)
class Compare:
    """Compare tokenizers on the same texts."""

    words: tuple[str, ...]
    """Tokenizers (folders, tokenizer.json, FILE.tiktoken:SPLIT), then texts (document shards or folders of them, text
    files); what can be read as a tokenizer is one."""
    max_bytes: int = 50_000_000
    """Read at most about this many bytes of text from each file or folder."""
    json: bool = False
    """Print the numbers as JSON."""


@dataclass(frozen=True)
class Verify:
    """Compare token shards with the hashes that were taken when they were written."""

    folder: Path
    """Folder of a dataset, or one with datasets below it, such as a run."""
