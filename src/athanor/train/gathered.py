"""The whole model out of the shares that processes have of it, to write it to a folder or to use it in one process."""

import torch

from athanor.model.language_model import LanguageModel
from athanor.train.spread import Spread


def gathered(spread: Spread) -> LanguageModel:
    """The model of which every process has a share, whole on the leading one; all processes must call this.

    It lies in the processor's memory where `spread` splits it. Others get a model without weights.
    """
    model: LanguageModel = spread.model  # type: ignore[assignment]
    if not spread.world.layout.splits_model:
        return model
    state = {name: tensor for name, tensor in spread.whole_parameters() if spread.world.leads}
    with torch.device("meta"):
        whole = type(model)(model.config)
    if spread.world.leads:
        whole.load_state_dict(state, assign=True)
    whole.compute_dtype = model.compute_dtype
    return whole
