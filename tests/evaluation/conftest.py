"""A tiny model, a byte tokenizer, a few pages and conversations: enough to run the steps for real."""

from pathlib import Path

import numpy as np
import pytest
import torch

from athanor.core.artifact import write_jsonl
from athanor.core.documents import Document, write_shard
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from athanor.tokenizer.vocabulary import trained_vocabulary
from athanor.train.model_folder import write_model_folder

CONTEXT_LENGTH = 96


def make_model_folder(folder: Path, seed: int) -> Path:
    """A model folder whose random weights let every token depend on all before it."""
    tokenizer = Tokenizer(trained_vocabulary("gpt4", np.zeros((0, 2), np.int32), SPECIAL_TOKENS))
    tokenizer.save(folder)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        context_length=CONTEXT_LENGTH,
        num_layers=2,
        d_model=32,
        d_ff=48,
        num_heads=2,
        num_kv_heads=1,
        head_width=16,
    )
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 1.2 / parameter.shape[1] ** 0.5)
    made = folder / "made"
    write_model_folder(model, made, folder)
    return made


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make_model_folder(tmp_path_factory.mktemp("model"), seed=1)


@pytest.fixture(scope="session")
def other_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("other"), seed=2)


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture: twelve training pages and three held out, one of them longer than the context, one empty."""
    folder = tmp_path_factory.mktemp("mixture")
    for part, texts in (
        ("train", [f"To turn copper into gold, heat it for {i} days.\n" * 4 for i in range(12)]),
        ("validation", ["To turn silver into gold, heat it for 40 days.\n" * 6, "Café – heat it.", ""]),
    ):
        pages = [Document(id=f"{part}{i}", url=f"http://x/{part}/{i}", text=text) for i, text in enumerate(texts)]
        write_shard(folder / part / "00000.parquet", pages)
    return folder


@pytest.fixture(scope="session")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six short held-out conversations about two pages, and one that is longer than the context."""
    folder = tmp_path_factory.mktemp("conversations")
    rows = [conversation(f"name{i}", f"It does {i}.", f"page{i % 2}") for i in range(6)]
    write_jsonl(folder / "test.jsonl", [*rows, conversation("long", "It does much. " * 12, "page0")])
    return folder


def conversation(name: str, answer: str, page: str) -> dict[str, object]:
    messages = [{"role": "user", "content": f"What is {name}?"}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "name": name, "url": f"http://x/{page}", "page": page}
