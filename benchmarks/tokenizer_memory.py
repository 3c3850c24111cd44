"""Peak memory of training a vocabulary, each contender in a process of its own that does nothing else.

    python benchmarks/tokenizer_memory.py athanor|tokenizers FILE.parquet VOCAB_SIZE

Both read the column `text` of the file little by little and write their result. Ours is the step `tokenizer.train` as
a recipe runs it, which also encodes the text in the end to say how well it compresses. Printed as JSON: the megabytes
that were resident before training (imports), the most there ever were, and the CPU seconds in between.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONTENDERS = ("athanor", "tokenizers")


@dataclass(frozen=True)
class Memory:
    """What training took."""

    before_mb: float
    peak_mb: float
    cpu_seconds: float


def memory_of(contender: str, file: Path, vocab_size: int) -> Memory:
    """What training on `file` takes in a process of its own."""
    command = [sys.executable, __file__, contender, str(file), str(vocab_size)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Memory(**json.loads(printed.splitlines()[-1]))


def _peak_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _train_ours(file: Path, vocab_size: int, out: Path) -> Memory:
    from athanor.tokenizer.config import TrainTokenizer
    from athanor.tokenizer.train_step import run

    documents = out / "documents"
    documents.mkdir()
    (documents / "00000.parquet").symlink_to(file.resolve())
    before, started = _peak_mb(), time.process_time()
    run(TrainTokenizer(vocab_size=vocab_size), {"documents": documents}, out)
    return Memory(before, _peak_mb(), time.process_time() - started)


def _train_tokenizers(file: Path, vocab_size: int, out: Path) -> Memory:
    import pyarrow.parquet as parquet
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )  # athanor.tokenizer.pretokenize.PATTERNS["gpt4"], without importing numba

    def batches() -> Iterator[list[str]]:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(100, columns=["text"]):
                yield batch.column(0).to_pylist()

    before, started = _peak_mb(), time.process_time()
    tokenizer = Tokenizer(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(batches(), trainer)
    tokenizer.save(str(out / "tokenizer.json"))
    return Memory(before, _peak_mb(), time.process_time() - started)


def main() -> None:
    contender, file, vocab_size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    train = {"athanor": _train_ours, "tokenizers": _train_tokenizers}[contender]
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(train(file, vocab_size, Path(folder)).__dict__))


if __name__ == "__main__":
    main()
