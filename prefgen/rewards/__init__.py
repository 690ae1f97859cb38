"""Rewards of an image, differentiable in its pixels: a person's preference, the published general ones, their sum."""

from .augmented import SeveralViews, check_views
from .preference import By, PreferenceReward, Sense
from .published import PUBLISHED, PublishedReward, RewardModel, load_reward_model
from .weighted import PAPER_WEIGHTS, Reward, WeightedRewards, check_weights

__all__ = [
    "PAPER_WEIGHTS",
    "PUBLISHED",
    "By",
    "PreferenceReward",
    "PublishedReward",
    "Reward",
    "RewardModel",
    "Sense",
    "SeveralViews",
    "WeightedRewards",
    "check_views",
    "check_weights",
    "load_reward_model",
]
