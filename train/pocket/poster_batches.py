"""Draws a reproducible batch of posters for each training step, and softens posters."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from train.data.agents import random_indices
from train.data.posters import Attributes, draw


def drawn_batch(size: int, seed: int, step: int) -> tuple[Tensor, np.ndarray]:
    """Draw random posters. Returns images (size, 3, 96, 96) in [0, 1] and attribute indices (size, 6)."""
    rng = np.random.default_rng([seed, step])
    indices = random_indices((size,), rng)
    return draw_all(indices, rng), indices


def draw_all(indices: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Draw posters (n, 3, 96, 96) in [0, 1] from attribute indices (n, 6)."""
    images = np.stack([draw(Attributes.from_indices(row), rng) for row in indices])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def soften(images: Tensor, generator: torch.Generator) -> Tensor:
    """Make drawn posters (B, 3, H, W) in [0, 1] more similar to generated ones.

    Applies blur, noise, and changes in brightness and contrast. A third of the posters stays unchanged.
    """
    b, (height, width) = len(images), images.shape[-2:]
    factor = float(torch.empty(1).uniform_(1.0, 2.5, generator=generator))
    small = F.interpolate(images, scale_factor=1 / factor, mode="bilinear", antialias=True)
    blurred = F.interpolate(small, (height, width), mode="bilinear")
    mix = torch.rand(b, 1, 1, 1, generator=generator)
    soft = torch.lerp(images, blurred, mix)
    soft = soft + 0.06 * torch.rand(b, 1, 1, 1, generator=generator) * torch.randn(images.shape, generator=generator)
    soft = (soft - 0.5) * (1 + 0.15 * torch.randn(b, 1, 1, 1, generator=generator)) + 0.5
    soft = soft + 0.04 * torch.randn(b, 3, 1, 1, generator=generator)
    untouched = torch.rand(b, 1, 1, 1, generator=generator) < 1 / 3
    return torch.where(untouched, images, soft).clamp(0, 1)
