"""A weighted sum of rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import RewardError
from ..validation import require, require_number
from .base import Reward

PAPER_WEIGHTS: Mapping[str, float] = {
    "preference": 0.75,
    "image_reward": 1.0,
    "aesthetic": 1.0,
    "pickscore": 0.05,
    "clip": 1.0,
    "hps": 5.0,
}
"""Weights of the papers: 001, section 4.2, and ReNO (arXiv 2406.04312) for HPSv2.1, which 001 does not use.

Weights apply to rewards as published: `clip` is the cosine times CLIP's logit scale, about 100. Its weight is that of
001, which counts a hundred times as much as ReNO's own 0.01.
"""


class WeightedRewards:
    """A weighted sum of rewards. Rewards with a weight of 0 are not computed.

    Args:
        rewards: Pairs of weight and reward.

    Raises:
        RewardError: A weight is negative or not finite, or no weight is above 0.
    """

    def __init__(self, rewards: Sequence[tuple[float, Reward]]) -> None:
        require_weights([weight for weight, _ in rewards])
        self.rewards = tuple((weight, reward) for weight, reward in rewards if weight)

    @classmethod
    def from_names(cls, rewards: Mapping[str, Reward], weights: Mapping[str, float] = PAPER_WEIGHTS) -> WeightedRewards:
        """Create a sum from rewards by name, with the weights of the same names.

        Raises:
            RewardError: A reward has no weight, or the weights are invalid.
        """
        if missing := [name for name in rewards if name not in weights]:
            raise RewardError(f"There is no weight for {', '.join(missing)}; expected one of {', '.join(weights)}.")
        return cls([(weights[name], reward) for name, reward in rewards.items()])

    def __call__(self, images: Tensor) -> Tensor:
        """Return the sums for images (B, 3, H, W), as (B,)."""
        return torch.stack([weight * reward(images).to(images.device) for weight, reward in self.rewards]).sum(0)


def require_weights(weights: Sequence[float]) -> None:
    """Raise RewardError unless all weights are finite and at least 0, and one is above 0."""
    for weight in weights:
        require_number("A reward weight", weight, 0, error=RewardError)
    require(any(weights), RewardError, "No reward weight is above 0; expected at least one.")
