"""The model of a post-training step on the processes that share the step, and the whole of it again at the end.

Where the layout shards the weights (`parallel.data_shard`), every process loads the model into the processor's memory,
keeps its share of each weight on its device, and gathers a block's weights as they are used (FSDP2). Then all processes
make the same forward passes, whoever needs the result; a pass without a backward is followed by `release`.
"""

import copy
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from athanor.model.language_model import LanguageModel
from athanor.model.transformer import Transformer
from athanor.posttrain.model_folder import save_policy
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.parallelize import parallelize
from athanor.train.precision import training_device
from athanor.train.samples import continuation
from athanor.train.together import world_of_step

M = TypeVar("M", bound=nn.Module)


class LaidOut(Generic[M]):
    """A model laid out in place over the processes of the step; as it is where there is one."""

    def __init__(self, model: M) -> None:
        """`model` is ready to be trained: adapters are in it. Raises ValueError where its sizes do not allow it."""
        world = world_of_step()
        self.model, self.leads, self.splits_model = model, world.leads, world.layout.splits_model
        self._empty = _without_weights(model) if self.splits_model else model
        self.spread = parallelize(model, world, training_device())

    def release(self) -> None:
        """Give back what a forward pass without a backward has gathered."""
        self.spread.release()

    def whole(self) -> M:
        """The model with all its weights, on the processor where it is split; all processes must call this.

        Only the leading one gets the weights.
        """
        if not self.splits_model:
            return self.model
        state = {name: tensor for name, tensor in self.spread.whole_parameters() if self.leads}
        if not self.leads:
            return self._empty
        whole = copy.deepcopy(self._empty)
        whole.load_state_dict(state, assign=True)
        return whole

    def answers(self, model: LanguageModel, tokenizer: Tokenizer, prompts: list[list[int]], most: int) -> list[str]:
        """The likeliest answers of `model`, part of a split one, of up to `most` tokens; all processes call this."""
        found = [continuation(model, prompt, most, 0.0, tokenizer.stop_ids, 0, world_of_step()) for prompt in prompts]
        self.release()
        return [tokenizer.decode(tokens).strip() for tokens in found]


def save_laid_out(
    laid_out: LaidOut[Transformer], source: Path, folder: Path, tokenizer: Tokenizer | None = None
) -> None:
    """`save_policy` of the whole model, by the leading process; all must call this."""
    whole = laid_out.whole()
    if laid_out.leads:
        save_policy(whole, source, folder, tokenizer)


def _without_weights(model: M) -> M:
    """A copy of `model` whose parameters have shapes alone."""
    empty = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)
        for p in model.parameters()
    }
    return copy.deepcopy(model, dict(empty))
