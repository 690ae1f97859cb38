"""A reward of several random views of an image, which is harder to deceive than the reward of the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RewardError
from .weighted import Reward

SHIFT = 0.05
"""Of the image's height and width, at most, in each direction."""
BLUR = 2.5
"""By how much a view is made smaller and large again, at most; it is mixed with the sharp one by a random share."""
NOISE, CONTRAST, TINT = 0.06, 0.15, 0.04
"""Deviations: the greatest of the pixels' noise, that of the contrast, that of each channel's offset."""


class SeveralViews:
    """The mean reward of an image's random views: shifted, blurred, noisy, off in contrast and colour.

    What pleases a reward in one exact image, and no eye, does not survive them (expectation over transformation,
    Athalye et al. 2018, arXiv 1707.07397; which views and how many: default ours). Every call draws others, and all
    rows of a batch see the same ones: what a row becomes does not depend on the rows beside it.
    """

    def __init__(self, reward: Reward, views: int, seed: int = 0) -> None:
        """Raises RewardError for less than one view."""
        check_views(views)
        self.reward, self.views = reward, views
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor) -> Tensor:
        return torch.stack([self.reward(view_of(images, self._generator)) for _ in range(self.views)]).mean(0)


def check_views(views: int) -> None:
    """Raises RewardError for less than one view."""
    if views < 1:
        raise RewardError(f"An image cannot be seen in {views} views: give at least 1, or leave the views out.")


def view_of(images: Tensor, generator: torch.Generator) -> Tensor:
    """One random view, the same of all images: (B, 3, H, W) in [0, 1] -> the same shape, differentiable, unclamped."""
    height, width = images.shape[-2:]
    blur, mix, noise = torch.rand(3, generator=generator).tolist()
    small = F.interpolate(images, scale_factor=1 / (1 + (BLUR - 1) * blur), mode="bilinear", antialias=True)
    seen = torch.lerp(images, F.interpolate(small, (height, width), mode="bilinear"), mix)
    seen = shifted(seen, [round(SHIFT * edge * float(_within(generator))) for edge in (height, width)])
    grain = NOISE * noise * torch.randn(1, *images.shape[1:], generator=generator)
    contrast = 1 + CONTRAST * torch.randn(1, generator=generator)
    tint = TINT * torch.randn(1, images.shape[1], 1, 1, generator=generator)
    return (seen + grain.to(seen) - 0.5) * contrast.to(seen) + 0.5 + tint.to(seen)


def shifted(images: Tensor, by: list[int]) -> Tensor:
    """Moved by so many pixels down and right; what comes in from outside repeats the edge."""
    (down, right), (height, width) = by, images.shape[-2:]
    wide = F.pad(images, (abs(right), abs(right), abs(down), abs(down)), mode="replicate")
    top, left = abs(down) - down, abs(right) - right
    return wide[..., top : top + height, left : left + width]


def _within(generator: torch.Generator) -> Tensor:
    """Uniform in (-1, 1)."""
    return 2 * torch.rand(1, generator=generator) - 1
