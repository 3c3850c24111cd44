"""Short continuations of fixed prompts, to read what a model can say while it learns.

Plain and slow: the whole text is computed again for every token. `athanor.inference` is the way to
generate in earnest; training must not depend on it.
"""

from collections.abc import Collection, Sequence

import torch

from athanor.model.attention import causal
from athanor.model.language_model import LanguageModel
from athanor.train.parallel import World, agreed


@torch.no_grad()
def continuation(
    model: LanguageModel,
    prompt: Sequence[int],
    num_tokens: int,
    temperature: float,
    stop_ids: Collection[int],
    seed: int,
    world: World | None = None,
) -> list[int]:
    """Up to `num_tokens` tokens after `prompt`, without the stop token; temperature 0 takes the likeliest.

    Processes that split the model, in `world`, all call this and get the same.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    tokens = list(prompt)
    for _ in range(num_tokens):
        read = torch.tensor([tokens[-model.config.context_length :]], device=device)
        hidden = model(read, causal(1, read.shape[1], device))
        token = 0
        if world is None or world.is_last_stage:
            logits = model.logits(hidden[0, -1]).cpu()
            if temperature == 0:
                token = int(logits.argmax())
            else:
                token = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
        token = token if world is None else agreed(token, world)
        if token in stop_ids:
            break
        tokens.append(token)
    return tokens[len(prompt) :]
