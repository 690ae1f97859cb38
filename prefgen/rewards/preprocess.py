"""Differentiable preprocessing of the published rewards, which all read 224 pixels through CLIP's normalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def cropped(images: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, 3, size, size) normalised: the shorter edge at `size`, then the centre of it."""
    height, width = images.shape[-2:]
    short = min(height, width)
    images = _resized(images, int(size * height / short), int(size * width / short))
    top, left = (round((edge - size) / 2) for edge in images.shape[-2:])
    return normalised(images[..., top : top + size, left : left + size]).to(dtype)


def padded(images: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """The same for a reward that sees the whole image: the longer edge at `size`, black beside the shorter."""
    height, width = images.shape[-2:]
    scale = size / max(height, width)
    images = _resized(images, round(height * scale), round(width * scale))
    rows, columns = size - images.shape[-2], size - images.shape[-1]
    images = F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    return normalised(images).to(dtype)


def normalised(images: Tensor) -> Tensor:
    """By CLIP's mean and deviation of each channel."""
    return (images - images.new_tensor(MEAN).view(3, 1, 1)) / images.new_tensor(STD).view(3, 1, 1)


def _resized(images: Tensor, height: int, width: int) -> Tensor:
    # In float32: half a precision's rounding of a pixel is more than the resizing's own.
    images = images.float()
    if images.shape[-2:] == (height, width):
        return images
    return F.interpolate(images, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
