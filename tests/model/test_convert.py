"""Models move to Hugging Face folders and back without changing what they say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

from athanor.model import convert
from athanor.model import folder as model_files
from athanor.model.attention import causal
from athanor.model.config import Experts, ModelConfig
from athanor.model.families import FAMILIES, Family, config_from, config_to, reasons_against_export
from athanor.model.rope_scaling import LinearRope, Llama3Rope, YarnRope
from athanor.model.rotary import rotary_angles
from athanor.model.stored_tensors import StoredTensors
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


EXPERTS = Experts(num_experts=5, experts_per_token=2, d_ff=24, renormalize=True)
LLAMA3 = Llama3Rope(kind="llama3", factor=8.0, original_context_length=16, low_frequency_factor=1.0)
YARN = YarnRope(kind="yarn", factor=4.0, original_context_length=8, attention_factor=1.3, truncate=False)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"qk_norm": False, "sliding_window": 7}, "Mistral"),
        ({"qk_norm": True, "sliding_window": 7}, "Qwen3"),
        ({"qk_norm": True, "sliding_window": 5, "window_layers": (1,)}, "Qwen3"),
        ({"qk_norm": True, "experts": EXPERTS, "sliding_window": 9}, "Qwen3Moe"),
        ({"qk_norm": True, "experts": replace(EXPERTS, renormalize=False)}, "Qwen3Moe"),
        ({"qk_norm": False, "experts": EXPERTS, "sliding_window": 9}, "Mixtral"),
        ({"qk_norm": False, "rope_scaling": LinearRope(kind="linear", factor=3.0)}, "Llama"),
        ({"qk_norm": False, "rope_scaling": LLAMA3}, "Llama"),
        ({"qk_norm": True, "rope_scaling": YARN}, "Qwen3"),
        ({"rope_scaling": YarnRope(kind="yarn", factor=2.0, original_context_length=16)}, "Qwen3"),
    ],
)  # fmt: skip
def test_every_exported_variant_says_the_same_in_transformers_and_comes_back(
    tmp_path: Path, changes: dict[str, object], kind: str
) -> None:
    model = random_model(small(**changes))
    convert.save(model, tmp_path, shard_bytes=30_000)
    assert (tmp_path / convert.INDEX).exists(), "the test means to write shards"
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(theirs).__name__ == f"{kind}ForCausalLM"
    assert not report["missing_keys"] and not report["unexpected_keys"]
    tokens = tokens_for(model.config)
    with torch.no_grad():
        torch.testing.assert_close(our_logits(model, tokens), theirs(tokens).logits, atol=TOLERANCE, rtol=0)
    again = convert.load(tmp_path)
    assert torch.equal(our_logits(again, tokens), our_logits(model, tokens))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Llama", {"rope_parameters": {
            "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32}}),
        ("Llama", {"rope_parameters": {
            "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16,
            "mscale": 0.7, "mscale_all_dim": 1.0, "beta_fast": 16.0}}),
        ("Qwen3", {"rope_parameters": {
            "rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 16}}),
        ("Qwen3", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
        ("Mistral", {"sliding_window": 6}),
        ("Mistral", {"sliding_window": None}),
        ("Qwen3Moe", {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20}),
        ("Qwen3Moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "norm_topk_prob": True,
                      "use_sliding_window": True, "sliding_window": 6}),
        ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8}),
    ],
)  # fmt: skip
def test_every_variant_made_by_transformers_says_the_same_here(
    tmp_path: Path, kind: str, changes: dict[str, object]
) -> None:
    torch.manual_seed(0)
    common = {
        "vocab_size": 101, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64,
        "initializer_range": 0.2,
    }  # fmt: skip
    theirs = getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**common | changes))
    theirs.eval().save_pretrained(tmp_path)
    model = convert.load(tmp_path)
    tokens = tokens_for(model.config)
    with torch.no_grad():
        torch.testing.assert_close(our_logits(model, tokens), theirs(tokens).logits, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_what_a_config_leaves_out_takes_the_value_that_transformers_gives_it(family: Family) -> None:
    sizes = {
        "vocab_size": 101, "hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 30,
        "num_attention_heads": 32, "max_position_embeddings": 64, "num_experts_per_tok": 2, "num_local_experts": 4,
        "moe_intermediate_size": 8,
    }  # fmt: skip
    sizes = dict(list(sizes.items())[: 9 if family.experts else 6])
    if family.model_type == "mixtral":
        sizes.pop("moe_intermediate_size")
    theirs = getattr(transformers, f"{family.class_prefix}Config")(**sizes)
    ours = config_from({"model_type": family.model_type, **sizes}, "config.json")
    assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
    assert ours.norm_epsilon == theirs.rms_norm_eps
    assert ours.num_kv_heads == theirs.num_key_value_heads
    assert ours.head_width == (getattr(theirs, "head_dim", None) or 4)
    assert ours.sliding_window == getattr(theirs, "sliding_window", None)
    assert ours.tied_embeddings == theirs.tie_word_embeddings
    if ours.experts is not None:
        assert ours.experts.renormalize == getattr(theirs, "norm_topk_prob", True)


def test_angles_far_out_are_those_of_transformers() -> None:
    shape = small(context_length=40_000, rope_scaling=YARN, rope_theta=1e6)
    theirs = Qwen3RotaryEmbedding(transformers.Qwen3Config(**config_to(shape)))
    positions = torch.tensor([[0, 9, 8_191, 39_999]])
    cos, sin = theirs(torch.zeros(1), positions)
    our_cos, our_sin = rotary_angles(positions, shape, torch.float32)
    assert torch.equal(our_cos[:, :, 0], cos)
    assert torch.equal(our_sin[:, :, 0, 8:], sin[..., 8:])


def test_a_smaller_model_leaves_no_shards_of_a_larger_one(tmp_path: Path) -> None:
    model = random_model(small())
    convert.save(model, tmp_path, shard_bytes=20_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    convert.save(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    convert.save(model, tmp_path, shard_bytes=20_000)
    assert not (tmp_path / convert.WEIGHTS).exists()
    assert convert.load(tmp_path).config == model.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qk_norm": False, "sliding_window": 4, "window_layers": (0,)}, "one window for all layers"),
        ({"qk_norm": False, "experts": replace(EXPERTS, renormalize=False)}, "always renormalizes"),
    ],
)
def test_what_has_no_hugging_face_form_says_why_and_has_a_folder_of_our_own(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    model = random_model(small(**changes))
    assert [message in reason for reason in reasons_against_export(model.config)] == [True]
    with pytest.raises(ValueError, match=message):
        convert.save(model, tmp_path)
    model_files.save(model, tmp_path)
    again = model_files.load(tmp_path)
    assert isinstance(again, Transformer) and again.config == model.config
    tokens = tokens_for(model.config)
    assert torch.equal(our_logits(again, tokens), our_logits(model, tokens))


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
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "lack 'low_freq_factor'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "not supported: .*dynamic"),
        ({"rope_parameters": {"rope_type": "default", "mrope_section": [2, 2]}}, "mrope_section"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"model_type": "gpt2"}, "gpt2"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "linear_attention"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "no sliding_window in use"),
        ({"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ({"logit_scale": 0.5}, "logit_scale"),
        ({"vocab_size": None}, "vocab_size missing"),
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
    tensors = dict(StoredTensors(tmp_path))
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
