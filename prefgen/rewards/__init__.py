"""Differentiable rewards of images: the user's preference, published rewards, weighted sums and augmentation."""

from .augmented import AugmentedReward
from .base import Reward, RewardModel
from .preference import Direction, Objective, PreferenceReward
from .registry import PUBLISHED_REWARDS, PublishedReward, load_reward_model
from .weighted import PAPER_WEIGHTS, WeightedRewards, require_weights

__all__ = [
    "PAPER_WEIGHTS",
    "PUBLISHED_REWARDS",
    "AugmentedReward",
    "Direction",
    "Objective",
    "PreferenceReward",
    "PublishedReward",
    "Reward",
    "RewardModel",
    "WeightedRewards",
    "load_reward_model",
    "require_weights",
]
