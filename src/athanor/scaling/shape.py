"""A Transformer's shape for a number of parameters, as the large published ones are cut.

Width over layers grows from 64 (GPT-3 125M: 12 x 768) to 128 (Llama 3: 32 x 4096, 80 x 8192, 126 x 16384); heads are
64 wide in narrow models and 128 in wide ones; 8 key-value heads and d_ff = 3.5 d_model from width 4096 on, as in
Llama 3, else d_ff = 8/3 d_model and as many key-value heads as query heads up to 8.
"""

import math

from athanor.model.config import ModelConfig
from athanor.model.count import ParameterConvention, count_parameters

NARROW, WIDE = (1e8, 64.0), (7e9, 128.0)  # parameters, width over layers
LLAMA_WIDTH = 4096
STEPS = ((1e9, 64), (5e9, 256), (2e10, 512), (math.inf, 1024))  # parameters below which widths are multiples of it


def shape_for(
    parameters: float, vocab_size: int, context_length: int, convention: ParameterConvention = "all"
) -> ModelConfig:
    """The config whose count by `convention` is nearest to `parameters`, among layers about the usual ratio."""
    best: tuple[float, ModelConfig] | None = None
    ratio = _ratio(parameters)
    step = next((step for limit, step in STEPS if parameters < limit), STEPS[-1][1])
    for width in _widths(parameters, step):
        for layers in range(max(1, round(width / ratio / 1.25)), max(1, round(width / ratio * 1.25)) + 1):
            config = _config(layers, width, vocab_size, context_length)
            off = abs(math.log(count_parameters(config, convention) / parameters))
            strange = abs(math.log(width / layers / ratio))
            score = off + 0.02 * strange
            if best is None or score < best[0]:
                best = score, config
    assert best is not None
    return best[1]


def _ratio(parameters: float) -> float:
    share = math.log(parameters / NARROW[0]) / math.log(WIDE[0] / NARROW[0])
    return NARROW[1] + (WIDE[1] - NARROW[1]) * min(max(share, 0.0), 1.0)


def _widths(parameters: float, step: int) -> range:
    """Widths worth trying: from 12 L d^2 = parameters at the usual ratio, a factor of 2.5 either way."""
    centre = (parameters * _ratio(parameters) / 12) ** (1 / 3)
    first = max(step, int(centre / 2.5) // step * step)
    return range(first, max(first, int(2.5 * centre)) + step, step)


def _config(layers: int, width: int, vocab_size: int, context_length: int) -> ModelConfig:
    head_width = 128 if width >= 2048 and width % 128 == 0 else 64
    heads = max(1, width // head_width)
    large = width >= LLAMA_WIDTH
    d_ff = round((3.5 if large else 8 / 3) * width / 64) * 64
    kv_heads = next(count for count in range(min(8, heads), 0, -1) if heads % count == 0)
    return ModelConfig(
        vocab_size=vocab_size,
        context_length=context_length,
        num_layers=layers,
        d_model=width,
        d_ff=d_ff,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_width=head_width,
        qk_norm=True,
    )
