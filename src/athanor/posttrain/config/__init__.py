"""Configs of the post-training steps, one file for each; none imports torch."""

from athanor.posttrain.config.compare import Compare
from athanor.posttrain.config.conversations import Conversations, ShowMask
from athanor.posttrain.config.dpo import Dpo
from athanor.posttrain.config.grpo import Grpo
from athanor.posttrain.config.instructions import Instructions
from athanor.posttrain.config.kto import Kto
from athanor.posttrain.config.ppo import Ppo
from athanor.posttrain.config.preference_data import PreferenceData
from athanor.posttrain.config.preferences import Preferences
from athanor.posttrain.config.rejection_sampling import RejectionSampling
from athanor.posttrain.config.reward import Reward
from athanor.posttrain.config.reward_model import RewardModel
from athanor.posttrain.config.sft import Sft
from athanor.posttrain.config.study import SftStudy
from athanor.posttrain.config.training import Training

__all__ = [
    "Compare",
    "Conversations",
    "Dpo",
    "Grpo",
    "Instructions",
    "Kto",
    "Ppo",
    "PreferenceData",
    "Preferences",
    "RejectionSampling",
    "Reward",
    "RewardModel",
    "Sft",
    "SftStudy",
    "ShowMask",
    "Training",
]
