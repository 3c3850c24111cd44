"""The families of Hugging Face models this package has: which of their configs is which of ours.

In: the content of a `config.json`. Out: a `ModelConfig`, or the other way round. Every key is either read, or must
hold the one value that changes nothing, or is known not to change what a model says; any other key that is set is
refused by name, because a model that is read without it would say something else and look fine.
What stands in no config.json takes the value that transformers gives it, which differs between families.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from athanor.model.config import Experts, ModelConfig
from athanor.model.rope_scaling import LinearRope, Llama3Rope, RopeScaling, YarnRope, yarn_scale


@dataclass(frozen=True)
class Family:
    """One architecture of transformers."""

    model_type: str
    class_prefix: str
    qk_norm: bool
    experts: bool
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What transformers takes where a config.json is silent, if that differs from `DEFAULTS`."""


FAMILIES = (
    Family("llama", "Llama", qk_norm=False, experts=False),
    Family("mistral", "Mistral", False, False, {"num_key_value_heads": 8, "sliding_window": 4096}),
    Family("qwen3", "Qwen3", True, False, {"num_key_value_heads": 32, "head_dim": 128, "max_window_layers": 28}),
    Family("qwen3_moe", "Qwen3Moe", True, True, {"num_key_value_heads": 4, "sliding_window": 4096}),
    Family("mixtral", "Mixtral", False, True, {"num_key_value_heads": 8, "rope_theta": 1e6, "rms_norm_eps": 1e-5}),
)
ARCHITECTURES = tuple(f"{family.class_prefix}ForCausalLM" for family in FAMILIES)

DEFAULTS: dict[str, Any] = {
    "num_key_value_heads": None,
    "head_dim": None,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "sliding_window": None,
}
SIZES = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "num_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "d_ff": "intermediate_size",
    "num_heads": "num_attention_heads",
}
READ = {
    *DEFAULTS, *SIZES.values(), "rope_parameters", "rope_scaling", "partial_rotary_factor", "hidden_act",
    "original_max_position_embeddings",
}  # fmt: skip
READ_BY = {  # beyond READ, by family; any other family that names them is refused
    "qwen3": {"use_sliding_window", "max_window_layers", "layer_types"},
    "qwen3_moe": {
        "use_sliding_window", "max_window_layers", "num_experts", "num_local_experts", "num_experts_per_tok",
        "moe_intermediate_size", "norm_topk_prob",
    },
    "mixtral": {"num_local_experts", "num_experts", "num_experts_per_tok"},
}  # fmt: skip
NEUTRAL: dict[str, Any] = {"decoder_sparse_step": 1}  # values besides none, false and empty that change nothing
WITHOUT_EFFECT = {  # on what a model says: names, training, how to generate, how transformers runs it
    "architectures", "model_type", "transformers_version", "torch_dtype", "dtype", "use_cache", "bos_token_id",
    "eos_token_id", "pad_token_id", "sep_token_id", "initializer_range", "attention_dropout", "_name_or_path",
    "name_or_path", "pretraining_tp", "id2label", "label2id", "num_labels", "problem_type", "return_dict",
    "tokenizer_class", "task_specific_params", "finetuning_task", "output_router_logits", "router_aux_loss_coef",
    "router_jitter_noise", "_attn_implementation", "attn_implementation", "is_llama_config", "unsloth_version",
    "unsloth_fixed", "max_length", "min_length", "do_sample", "temperature", "top_k", "top_p", "repetition_penalty",
    "num_beams", "length_penalty", "chunk_size_feed_forward", "hidden_dropout", "classifier_dropout",
    "transformers.js_config",
}  # fmt: skip


def config_from(raw: Mapping[str, Any], where: str, tied_embeddings: bool | None = None) -> ModelConfig:
    """Our config of a `config.json`; `tied_embeddings` overrides what stands there.

    Raises ValueError, naming `where` and the key, for anything this package would compute otherwise.
    """
    family = next((family for family in FAMILIES if family.model_type == raw.get("model_type")), None)
    if family is None:
        known = ", ".join(family.model_type for family in FAMILIES)
        raise ValueError(f"{where}: model_type {raw.get('model_type')!r} is not supported; {known} are")
    _refuse_unknown(raw, family, where)
    missing = [key for key in SIZES.values() if raw.get(key) is None]
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} missing")
    if raw.get("hidden_act", "silu") != "silu":
        raise ValueError(f"{where}: hidden_act {raw['hidden_act']!r} is not supported; silu is")
    values = {**DEFAULTS, **family.defaults, **raw}
    num_heads = values["num_attention_heads"]
    theta, scaling = _rope(values, where)
    window, window_layers = _window(values, family, where)
    return ModelConfig(
        **{ours: values[theirs] for ours, theirs in SIZES.items()},
        num_kv_heads=values["num_key_value_heads"] or num_heads,
        head_width=values["head_dim"] or values["hidden_size"] // num_heads,
        rope_theta=theta,
        rope_scaling=scaling,
        norm_epsilon=values["rms_norm_eps"],
        qk_norm=family.qk_norm,
        tied_embeddings=values["tie_word_embeddings"] if tied_embeddings is None else tied_embeddings,
        experts=_experts(values, family, where) if family.experts else None,
        sliding_window=window,
        window_layers=window_layers,
    )


