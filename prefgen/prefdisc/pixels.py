"""Differentiable preprocessing: resizes and normalises images for Idefics2's vision tower.

Equals transformers' image processor for Idefics2 on floating-point images. On 8-bit images the processor rounds again
after resizing; this code does not, because rounding has no gradient.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .config import PrefDiscSpec


def fitted_size(height: int, width: int, spec: PrefDiscSpec) -> tuple[int, int]:
    """Return the (height, width) to which Idefics2's processor resizes an image.

    The longer edge becomes at most `longest_edge`, with the aspect ratio kept. Then both edges become at least
    `shortest_edge`. The tower sees whole patches only: a rest of less than a patch at the bottom and right is cut off,
    as in its training.
    """
    aspect = width / height
    if width >= height and width > spec.longest_edge:
        height, width = int(spec.longest_edge / aspect), spec.longest_edge
    elif height > width and height > spec.longest_edge:
        height, width = spec.longest_edge, int(spec.longest_edge * aspect)
    return max(height, spec.shortest_edge), max(width, spec.shortest_edge)


def preprocess(images: Tensor, spec: PrefDiscSpec) -> Tensor:
    """Resize images (bilinear with antialiasing, as Idefics2's processor does) and normalise them.

    Args:
        images: (B, 3, H, W) in [0, 1].
        spec: Size bounds, mean and standard deviation.

    Returns:
        (B, 3, h, w), differentiable in every pixel.
    """
    size = fitted_size(*images.shape[-2:], spec)
    if size != tuple(images.shape[-2:]):
        images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
    mean = images.new_tensor(spec.mean).view(3, 1, 1)
    std = images.new_tensor(spec.std).view(3, 1, 1)
    return (images - mean) / std
