"""Activation checkpointing: blocks keep their input alone and are computed again in the backward pass.

The memory of activations falls from everything inside all blocks to one tensor per block, for about a third more
arithmetic (Chen et al. 2016, "Training deep nets with sublinear memory cost"). Results do not change: the same
operations run again on the same numbers.
"""

from functools import partial

from torch.utils.checkpoint import checkpoint

from athanor.model.language_model import LanguageModel


def recompute_blocks(model: LanguageModel) -> None:
    """Let every block of `model` be computed again in the backward pass; raises ValueError where it has none."""
    blocks = getattr(model, "blocks", None)
    if blocks is None:
        raise ValueError("recompute: only a Transformer has blocks that could be computed again; leave it off")
    for block in blocks:
        # nothing here draws random numbers; keeping their state would also not be safe with micro-batches side by side
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
