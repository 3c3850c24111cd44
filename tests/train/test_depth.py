"""The dial: one number decides the rest, and what is given wins."""

from dataclasses import replace

import pytest

from athanor.model.config import ModelConfig, Shape
from athanor.model.count import count_parameters
from athanor.train.config import Pretrain, PretrainFit
from athanor.train.depth import at_depth, described, step_law


def test_depth_six_by_hand() -> None:
    config, choices = at_depth(Pretrain(depth=6), vocab_size=8192)
    shape = config.shape
    assert (shape.num_layers, shape.d_model, shape.num_heads, shape.num_kv_heads, shape.head_width, shape.d_ff) == (
        6, 384, 6, 6, 64, 1024,
    )  # fmt: skip
    parameters = 6 * (4 * 384**2 + 3 * 384 * 1024) + 8192 * 384
    assert count_parameters(ModelConfig.of(shape, 8192), "matmul") == parameters == 13_762_560
    # 275 M tokens: 0.58 D^.571 = 38 k tokens, 148 sequences of 256, of which 128 is the nearest power of two
    assert config.batch_size == 128
    assert config.fit.num_steps == round(20 * parameters / (128 * 256)) == 8400
    assert config.fit.muon == PretrainFit().muon
    assert config.fit.adamw.embedding_lr_peak == pytest.approx((PretrainFit().adamw.embedding_lr_peak or 0) / 2**0.5)
    assert not any(choice.given for choice in choices)


def test_what_is_given_wins_and_the_rest_follows_from_it() -> None:
    given = Pretrain(
        depth=6, batch_size=64, shape=Shape(d_model=512), fit=replace(PretrainFit(), adamw=PretrainFit().adamw)
    )
    config, choices = at_depth(given, vocab_size=8192)
    assert config.shape.d_model == 512 and config.shape.num_heads == 8 and config.shape.num_layers == 6
    assert config.batch_size == 64
    tokens = 20 * count_parameters(ModelConfig.of(config.shape, 8192), "matmul")
    assert config.fit.num_steps == round(tokens / (64 * 256))
    assert {choice.name for choice in choices if choice.given} == {"shape.d_model", "batch_size"}


def test_more_tokens_per_parameter_are_more_steps_of_a_larger_batch() -> None:
    few, _ = at_depth(Pretrain(depth=4, tokens_per_parameter=10.75), vocab_size=4096)
    many, _ = at_depth(Pretrain(depth=4, tokens_per_parameter=100.0), vocab_size=4096)
    assert few.shape == many.shape
    assert many.batch_size > few.batch_size and many.fit.num_steps > few.fit.num_steps


def test_without_muon_the_rate_is_that_of_the_step_law() -> None:
    config, _ = at_depth(Pretrain(depth=2, fit=replace(PretrainFit(), muon=None)), vocab_size=1000)
    model = ModelConfig.of(config.shape, 1000)
    tokens = 20 * count_parameters(model, "matmul")
    assert config.fit.adamw.lr_peak == step_law(count_parameters(model, "non_embedding"), tokens)[0]
    # Li et al. 2025 give 1.79 N^-.713 D^.307: for 1 B parameters and 100 B tokens about 0.0016
    assert step_law(1e9, 1e11)[0] == pytest.approx(1.63e-3, rel=0.01)


def test_without_a_depth_nothing_changes() -> None:
    config = Pretrain(batch_size=3)
    assert at_depth(config, 100) == (config, [])


def test_the_choice_can_be_read() -> None:
    config, choices = at_depth(Pretrain(depth=6, batch_size=64), vocab_size=8192)
    text = "\n".join(described(config, choices, 8192, epochs=2.75))
    assert "shape.d_model 384" in text and "given: batch_size 64" in text
    assert "13.8 M parameters (matmul), 275.3 M tokens: 20.0 per parameter, 2.8 passes" in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"depth": 0}, "depth is 0"), ({"depth": 2, "tokens_per_parameter": 0.0}, "tokens_per_parameter is 0.0")],
)
def test_impossible_dials_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pretrain(**wrong)  # type: ignore[arg-type]
