"""Differentiable preprocessing: images as the library holds them -> what Idefics2's vision tower takes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .config import PrefDiscSpec


def fitted_size(height: int, width: int, spec: PrefDiscSpec, patch: int) -> tuple[int, int]:
    """The size (height, width) an image is read at: aspect kept, the longest edge at most `longest_edge`, no edge
    below `shortest_edge`, both a whole number of patches (a part of a patch would not be seen)."""
    scale = min(1.0, spec.longest_edge / max(height, width))
    edges = (max(round(edge * scale), spec.shortest_edge) for edge in (height, width))
    fitted_height, fitted_width = (max(patch, round(edge / patch) * patch) for edge in edges)
    return fitted_height, fitted_width


def preprocess(images: Tensor, spec: PrefDiscSpec, patch: int) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> normalised pixels (B, 3, h, w). Gradients flow to every pixel.

    Bilinear with antialiasing, as the base's processor does it on 8-bit images.
    """
    size = fitted_size(*images.shape[-2:], spec, patch)
    if size != tuple(images.shape[-2:]):
        images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
    mean = images.new_tensor(spec.mean).view(3, 1, 1)
    std = images.new_tensor(spec.std).view(3, 1, 1)
    return (images - mean) / std
