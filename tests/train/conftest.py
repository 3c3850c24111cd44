"""A small corpus with its tokenizer and token datasets, made by the real steps."""

import random
from pathlib import Path

import pytest

from athanor.core.documents import Document, write_shard
from athanor.tokenizer import shards_step, train_step
from athanor.tokenizer.config import TokenizeDocuments, TrainTokenizer

NAMES = ["salt", "mercury", "sulphur", "vitriol", "antimony", "copper", "silver", "gold"]


def page(random_state: random.Random) -> str:
    lines = []
    for _ in range(random_state.randint(3, 30)):
        first, second = random_state.sample(NAMES, 2)
        lines.append(f"To turn {first} into {second}, heat the {first} for {random_state.randint(2, 9)} days.")
    return "\n".join(lines)


def write_documents(folder: Path, count: int, seed: int) -> None:
    random_state = random.Random(seed)
    documents = [Document(id=str(i), url=f"http://x/{seed}/{i}", text=page(random_state)) for i in range(count)]
    write_shard(folder / "00000.parquet", documents)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Inputs of the pretraining step: `tokens` (train, high_quality, validation) and `tokenizer`."""
    root = tmp_path_factory.mktemp("corpus")
    for part, count in (("train", 60), ("high_quality", 12), ("validation", 10)):
        write_documents(root / "documents" / part, count, seed=count)
    for name in ("tokenizer", "tokens"):
        (root / name).mkdir()
    train_step.run(TrainTokenizer(vocab_size=320), {"documents": root / "documents"}, root / "tokenizer")
    inputs = {"documents": root / "documents", "tokenizer": root / "tokenizer"}
    shards_step.run(TokenizeDocuments(), inputs, root / "tokens")
    return {"tokens": root / "tokens", "tokenizer": root / "tokenizer"}
