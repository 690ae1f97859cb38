"""Reads the images of a training set at one size."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from prefgen.images import read_image


def read_resized_image(file: Path, size: int) -> Tensor:
    """Read an image file as a square image, (3, size, size) in [0, 1].

    Raises:
        ImageError: The file cannot be read.
    """
    image = read_image(file)
    if image.shape[-2:] == (size, size):
        return image
    return F.interpolate(image[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]
