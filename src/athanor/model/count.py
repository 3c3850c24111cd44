"""How many parameters a model, Transformer or LSTM, has and how much work a token is, by named convention.

Peers count differently and scaling laws move with the convention (Porian et al. 2024), so every count
here says which one it is.

    all             every weight, tied ones once
    non_embedding   without the token embedding, and without the output layer (Kaplan et al. 2020)
    matmul          weights that take part in a matrix product per token: all matrices and the output
                    layer, tied or not; no embedding look-up, no gains, no biases; of the experts of a
                    mixture, those that a token meets ("active")
    matmul_total    the same with all experts; equal to matmul where there are none

    six_n           6 x matmul parameters: the rule of thumb "6ND" for training
    with_attention  the same plus the products of attention, which grow with the length of the sequence;
                    an LSTM has none, so that both are equal
"""

from typing import Literal

from athanor.model.config import VALUE_GATE_WIDTH, LstmConfig, ModelConfig, has_value_embedding

ParameterConvention = Literal["all", "non_embedding", "matmul", "matmul_total"]
FlopsConvention = Literal["six_n", "with_attention"]


def count_parameters(config: ModelConfig | LstmConfig, convention: ParameterConvention = "all") -> int:
    """The number of parameters by `convention`.

    >>> tiny = ModelConfig(vocab_size=10, num_layers=1, d_model=4, d_ff=8, num_heads=1, num_kv_heads=1, head_width=4)
    >>> [count_parameters(tiny, convention) for convention in ("all", "non_embedding", "matmul")]
    [260, 180, 200]
    """
    table = config.vocab_size * config.d_model
    matrices = config.num_layers * _block_matrices(config, active=convention == "matmul")
    value_tables, value_gates = _value_embeddings(config)
    matrices += value_gates
    if convention in ("matmul", "matmul_total"):
        return matrices + table
    body = matrices + config.num_layers * _block_vectors(config) + config.d_model
    if convention == "non_embedding":
        return body
    return body + value_tables + (table if config.tied_embeddings else 2 * table)


def flops_per_token(
    config: ModelConfig | LstmConfig,
    convention: FlopsConvention = "with_attention",
    sequence_length: int | None = None,
) -> float:
    """Floating point operations of training on one token: forward and backward, a multiply-add is two.

    Attention is counted in full, as the products without causal skipping: a query meets every position
    of the sequence (Chowdhery et al. 2022, appendix B), or as many as its sliding window holds.
    `sequence_length` defaults to the context length.
    """
    linear = 6.0 * count_parameters(config, "matmul")
    if convention == "six_n" or isinstance(config, LstmConfig):
        return linear
    length = sequence_length or config.context_length
    met = sum(min(length, config.window_of(layer) or length) for layer in range(config.num_layers))
    return linear + 12.0 * config.num_heads * config.head_width * met


def _block_matrices(config: ModelConfig | LstmConfig, active: bool) -> int:
    """Matrices of a block; with `active` only those experts that compute a token."""
    if isinstance(config, LstmConfig):
        return 8 * config.d_model**2  # four gates, each from the input and from the state
    heads = config.num_heads * config.head_width
    kv = config.num_kv_heads * config.head_width
    attention = config.d_model * (2 * heads + 2 * kv)
    if config.experts is None:
        return attention + 3 * config.d_model * config.d_ff
    router = config.d_model * config.experts.num_experts
    num_experts = config.experts.experts_per_token if active else config.experts.num_experts
    return attention + router + num_experts * 3 * config.d_model * config.experts.d_ff


def _value_embeddings(config: ModelConfig | LstmConfig) -> tuple[int, int]:
    """Parameters of all tables of values, which are looked up, and of their gates, which are multiplied."""
    if isinstance(config, LstmConfig):
        return 0, 0
    layers = sum(has_value_embedding(config, layer) for layer in range(config.num_layers))
    gate = min(VALUE_GATE_WIDTH, config.d_model) * config.num_kv_heads
    return layers * config.vocab_size * config.num_kv_heads * config.head_width, layers * gate


def _block_vectors(config: ModelConfig | LstmConfig) -> int:
    """Gains and biases of a block."""
    if isinstance(config, LstmConfig):
        return config.d_model + 4 * config.d_model
    return 2 * config.d_model + (2 * config.head_width if config.qk_norm else 0)
