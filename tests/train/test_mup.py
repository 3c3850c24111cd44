"""muP keeps activations at one size over widths, changes nothing unless asked for, and is exported in the weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from athanor.core.artifact import sha256_of
from athanor.core.config import fingerprint_dict
from athanor.model import convert
from athanor.model import folder as model_files
from athanor.model.attention import causal
from athanor.model.config import LstmConfig, ModelConfig, MuP, Shape
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer
from athanor.train.config import AdamW
from athanor.train.coordinate_check import coordinate_check, growth
from athanor.train.optim import Optimizer, role_of

TOKENS = torch.arange(24).reshape(2, 12) % 50


def config(**changes: object) -> ModelConfig:
    values = {"vocab_size": 50, "context_length": 16, "num_layers": 2, "d_model": 64, "d_ff": 96, "num_heads": 2,
              "num_kv_heads": 1, "head_width": 32}  # fmt: skip
    return ModelConfig(**(values | changes))  # type: ignore[arg-type]


def random_weights(model: Transformer) -> Transformer:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_updates_move_the_outputs_alike_at_every_width_and_more_without_mup(architecture: str) -> None:
    grown = {
        mup: growth(coordinate_check((32, 128), mup, architecture=architecture, lr_peak=3e-3), step=5)["logits moved"]
        for mup in (True, False)
    }
    assert 0.5 < grown[True] < 1.5
    assert grown[False] > 2.0


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_an_exported_folder_says_the_same_without_knowing_of_mup(qk_norm: bool, tied: bool, tmp_path: Path) -> None:
    mup = MuP(base_width=16, base_head_width=8)
    model = random_weights(Transformer(config(mup=mup, qk_norm=qk_norm, tied_embeddings=tied)))
    convert.save(model, tmp_path)
    plain = convert.load(tmp_path)
    assert plain.config.mup is None
    expected, found = (m.logits(m(TOKENS, causal(2, 12))) for m in (model, plain))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_at_the_base_width_nothing_changes() -> None:
    same = MuP(base_width=64, base_head_width=32)
    outputs = [Transformer(config(mup=mup), seed=3)(TOKENS, causal(2, 12)) for mup in (None, same)]
    assert torch.equal(*outputs)
    lstm = LstmConfig(vocab_size=50, context_length=16, num_layers=1, d_model=64)
    outputs = [Lstm(replace(lstm, mup=mup), seed=3)(TOKENS, causal(2, 12)) for mup in (None, same)]
    assert torch.equal(*outputs)


def test_only_the_rate_of_matrices_follows_the_width() -> None:
    model = Transformer(config(mup=MuP(base_width=16)))
    optimizer = Optimizer(model, AdamW(lr_peak=1.0, embedding_lr_peak=2.0, head_lr_peak=3.0, weight_decay=0.1), None)
    assert optimizer._adamw is not None
    role = {id(p): role_of(name, p) for name, p in model.named_parameters()}
    found = {role[id(g["params"][0])]: (g["lr_peak"], g["weight_decay"]) for g in optimizer._adamw.param_groups}
    assert found == {"embedding": (2.0, 0.0), "head": (3.0, 0.0), "gain": (1.0, 0.0), "matrix": (0.25, 0.4)}


def test_an_lstm_keeps_its_mup_in_its_folder(tmp_path: Path) -> None:
    model = Lstm(LstmConfig(vocab_size=50, context_length=16, num_layers=1, d_model=64, mup=MuP(base_width=16)))
    model_files.save(model, tmp_path)
    loaded = model_files.load(tmp_path)
    assert loaded.config == model.config and loaded.matrix_rate == 0.25
    assert torch.equal(loaded(TOKENS, causal(2, 12)), model(TOKENS, causal(2, 12)))


def test_results_from_before_mup_stay_valid() -> None:
    assert "mup" not in fingerprint_dict(Shape(), sha256_of)
    assert fingerprint_dict(Shape(mup=MuP()), sha256_of)["mup"] == {"base_width": 64, "base_head_width": 16}
