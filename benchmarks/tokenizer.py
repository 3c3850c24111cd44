"""Training and encoding of byte-level BPE beside Hugging Face tokenizers, tiktoken and, if installed, rustbpe and
gigatoken.

    python benchmarks/tokenizer.py [--quick] [--text FILE.parquet] [--rounds N] [--json FILE] [--memory]

Text: the column `text` of --text, else sources and documentation found on this machine (5 MB with --quick, else up to
100 MB, of --text all), none of it twice. `athanor with gigatoken` is our tokenizer with the extra `fast`, its checks
included; on few megabytes those are most of its time.
Every contender gets the same documents, vocabulary and split, one thread; ids of the
encoders are compared before anything is measured. --memory prints the peak memory of training too, ours and that of
tokenizers each in a process of its own (`tokenizer_memory`), whose text comes from a Parquet file.
"""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import importlib.util
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tiktoken
from numpy.typing import NDArray
from side_by_side import OURS, Row, compare, parser_of, report
from tokenizer_memory import CONTENDERS, memory_of
from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as PeerTokenizer

from athanor.tokenizer.bpe_train import train_merges
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.pretokenize import PATTERNS
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.tokenizer.tokenizer_json import write_tokenizer_json
from athanor.tokenizer.vocabulary import Vocabulary, trained_vocabulary
from athanor.tokenizer.word_counts import WordCounter

QUICK_BYTES, FULL_BYTES = 5_000_000, 100_000_000
QUICK_VOCABULARY, FULL_VOCABULARY = 8192, 32768


def documents(limit_bytes: int) -> list[str]:
    """Real text found on this machine: sources of the standard library and installed packages, documentation."""
    folders = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib")] + [Path("/usr/share/doc")]
    found: list[str] = []
    size = 0
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if path.suffix not in {".py", ".txt", ".rst", ".md", ".html"} or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        found.append(text)
        size += len(text)
        if size >= limit_bytes:
            break
    return found


def documents_of(path: Path) -> list[str]:
    """The column `text` of a Parquet file."""
    texts: list[str] = pq.read_table(path, columns=["text"])["text"].to_pylist()
    return texts


def encode_with_gigatoken(vocabulary: Vocabulary, texts: list[str]) -> list[NDArray[np.uint32]]:
    fast = Tokenizer(vocabulary)
    fast.use_gigatoken()
    return fast.encode_documents(texts)


def train_ours(texts: list[str], vocab_size: int) -> NDArray[np.int32]:
    counter = WordCounter("gpt4")
    for first in range(0, len(texts), 1000):
        data = [text.encode() for text in texts[first : first + 1000]]
        counter.add(with_slack(b"".join(data)), np.cumsum([0, *map(len, data)], dtype=np.int64))
    return train_merges(counter.result(), vocab_size - 256)


def train_tokenizers(texts: list[str], vocab_size: int) -> PeerTokenizer:
    peer = PeerTokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS["gpt4"]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    peer.train_from_iterator(texts, trainer)
    return peer


def training_rows(texts: list[str], vocab_size: int, rounds: int, note: str) -> list[Row]:
    contenders: list[tuple[str, Callable[[], object]]] = [
        (OURS, lambda: train_ours(texts, vocab_size)),
        ("tokenizers", lambda: train_tokenizers(texts, vocab_size)),
    ]
    try:
        import rustbpe  # type: ignore[import-not-found]
    except ImportError:
        print("rustbpe is not installed: left out", file=sys.stderr)
    else:
        contenders.append(("rustbpe", lambda: rustbpe.Tokenizer().train_from_iterator(texts, vocab_size)))
    return compare(f"train {vocab_size}", contenders, rounds, note)


def encoding_rows(texts: list[str], vocab_size: int, rounds: int, note: str) -> list[Row]:
    vocabulary = trained_vocabulary("gpt4", train_ours(texts, vocab_size), ())
    ranks = {token: rank for rank, token in enumerate(vocabulary.token_bytes)}
    their_tiktoken = tiktoken.Encoding("peer", pat_str=PATTERNS["gpt4"], mergeable_ranks=ranks, special_tokens={})
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer_json(Path(folder) / "tokenizer.json", vocabulary)
        their_tokenizers = PeerTokenizer.from_file(str(Path(folder) / "tokenizer.json"))

    # A fresh encoder each time: the words it remembers are part of the work.
    expected = [their_tiktoken.encode_ordinary(text) for text in texts]
    assert [ids.tolist() for ids in Tokenizer(vocabulary).encode_documents(texts)] == expected, "ids differ"
    contenders: list[tuple[str, Callable[[], object]]] = [
        (OURS, lambda: Tokenizer(vocabulary).encode_documents(texts)),
        ("tiktoken", lambda: [their_tiktoken.encode_ordinary(text) for text in texts]),
        ("tokenizers", lambda: their_tokenizers.encode_batch_fast(texts)),
    ]
    if importlib.util.find_spec("gigatoken") is None:
        print("gigatoken is not installed: left out", file=sys.stderr)
    else:
        if Tokenizer(vocabulary).use_gigatoken():
            contenders.append(("athanor with gigatoken", lambda: encode_with_gigatoken(vocabulary, texts)))
    few = texts[:50]
    assert [found.ids for found in their_tokenizers.encode_batch(few)] == expected[:50], "ids of tokenizers differ"
    return compare(f"encode, vocabulary {vocab_size}", contenders, rounds, note)


def print_memory(texts: list[str], vocab_size: int) -> None:
    """The memory of training, a line for each contender."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "text.parquet"
        pq.write_table(pa.table({"text": texts}), file)
        print(f"{'training':<22} {'peak MB':>8} {'before MB':>10} {'CPU s':>8}")
        for contender in CONTENDERS:
            found = memory_of(contender, file, vocab_size)
            print(f"{contender:<22} {found.peak_mb:>8.0f} {found.before_mb:>10.0f} {found.cpu_seconds:>8.1f}")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--text", type=Path, metavar="FILE", help="Parquet file whose column `text` is the text")
    parser.add_argument("--rounds", type=int, help="rounds (3 with --quick, else 5)")
    parser.add_argument("--memory", action="store_true", help="measure the memory of training too")
    chosen = parser.parse_args()
    found = documents(QUICK_BYTES if chosen.quick else FULL_BYTES) if chosen.text is None else documents_of(chosen.text)
    texts = found[:: max(1, sum(map(len, found)) // QUICK_BYTES)] if chosen.quick else found
    vocab_size = QUICK_VOCABULARY if chosen.quick else FULL_VOCABULARY
    rounds = chosen.rounds or (3 if chosen.quick else 5)
    note = f"{sum(len(text.encode()) for text in texts) / 1e6:.1f} MB in {len(texts)} documents"
    rows = training_rows(texts, vocab_size, rounds, note) + encoding_rows(texts, vocab_size, rounds, note)
    report(rows, ["athanor", "numba", "tokenizers", "tiktoken", "rustbpe", "gigatoken"], chosen.json)
    if chosen.memory:
        print_memory(texts, vocab_size)


if __name__ == "__main__":
    main()
