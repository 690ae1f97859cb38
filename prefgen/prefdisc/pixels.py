"""Differentiable preprocessing: resizes and normalises images for Idefics2's vision tower.

Equals transformers' image processor for Idefics2 on floating-point images. On 8-bit images the processor also rounds
after resizing. So does this code for specs with `rounded`, with the gradient of the unrounded image.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
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

    With `spec.square`, they are first resized to squares (see `resize_to_square`).

    Args:
        images: (B, 3, H, W) in [0, 1].
        spec: Shape, size bounds, rounding, mean and standard deviation.

    Returns:
        (B, 3, h, w), differentiable in every pixel.
    """
    images = resize_to_square(images, spec)
    images = _resize(images, fitted_size(*images.shape[-2:], spec), "bilinear", spec)
    mean = images.new_tensor(spec.mean).view(3, 1, 1)
    std = images.new_tensor(spec.std).view(3, 1, 1)
    return (images - mean) / std


def resize_to_square(images: Tensor, spec: PrefDiscSpec) -> Tensor:
    """Resize images (B, 3, H, W) to squares of `spec.square` pixels (bicubic, Pillow's default), if it is not 0."""
    return _resize(images, (spec.square, spec.square), "bicubic", spec) if spec.square else images


def shrink(images: Tensor, spec: PrefDiscSpec) -> Tensor:
    """Resize images (B, 3, H, W) early, so that images of many sizes form few kinds of batches.

    `preprocess` returns the same for the result as for the images themselves.
    """
    size = fitted_size(*images.shape[-2:], spec)
    # With a shortest edge above the longest, PrefDisc would resize the fitted image once more.
    if spec.square or fitted_size(*size, spec) != size:
        return resize_to_square(images, spec)
    return _resize(images, size, "bilinear", spec)


def _resize(images: Tensor, size: tuple[int, int], mode: str, spec: PrefDiscSpec) -> Tensor:
    """Resize images with antialiasing, by Pillow for specs with `rounded`."""
    smooth = images
    if size != tuple(images.shape[-2:]) and not (spec.rounded and not images.requires_grad):
        smooth = F.interpolate(images, size=size, mode=mode, antialias=True, align_corners=False)
    if not spec.rounded:
        # Bicubic interpolation overshoots at edges.
        return smooth.clamp(0, 1) if mode == "bicubic" else smooth
    exact = _resize_by_pillow(images, size, mode)
    return smooth + (exact - smooth).detach() if images.requires_grad else exact


def _resize_by_pillow(images: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Resize images in 8 bits. Pillow rounds twice, and its fixed-point weights decide which way halves go."""
    levels = (images.detach() * 255).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    resized = [np.asarray(Image.fromarray(image).resize(size[::-1], filters[mode])) for image in levels]
    return torch.from_numpy(np.stack(resized)).to(images.device).movedim(-1, 1).to(images.dtype) / 255
