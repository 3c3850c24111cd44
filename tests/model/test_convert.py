"""Models move to Hugging Face folders and back without changing what they say."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

from athanor.model import convert
from athanor.model.attention import causal
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer

TOLERANCE = 1e-4


def small(**changes: object) -> ModelConfig:
    shape = {
        "vocab_size": 97, "context_length": 32, "num_layers": 2, "d_model": 32, "d_ff": 48, "num_heads": 4,
        "num_kv_heads": 2, "head_width": 16, "qk_norm": True, "tied_embeddings": False,
    }  # fmt: skip
    return ModelConfig(**(shape | changes))  # type: ignore[arg-type]


def random_model(config: ModelConfig, seed: int = 1) -> Transformer:
    """A model whose every weight is random: a freshly initialised one would leave its context unused."""
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + (parameter.ndim == 1))
    return model


def our_logits(model: Transformer, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(tokens, causal(*tokens.shape)))


def tokens_for(config: ModelConfig) -> torch.Tensor:
    return torch.randint(config.vocab_size, (2, 20), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_exported_model_says_the_same_in_transformers(tmp_path: Path, qk_norm: bool, tied: bool) -> None:
    model = random_model(small(qk_norm=qk_norm, tied_embeddings=tied))
    convert.save(model, tmp_path)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(theirs).__name__ == ("Qwen3ForCausalLM" if qk_norm else "LlamaForCausalLM")
    assert not report["missing_keys"] and not report["unexpected_keys"]
    tokens = tokens_for(model.config)
    with torch.no_grad():
        torch.testing.assert_close(our_logits(model, tokens), theirs(tokens).logits, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_made_by_transformers_says_the_same_here(tmp_path: Path, kind: str, tied: bool) -> None:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=101, hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=64, tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 5e4}, initializer_range=0.2,
    )  # fmt: skip
    theirs = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / convert.INDEX).exists(), "the test means to read shards"
    model = convert.load(tmp_path)
    assert model.config.rope_theta == 5e4
    tokens = tokens_for(model.config)
    with torch.no_grad():
        torch.testing.assert_close(our_logits(model, tokens), theirs(tokens).logits, atol=TOLERANCE, rtol=0)


def test_save_then_load_gives_identical_weights(tmp_path: Path) -> None:
    model = random_model(small())
    convert.save(model, tmp_path)
    again = convert.load(tmp_path)
    assert again.config == model.config
    for (name, ours), (_, theirs) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_reward_model_scores_the_same_in_transformers(tmp_path: Path) -> None:
    model = random_model(small(tied_embeddings=False))
    score_weight = torch.randn(1, model.config.d_model)
    convert.save_scorer(model, score_weight, tmp_path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    theirs.config.pad_token_id = 0
    tokens = tokens_for(model.config).clamp(min=1)
    trunk, loaded_weight = convert.load_scorer(tmp_path)
    assert torch.equal(loaded_weight, score_weight)
    with torch.no_grad():
        ours = trunk(tokens, causal(*tokens.shape))[:, -1] @ loaded_weight.T
        torch.testing.assert_close(ours, theirs(tokens).logits, atol=TOLERANCE, rtol=0)


def test_loading_a_language_model_as_reward_model_is_refused(tmp_path: Path) -> None:
    convert.save(random_model(small()), tmp_path)
    with pytest.raises(ValueError, match=r"holds no reward model"):
        convert.load_scorer(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "rotary positions are scaled"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rotary positions are scaled"),
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"model_type": "gpt2"}, "gpt2"),
        ({"use_sliding_window": True}, "use_sliding_window"),
    ],
)
def test_what_the_architecture_lacks_is_refused_by_name(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    convert.save(random_model(small()), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        convert.load(tmp_path)


def test_missing_and_surplus_tensors_are_errors(tmp_path: Path) -> None:
    model = random_model(small())
    convert.save(model, tmp_path)
    tensors = convert._read_tensors(tmp_path)
    save_file({**tensors, "model.layers.0.self_attn.q_proj.bias": torch.zeros(1)}, tmp_path / convert.WEIGHTS)
    with pytest.raises(ValueError, match=r"does not have: .*bias"):
        convert.load(tmp_path)
    tensors.pop("lm_head.weight")
    save_file(tensors, tmp_path / convert.WEIGHTS)
    with pytest.raises(ValueError, match=r"lack lm_head"):
        convert.load(tmp_path)


def test_reference_models_of_the_posttraining_oracles_load(fidelity: Path) -> None:
    folder = fidelity / "posttrain" / "oracle_model"
    for name in ("policy", "ref"):
        model = convert.load(folder / name)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / name)
        tokens = tokens_for(model.config)
        with torch.no_grad():
            torch.testing.assert_close(our_logits(model, tokens), theirs(tokens).logits, atol=TOLERANCE, rtol=0)
    trunk, score_weight = convert.load_scorer(folder / "rm")
    assert score_weight.shape == (1, trunk.config.d_model)