def family_of(config: ModelConfig) -> Family:
    """The family that a model of this config is exported as; one with a sliding window never as Llama."""
    fitting = [f for f in FAMILIES if f.qk_norm == config.qk_norm and f.experts == (config.experts is not None)]
    return fitting[1] if config.sliding_window is not None and len(fitting) > 1 else fitting[0]


def reasons_against_export(config: ModelConfig) -> list[str]:
    """Why no Hugging Face architecture computes what a model of this config does; empty where one does."""
    reasons = []
    family = family_of(config)
    if config.value_embeddings:
        reasons.append("value_embeddings: no architecture looks values of attention up by token")
    if config.window_layers is not None and family.model_type != "qwen3":
        reasons.append(f"window_layers: {family.class_prefix} has one window for all layers (Qwen3 has layers without)")
    if family.model_type == "mixtral" and config.experts is not None and not config.experts.renormalize:
        reasons.append("experts.renormalize false without qk_norm: Mixtral always renormalizes (Qwen3-MoE need not)")
    return reasons


def config_to(config: ModelConfig) -> dict[str, Any]:
    """The part of `config.json` that says what a model of this config computes."""
    family = family_of(config)
    rope = _rope_parameters(config)
    described: dict[str, Any] = {
        "model_type": family.model_type,
        **{theirs: getattr(config, ours) for ours, theirs in SIZES.items()},
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_width,
        "rope_theta": config.rope_theta,  # read by transformers 4, vLLM and llama.cpp
        "rope_parameters": rope,
        "rms_norm_eps": config.norm_epsilon,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied_embeddings,
    }
    if config.rope_scaling is not None:
        described["rope_scaling"] = {**rope, "type": rope["rope_type"]}  # the older place
    if family.model_type in ("mistral", "mixtral") or config.sliding_window is not None:
        described["sliding_window"] = config.sliding_window
    if family.qk_norm and config.sliding_window is not None:
        described |= {"use_sliding_window": True, "max_window_layers": 0}
        if family.model_type == "qwen3":
            windows = [config.window_of(layer) is not None for layer in range(config.num_layers)]
            described["layer_types"] = ["sliding_attention" if window else "full_attention" for window in windows]
    if config.experts is not None:
        described |= _expert_keys(config.experts, family)
    return described


def _refuse_unknown(raw: Mapping[str, Any], family: Family, where: str) -> None:
    understood = READ | READ_BY.get(family.model_type, set()) | WITHOUT_EFFECT
    for key, value in raw.items():
        neutral = value is None or value is False or value in ([], {}) or NEUTRAL.get(key) == value
        if key not in understood and not neutral:
            raise ValueError(
                f"{where}: {key} = {json.dumps(value)[:80]} is not supported for {family.model_type}, "
                "and without it the model would say something else"
            )


def _rope(values: Mapping[str, Any], where: str) -> tuple[float, RopeScaling | None]:
    """The base and the scaling of rotary positions; transformers 5 and 4 keep them in different places."""
    rope = dict(values.get("rope_scaling") or values.get("rope_parameters") or {})
    theta = float(rope.pop("rope_theta", values["rope_theta"]))
    kind = rope.pop("rope_type", rope.get("type", "default"))
    rope.pop("type", None)
    if rope.pop("partial_rotary_factor", values.get("partial_rotary_factor") or 1.0) != 1.0:
        raise ValueError(f"{where}: partial_rotary_factor is not supported")
    shown = json.dumps({"rope_type": kind, **rope})
    original = values.get("original_max_position_embeddings") or rope.pop(
        "original_max_position_embeddings", values["max_position_embeddings"]
    )
    rope.pop("original_max_position_embeddings", None)
    scaling: RopeScaling | None = None
    try:
        if kind == "linear":
            scaling = LinearRope(kind="linear", factor=rope.pop("factor"))
        elif kind == "llama3":
            scaling = Llama3Rope(
                kind="llama3",
                factor=rope.pop("factor"),
                original_context_length=original,
                low_frequency_factor=rope.pop("low_freq_factor"),
                high_frequency_factor=rope.pop("high_freq_factor"),
            )
        elif kind == "yarn":
            scaling = _yarn(rope, original, values["max_position_embeddings"])
        elif kind != "default":
            raise ValueError(
                f"{where}: rotary positions are scaled in a way that is not supported: {shown}; "
                "linear, llama3 and yarn are"
            )
    except KeyError as error:
        raise ValueError(f"{where}: rotary positions {shown} lack {error}") from error
    surplus = {key: value for key, value in rope.items() if value is not None}
    if surplus:
        raise ValueError(f"{where}: rotary positions have unknown settings: {json.dumps(surplus)}")
    return theta, scaling


