"""Reads the images of a training set, resized to one size."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from prefgen.images import read_image
from prefgen.prefdisc.config import PrefDiscSpec
from prefgen.prefdisc.pixels import resize_to_square


def read_resized_image(file: Path, size: int) -> Tensor:
    """Read an image file and resize it to a square, (3, size, size) in [0, 1].

    Raises:
        ImageError: The file cannot be read.
    """
    image = read_image(file)
    if image.shape[-2:] == (size, size):
        return image
    return F.interpolate(image[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def read_square(file: Path, size: int, spec: PrefDiscSpec) -> Tensor:
    """Read an image file and resize it to a square (3, size, size) in [0, 1], as PrefDisc's preprocessing does.

    Args:
        file: The image.
        size: Side length of the square. `spec.square` is the same, or 0 if the spec's other values give this square.
        spec: How PrefDisc reads images.

    Raises:
        ImageError: The file cannot be read.
    """
    return resize_to_square(read_image(file)[None], spec)[0] if spec.square else read_resized_image(file, size)
