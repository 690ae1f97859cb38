"""The interfaces of rewards."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Reward(Protocol):
    """Computes rewards (B,) of images (B, 3, H, W) in [0, 1], differentiable in the pixels.

    Higher is better. Each reward depends on its own image only.
    """

    def __call__(self, images: Tensor) -> Tensor: ...


class RewardModel(Protocol):
    """The weights of a reward: an nn.Module that encodes prompts once and then scores any number of images."""

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Return what the model needs of each prompt, (P, ...)."""

    def __call__(self, images: Tensor, texts: Tensor) -> Tensor:
        """Score images (B, 3, H, W) in [0, 1] with their encoded prompts (B, ...). Returns (B,)."""
