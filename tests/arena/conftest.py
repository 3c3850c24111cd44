"""Two tiny policies, a tiny judge and held-out prompts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from athanor.core.artifact import write_jsonl
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.posttrain.model_folder import save_policy, save_reward_model
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from athanor.tokenizer.vocabulary import trained_vocabulary


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """sft, dpo, gold_reward_model and conversations."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("arena")
    tokenizer = Tokenizer(trained_vocabulary("gpt4", np.zeros((0, 2), np.int32), SPECIAL_TOKENS))
    tokenizer.save(root / "tokenizer")
    for seed, name in enumerate(("sft", "dpo")):
        save_policy(_model(tokenizer.vocab_size, seed), root / "tokenizer", root / name)
    score = torch.randn(1, 32, generator=torch.Generator().manual_seed(7))
    judge = root / "gold_reward_model"
    save_reward_model(_model(tokenizer.vocab_size, 5), score, root / "tokenizer", judge)
    rows = [_conversation(f"name{i}", f"page{i % 3}") for i in range(9)]
    write_jsonl(root / "conversations" / "test.jsonl", rows)
    return {name: root / name for name in ("sft", "dpo", "gold_reward_model", "conversations")}


def _conversation(name: str, page: str) -> dict[str, object]:
    messages = [{"role": "user", "content": f"What is {name}?"}, {"role": "assistant", "content": f"It is {name}."}]
    return {"messages": messages, "name": name, "url": f"http://x/{page}", "page": page}


def _model(vocab_size: int, seed: int) -> Transformer:
    shape = {"num_layers": 2, "d_model": 32, "d_ff": 48, "num_heads": 2, "num_kv_heads": 1, "head_width": 16}
    model = Transformer(ModelConfig(vocab_size=vocab_size, context_length=128, **shape))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 1.2 / parameter.shape[1] ** 0.5)
    return model
