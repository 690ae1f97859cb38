"""Images as the library holds them: float32 (..., 3, H, W) in [0, 1]. Checking them and reading them from files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .errors import ImageError


def check_images(images: Tensor, what: str = "The image", *, batch: bool = False) -> Tensor:
    """Return `images` as they are if they can be used, with shape (3, H, W), or (B, 3, H, W) where `batch`.

    Raises ImageError for a wrong rank, other than three channels, an empty side, integers, NaN or infinity.
    Values outside [0, 1] pass: decoders overshoot a little, and clamping would cut gradients.
    """
    wanted = "(batch, 3, height, width)" if batch else "(3, height, width)"
    if not isinstance(images, Tensor) or images.ndim != (4 if batch else 3):
        found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ImageError(f"{what} has shape {found}, expected {wanted}: give an RGB image of that shape.")
    if images.shape[-3] != 3 or 0 in images.shape:
        raise ImageError(
            f"{what} has shape {tuple(images.shape)}, expected {wanted}: convert it to RGB with at least one pixel."
        )
    if not images.is_floating_point():
        raise ImageError(f"{what} holds {images.dtype}, expected floats in [0, 1]: divide 8-bit values by 255.")
    if not torch.isfinite(images.detach()).all():
        raise ImageError(
            f"{what} has NaN or infinite pixels, expected finite values in [0, 1]: "
            "check the node that made it (a half-precision VAE often does this)."
        )
    return images


def read_image(path: Path) -> Tensor:
    """Read an image file as float32 (3, H, W) in [0, 1], RGB, turned upright. Raises ImageError if unreadable."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            rgb = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{path} could not be read as an image ({error}): replace or remove the file.") from error
    return torch.from_numpy(np.asarray(rgb, dtype=np.float32) / 255.0).permute(2, 0, 1).contiguous()
