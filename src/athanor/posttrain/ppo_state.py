"""What PPO passes from one update to the next, and what the steps of one update learn from."""

from dataclasses import dataclass
from typing import cast

from torch import Tensor

from athanor.model.transformer import Transformer
from athanor.posttrain.rollout import Critic, Episode, TokenNumbers
from athanor.posttrain.updates import TrainingState

# B episodes, T completion tokens padded on the right


@dataclass
class State(TrainingState):
    """Policy and critic, the KL coefficient, and the scale of the scores."""

    @property
    def policy(self) -> Transformer:
        """The model that is trained."""
        return cast(Transformer, self.modules["policy"])

    @property
    def critic(self) -> Critic:
        """What predicts returns."""
        return cast(Critic, self.modules["critic"])


@dataclass(frozen=True)
class Batch:
    """The episodes of one update with everything the steps learn from."""

    episodes: list[Episode]
    numbers: TokenNumbers
    advantages_BT: Tensor
    returns_BT: Tensor
