"""Differentiable preprocessing: images as the library holds them -> what Idefics2's vision tower takes.

Equal to transformers' own image processor for Idefics2 on the same floats; on 8-bit images that one rounds to 8 bits
once more after resizing, and this does not, since rounding has no gradient.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .config import PrefDiscSpec


def fitted_size(height: int, width: int, spec: PrefDiscSpec) -> tuple[int, int]:
    """The size (height, width) an image is read at, as Idefics2's processor takes it: the longer edge at most
    `longest_edge` with the aspect kept, then neither edge below `shortest_edge`.

    What is left over of an edge after whole patches (the bottom or right rim, less than a patch) is not seen: the tower
    was trained on whole patches only.
    """
    aspect = width / height
    if width >= height and width > spec.longest_edge:
        height, width = int(spec.longest_edge / aspect), spec.longest_edge
    elif height > width and height > spec.longest_edge:
        height, width = spec.longest_edge, int(spec.longest_edge * aspect)
    return max(height, spec.shortest_edge), max(width, spec.shortest_edge)


def preprocess(images: Tensor, spec: PrefDiscSpec) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> normalised pixels (B, 3, h, w). Gradients flow to every pixel.

    Bilinear with antialiasing, as the base's processor does it.
    """
    size = fitted_size(*images.shape[-2:], spec)
    if size != tuple(images.shape[-2:]):
        images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
    mean = images.new_tensor(spec.mean).view(3, 1, 1)
    std = images.new_tensor(spec.std).view(3, 1, 1)
    return (images - mean) / std
