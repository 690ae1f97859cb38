"""A reward that averages over random augmentations of the image, which makes reward hacking harder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RewardError
from ..validation import require_number
from .base import Reward

MAX_SHIFT = 0.05
"""Largest shift in each direction, as a fraction of height and width."""
MAX_BLUR = 2.5
"""Largest factor by which a view is downscaled and upscaled again. The result is mixed with the sharp image."""
MAX_NOISE, CONTRAST, TINT = 0.06, 0.15, 0.04
"""Standard deviations: the largest of the pixel noise, that of the contrast, and that of the offset of each channel."""


class AugmentedReward:
    """The mean reward of several random views of an image: shifted, blurred, noisy, with other contrast and colours.

    Adversarial patterns that raise the reward of one exact image do not survive this (expectation over transformation,
    Athalye et al. 2018, arXiv 1707.07397; the augmentations are our choice). Every call draws new views. All images of
    a batch get the same views, so that the reward of an image does not depend on the others.

    Args:
        reward: The reward to average.
        num_views: Number of views of each image.
        seed: Seed of the random augmentations.

    Raises:
        RewardError: `num_views` is below 1.
    """

    def __init__(self, reward: Reward, num_views: int, seed: int = 0) -> None:
        require_number("num_views", num_views, 1, integer=True, error=RewardError)
        self.reward, self.num_views = reward, num_views
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the mean rewards of images (B, 3, H, W), as (B,)."""
        return torch.stack([self.reward(random_view(images, self._generator)) for _ in range(self.num_views)]).mean(0)


def random_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Augment all images in the same random way.

    Args:
        images: Images in [0, 1], (B, 3, H, W).
        generator: Source of the random numbers, on the CPU.

    Returns:
        The views, (B, 3, H, W), differentiable and not clamped.
    """
    height, width = images.shape[-2:]
    blur, mix, noise = torch.rand(3, generator=generator).tolist()
    small = F.interpolate(images, scale_factor=1 / (1 + (MAX_BLUR - 1) * blur), mode="bilinear", antialias=True)
    view = torch.lerp(images, F.interpolate(small, (height, width), mode="bilinear"), mix)
    view = shift(view, *(round(MAX_SHIFT * size * float(_uniform(generator))) for size in (height, width)))
    grain = MAX_NOISE * noise * torch.randn(1, *images.shape[1:], generator=generator)
    contrast = 1 + CONTRAST * torch.randn(1, generator=generator)
    tint = TINT * torch.randn(1, images.shape[1], 1, 1, generator=generator)
    return (view + grain.to(view) - 0.5) * contrast.to(view) + 0.5 + tint.to(view)


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """Move images by a number of pixels. The edge pixels are repeated."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (abs(right), abs(right), abs(down), abs(down)), mode="replicate")
    top, left = abs(down) - down, abs(right) - right
    return padded[..., top : top + height, left : left + width]


def _uniform(generator: torch.Generator) -> Tensor:
    """Draw a number between -1 and 1."""
    return 2 * torch.rand(1, generator=generator) - 1
