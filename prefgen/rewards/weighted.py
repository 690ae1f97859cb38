"""What a reward is, and a weighted sum of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..errors import RewardError
from ..validation import format_value, matches_type

PAPER_WEIGHTS: Mapping[str, float] = {
    "preference": 0.75,
    "image_reward": 1.0,
    "aesthetic": 1.0,
    "pickscore": 0.05,
    "clip": 1.0,
    "hps": 5.0,
}
"""method.md section 4: 001's (section 4.2), and ReNO's (arXiv 2406.04312) for HPSv2.1, which it does not use.
`clip` is of the cosine; ReNO's 0.01 is of a hundred times that."""


class Reward(Protocol):
    """Images (B, 3, H, W) in [0, 1] -> rewards (B,), higher is better, each of its own image alone."""

    def __call__(self, images: Tensor) -> Tensor: ...


class WeightedRewards:
    """A weighted sum of rewards, as ReNO takes several at once. One of weight 0 is not computed.

    Raises:
        RewardError: no reward, a weight that is negative or not finite, or all weights zero.
    """

    def __init__(self, rewards: Sequence[tuple[float, Reward]]) -> None:
        check_weights([weight for weight, _ in rewards])
        self.rewards = tuple((weight, reward) for weight, reward in rewards if weight)

    @classmethod
    def of(cls, rewards: Mapping[str, Reward], weights: Mapping[str, float] = PAPER_WEIGHTS) -> WeightedRewards:
        """Rewards by name, by default with the papers' weights; one that `weights` does not name is an error."""
        if unknown := [name for name in rewards if name not in weights]:
            raise RewardError(f"There is no weight for {', '.join(unknown)}; known: {', '.join(weights)}.")
        return cls([(weights[name], reward) for name, reward in rewards.items()])

    def __call__(self, images: Tensor) -> Tensor:
        return torch.stack([weight * reward(images).to(images.device) for weight, reward in self.rewards]).sum(0)


def check_weights(weights: Sequence[float]) -> None:
    """Raises RewardError where these cannot be the weights of a sum of rewards."""
    if any(not matches_type(one, float) or one < 0 or not math.isfinite(one) for one in weights) or not any(weights):
        found = ", ".join(map(format_value, weights)) or "none"
        raise RewardError(
            f"The rewards' weights are {found}; expected none negative and at least one above 0: set such weights."
        )
