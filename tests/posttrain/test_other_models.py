"""Models of every kind that pretraining makes, through post-training and back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from athanor.core.artifact import read_json
from athanor.model import folder as model_files
from athanor.model.attention import causal
from athanor.model.config import Experts, LstmConfig, ModelConfig, MuP, Shape
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer
from athanor.posttrain import dpo, ppo, reward_model, sft
from athanor.posttrain.config import Dpo, Ppo, RewardModel, Sft
from athanor.posttrain.model_folder import load_policy, load_reward_model, save_policy
from athanor.train.model_folder import write_model_folder

from .conftest import write_pairs

SHAPE = Shape(context_length=128, num_layers=2, d_model=32, d_ff=48, num_heads=2, num_kv_heads=1, head_width=16)
KINDS = {
    "value embeddings": {"value_embeddings": True},
    "sliding window": {"sliding_window": 32},
    "experts": {"experts": Experts(num_experts=4, experts_per_token=2, d_ff=32)},
    "muP": {"mup": MuP(), "tied_embeddings": False},
}


def folder_of(kind: str, base: Path, folder: Path) -> Path:
    """A model of this kind with random weights and the tokenizer of `base`."""
    vocab_size = read_json(base / "config.json")["vocab_size"]
    model = Transformer(ModelConfig.of(replace(SHAPE, **KINDS[kind]), vocab_size), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    write_model_folder(model, folder, base)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_transformer_is_fine_tuned_judged_and_aligned(
    kind: str, base: Path, conversations: Path, tmp_path: Path
) -> None:
    start = folder_of(kind, base, tmp_path / "start")
    made = {name: tmp_path / name for name in ("sft", "pairs", "reward_model", "dpo", "ppo")}
    for folder in made.values():
        folder.mkdir()
    short = {"num_steps": 2, "batch_size": 4, "precision": "float32"}
    sft.run(
        Sft(**short, num_samples=1, max_new_tokens=4), {"model": start, "conversations": conversations}, made["sft"]
    )
    write_pairs(made["pairs"])
    inputs = {"model": made["sft"], "preferences": made["pairs"]}
    reward_model.run(RewardModel(**short), inputs, made["reward_model"])
    dpo.run(Dpo(**short), inputs, made["dpo"])
    ppo.run(
        Ppo(num_updates=1, batch_size=4, max_new_tokens=4, precision="float32"),
        {"conversations": conversations, "model": made["sft"], "reward_model": made["reward_model"]},
        made["ppo"],
    )
    trunk, score_1D = load_reward_model(made["reward_model"])
    assert score_1D.shape == (1, 32)
    assert trunk.config == replace(load_policy(made["sft"])[0].config, tied_embeddings=True)
    with pytest.raises(ValueError, match="this folder holds no reward model"):
        load_reward_model(made["dpo"])
    with pytest.raises(ValueError, match=r"not have: score|lack lm_head"):
        model_files.load(made["reward_model"])


def test_new_special_tokens_get_rows_in_the_value_embeddings_too(base: Path, tmp_path: Path) -> None:
    start = folder_of("value embeddings", base, tmp_path / "start")
    model, tokenizer = load_policy(start, chat_template="llama3")
    read = torch.tensor([[tokenizer.vocab_size - 1, 0]])
    hidden = model(read, causal(1, 2))
    save_policy(model, start, tmp_path / "saved", tokenizer)
    again, _ = load_policy(tmp_path / "saved")
    torch.testing.assert_close(again(read, causal(1, 2)), hidden)


def test_an_lstm_is_refused_with_what_can_be_done(base: Path, tmp_path: Path) -> None:
    vocab_size = read_json(base / "config.json")["vocab_size"]
    write_model_folder(Lstm(LstmConfig(vocab_size=vocab_size, num_layers=1, d_model=16)), tmp_path / "lstm", base)
    with pytest.raises(ValueError, match="an LSTM; post-training is for Transformers"):
        load_policy(tmp_path / "lstm")
