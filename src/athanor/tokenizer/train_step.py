"""The step `tokenizer.train`: document shards -> a vocabulary.

In: `documents`, a folder of documents or one with the parts train/ and validation/.
Out: tokenizer.json and tokenizer_config.json (the form of Hugging Face), and sample.json, the merges of one
sentence. Bytes per token are measured on the validation part, which training does not see.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import WORK, write_json
from athanor.core.console import progress, warn
from athanor.core.documents import shards
from athanor.tokenizer.bpe_train import train_merges
from athanor.tokenizer.config import TrainTokenizer
from athanor.tokenizer.packing import mixed
from athanor.tokenizer.replay import replay
from athanor.tokenizer.texts import Texts, read_texts
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from athanor.tokenizer.vocabulary import trained_vocabulary
from athanor.tokenizer.word_counts import WordCounter
from athanor.tokenizer.word_spill import Kept, Spill, kept_words

GROWING = 3  # a table that doubles holds the old and the new one for a moment


def run(config: TrainTokenizer, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Train a vocabulary on `inputs["documents"]`; returns what it is and how well it compresses."""
    started = time.perf_counter()
    folder = inputs["documents"]
    training = shards(folder / "train" if (folder / "train").is_dir() else folder)
    kept, counted = count_words(training, config, out / WORK / "words")
    if not counted["words"]:
        raise ValueError(f"{folder}: no text to train a tokenizer on; {len(training)} shards, all empty")
    if kept.occurrences_left_out:
        warn(
            f"tokenizer: {kept.occurrences_left_out:,} of {counted['words']:,} words left out, as they occur fewer "
            f"than {kept.least_count} times; raise max_word_bytes for all"
        )
    merges = train_merges(kept.words, config.vocab_size - 256 - len(SPECIAL_TOKENS))
    tokenizer = Tokenizer(trained_vocabulary(config.split, merges, SPECIAL_TOKENS))
    tokenizer.save(out)
    steps = [asdict(step) for step in replay(tokenizer, config.sample)]
    write_json(out / "sample.json", {"text": config.sample, "steps": steps})

    validation = shards(folder / "validation") if (folder / "validation").is_dir() else []
    return {
        "vocab_size": tokenizer.vocab_size,
        "merges": len(merges),
        "split": config.split,
        "tokenizer_sha256": tokenizer.sha256,
        **counted,
        "different_words": kept.different_words,
        "words_left_out": kept.occurrences_left_out,
        "seconds": round(time.perf_counter() - started, 3),
        **compression(tokenizer, validation or training, held_out=bool(validation)),
    }


def count_words(paths: Sequence[Path], config: TrainTokenizer, work: Path) -> tuple[Kept, dict[str, int]]:
    """How often each word occurs in the shards, and how much of them was read; `work` is for tables that grow large.

    Shards are spread over threads; counts are sums, so the result does not depend on their number.
    """
    sizes = [_document_sizes(path) for path in paths]
    available = int(sum(size.sum() for size in sizes))
    # A document is kept if its random number falls below this; all are where there are few enough.
    limit = np.uint64(min(2**64 - 1, 2**64 * config.max_bytes // max(1, available)))
    first = np.cumsum([0, *map(len, sizes)])
    kept = [mixed(np.arange(a, b, dtype=np.uint64), config.seed) <= limit for a, b in pairwise(first)]
    workers = max(1, min(config.workers, len(paths)))
    largest_table = config.memory_bytes // (GROWING * workers)
    spill, spilling = Spill(work, config.split), Lock()

    with progress("count words", len(paths), "shards") as shown:

        def count_some(indices: Sequence[int]) -> WordCounter:
            counter = WordCounter(config.split)
            for i in indices:
                for texts in _kept_texts(paths[i], kept[i]):
                    counter.add(texts.data, texts.ends)
                    if counter.table_bytes > largest_table:
                        with spilling:
                            spill.add(counter.result())
                        counter.clear()
                shown.advance()
            return counter

        with ThreadPoolExecutor(workers) as pool:
            counters = list(pool.map(count_some, [range(w, len(paths), workers) for w in range(workers)]))
    counted = {
        "documents": int(sum(k.sum() for k in kept)),
        "bytes": sum(counter.num_bytes for counter in counters),
        "bytes_available": available,
        "words": sum(counter.num_words for counter in counters),
    }
    if spill.num_tables:
        for counter in counters:
            spill.add(counter.result())
        return kept_words(spill.parts(), spill.parts(), config.max_word_bytes), counted
    total = counters[0]
    for counter in counters[1:]:
        total.merge(counter)
    words = [total.result()]
    return kept_words(words, words, config.max_word_bytes), counted


def compression(tokenizer: Tokenizer, paths: Sequence[Path], held_out: bool) -> dict[str, Any]:
    """Bytes per token on the documents of `paths`, and the share of the vocabulary that occurs in them."""
    num_bytes, num_tokens = 0, 0
    seen = np.zeros(tokenizer.vocab_size, np.bool_)
    for path in paths:
        for texts in read_texts(path):
            ids, _ = tokenizer.encode_bytes(texts.data, texts.ends)
            num_bytes += texts.num_bytes
            num_tokens += len(ids)
            seen[ids] = True
    return {
        "bytes_per_token": round(num_bytes / num_tokens, 4) if num_tokens else None,
        "vocabulary_use": round(int(seen.sum()) / len(tokenizer.vocabulary.ids), 4),
        "measured_on": "validation" if held_out else "train",
        "measured_bytes": num_bytes,
    }


def _document_sizes(path: Path) -> NDArray[np.int64]:
    """The bytes of every document of a shard."""
    found = [np.diff(texts.ends) for texts in read_texts(path)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _kept_texts(path: Path, kept: NDArray[np.bool_]) -> Iterator[Texts]:
    """The texts of a shard that `kept` marks."""
    first = 0
    for texts in read_texts(path):
        yield texts.select(kept[first : first + len(texts)])
        first += len(texts)
