"""A tiny model, a byte tokenizer and a dozen conversations, enough to run every step for real."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from athanor.core.artifact import write_jsonl
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.posttrain.model_folder import save_policy
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from athanor.tokenizer.vocabulary import trained_vocabulary

NAMES = ["join", "split", "open", "close", "read", "write", "seek", "tell", "flush", "copy", "move", "link"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Bytes and special tokens, no merges."""
    return Tokenizer(trained_vocabulary("gpt4", np.zeros((0, 2), np.int32), SPECIAL_TOKENS))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """A model folder with random weights that differ from the identity in every block."""
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        context_length=128,
        num_layers=2,
        d_model=32,
        d_ff=48,
        num_heads=2,
        num_kv_heads=1,
        head_width=16,
    )
    model = Transformer(config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("attention_out.weight", "down.weight")):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    folder, tokenizer_folder = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(tokenizer_folder)
    save_policy(model, tokenizer_folder, folder)
    return folder


def conversation(name: str, page: str) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": f"What is {name}?"},
        {"role": "assistant", "content": f"It can {name} {'all ' * (len(name) % 3)}files of {page}."},
    ]
    return {
        "messages": messages,
        "name": f"{page}.{name}",
        "url": f"http://x/{page}#{name}",
        "page": f"http://x/{page}",
    }


@pytest.fixture(scope="session")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sft, preference, gold and test.jsonl, three pages of four names each."""
    folder = tmp_path_factory.mktemp("conversations")
    for split in ("sft", "preference", "gold", "test"):
        rows = [conversation(name, f"{split}{i % 3}") for i, name in enumerate(NAMES)]
        write_jsonl(folder / f"{split}.jsonl", rows)
    return folder


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a result that must be equal after a resume: all but scratch and time series."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    kept = (path for path in files if "_work" not in path.parts and path.name != "metrics.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def write_pairs(folder: Path) -> None:
    """proxy.jsonl and held_out.jsonl: longer answers are better."""
    for split, names in (("proxy", NAMES[:8]), ("held_out", NAMES[8:])):
        rows = [
            {
                "prompt": [{"role": "user", "content": f"What is {name}?"}],
                "chosen": f"It can {name} all files.",
                "rejected": f"{name}!",
                "chosen_by": "test",
                "rejected_kind": "given",
                "name": name,
                "page": name,
            }
            for name in names
        ]
        write_jsonl(folder / f"{split}.jsonl", rows)
