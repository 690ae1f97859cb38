"""Differentiable image preprocessing of the published rewards, which all use CLIP's normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def resize_and_crop(
    images: Tensor, size: int, dtype: torch.dtype, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> Tensor:
    """Resize the shorter edge to `size`, crop the centre and normalise.

    Args:
        images: Images in [0, 1], (B, 3, H, W).
        size: Height and width of the result.
        dtype: Type of the result.
        mean, std: Normalisation of each channel, by default CLIP's.

    Returns:
        Normalised images, (B, 3, size, size).
    """
    height, width = images.shape[-2:]
    shorter = min(height, width)
    images = _resize(images, int(size * height / shorter), int(size * width / shorter))
    top, left = (round((edge - size) / 2) for edge in images.shape[-2:])
    return normalise(images[..., top : top + size, left : left + size], mean, std).to(dtype)


def resize_and_pad(images: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Resize the longer edge to `size`, pad the shorter edge with black and normalise, as (B, 3, size, size)."""
    height, width = images.shape[-2:]
    scale = size / max(height, width)
    images = _resize(images, round(height * scale), round(width * scale))
    rows, columns = size - images.shape[-2], size - images.shape[-1]
    images = F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    return normalise(images).to(dtype)


def normalise(images: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """Normalise images (B, 3, H, W) with the mean and standard deviation of each channel, by default CLIP's."""
    return (images - images.new_tensor(mean).view(3, 1, 1)) / images.new_tensor(std).view(3, 1, 1)


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    images = images.float()  # Half precision rounds pixels more coarsely than resizing changes them.
    if images.shape[-2:] == (height, width):
        return images
    return F.interpolate(images, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