def _yarn(rope: dict[str, Any], original: int, context_length: int) -> YarnRope:
    factor = rope.pop("factor", None) or context_length / original
    scale, weight, weight_all = (rope.pop(key, None) for key in ("attention_factor", "mscale", "mscale_all_dim"))
    if scale is None and weight and weight_all:
        scale = yarn_scale(factor, weight) / yarn_scale(factor, weight_all)
    return YarnRope(
        kind="yarn",
        factor=factor,
        original_context_length=original,
        beta_fast=rope.pop("beta_fast", None) or 32.0,
        beta_slow=rope.pop("beta_slow", None) or 1.0,
        attention_factor=scale,
        truncate=rope.pop("truncate", True),
    )


def _rope_parameters(config: ModelConfig) -> dict[str, Any]:
    scaling = config.rope_scaling
    described: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if scaling is None:
        return described
    described |= {"rope_type": scaling.kind, "factor": scaling.factor}
    if not isinstance(scaling, LinearRope):
        described["original_max_position_embeddings"] = scaling.original_context_length
    if isinstance(scaling, Llama3Rope):
        described |= {
            "low_freq_factor": scaling.low_frequency_factor,
            "high_freq_factor": scaling.high_frequency_factor,
        }
    if isinstance(scaling, YarnRope):
        scale = yarn_scale(scaling.factor) if scaling.attention_factor is None else scaling.attention_factor
        described |= {"attention_factor": scale, "beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        described |= {} if scaling.truncate else {"truncate": False}
    return described


def _window(values: Mapping[str, Any], family: Family, where: str) -> tuple[int | None, tuple[int, ...] | None]:
    """The sliding window and the layers that have it; None for all layers."""
    window = values["sliding_window"]
    if family.qk_norm and not values.get("use_sliding_window"):
        window = None
    if family.model_type == "llama" and window is not None:
        raise ValueError(f"{where}: sliding_window = {window} is not supported for llama")
    if family.model_type != "qwen3":
        return window, None
    num_layers = values["num_hidden_layers"]
    kinds = values.get("layer_types") or [
        "sliding_attention" if window is not None and layer >= values["max_window_layers"] else "full_attention"
        for layer in range(num_layers)
    ]
    unknown = set(kinds) - {"sliding_attention", "full_attention"}
    if unknown or len(kinds) != num_layers:
        raise ValueError(f"{where}: layer_types of {num_layers} layers: {len(kinds)} of kinds {sorted(set(kinds))}")
    layers = tuple(layer for layer, kind in enumerate(kinds) if kind == "sliding_attention")
    if layers and window is None:
        raise ValueError(f"{where}: layer_types names sliding_attention, but there is no sliding_window in use")
    if not layers:
        return None, None
    return window, None if len(layers) == num_layers else layers


def _experts(values: Mapping[str, Any], family: Family, where: str) -> Experts:
    width = "moe_intermediate_size" if family.model_type == "qwen3_moe" else "intermediate_size"
    num_experts = values.get("num_local_experts", values.get("num_experts"))
    needed = {
        "num_experts": num_experts,
        "num_experts_per_tok": values.get("num_experts_per_tok"),
        width: values.get(width),
    }
    missing = [key for key, value in needed.items() if value is None]
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} missing")
    return Experts(
        num_experts=needed["num_experts"],
        experts_per_token=needed["num_experts_per_tok"],
        d_ff=needed[width],
        renormalize=values.get("norm_topk_prob", False) if family.model_type == "qwen3_moe" else True,
    )


def _expert_keys(experts: Experts, family: Family) -> dict[str, Any]:
    described: dict[str, Any] = {
        "num_local_experts": experts.num_experts,
        "num_experts_per_tok": experts.experts_per_token,
        # theirs counts every choice of a token as a whole one, ours as a share
        "router_aux_loss_coef": experts.balance_loss / experts.experts_per_token,
    }
    if family.model_type == "mixtral":
        return described | {"intermediate_size": experts.d_ff}
    return described | {
        "num_experts": experts.num_experts,  # the older name
        "moe_intermediate_size": experts.d_ff,
        "norm_topk_prob": experts.renormalize,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
