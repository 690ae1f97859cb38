"""Images as the library holds them: float32 (..., 3, H, W) in [0, 1]. Checking them and reading them from files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

# What broken files raise is not only OSError: decoders and EXIF readers trip over any value.
DECODE_ERRORS = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, OverflowError)
DECODE_ERRORS += (EOFError, MemoryError, ZeroDivisionError, struct.error)

MAX_EDGE = 2048
"""Pixels of the longest edge at which image files are read: no tower sees more than 980 (default ours)."""


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


def read_image(path: Path, longest: int = MAX_EDGE) -> Tensor:
    """Read an image file as float32 (3, H, W) in [0, 1], RGB, turned upright.

    Greys of 16 bits keep their brightness, CMYK and palettes become RGB, transparency is left out (as ComfyUI's Load
    Image does), of an animation the first frame is taken. An image with an edge above `longest` is read smaller.
    Raises ImageError where it is unreadable, cut short, or unpacks to more than PIL holds to be safe.
    """
    import numpy as np
    from PIL import Image

    try:
        if isinstance(path, Path) and path.exists() and not path.is_file():
            raise OSError("it is no regular file")  # a pipe would be waited for
        with Image.open(path) as opened:
            # JPEGs unpack at a half, a quarter or an eighth, which is all that is needed of a huge one.
            opened.draft("RGB", (longest, longest))
            opened.load()
            rgb = upright_rgb(opened)
            rgb.thumbnail((longest, longest), Image.Resampling.BILINEAR, reducing_gap=2.0)
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} could not be read as an image ({error}): replace or remove the file.") from error
    return torch.from_numpy(np.asarray(rgb, dtype=np.float32) / 255.0).permute(2, 0, 1).contiguous()


def upright_rgb(image: Image.Image) -> Image.Image:
    """Any PIL image as RGB of 8 bits, turned as its EXIF says. Raises one of `BROKEN` where it cannot be."""
    return _rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says; as it lies where that cannot be read."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except DECODE_ERRORS:
        return image


def _rgb(image: Image.Image) -> Image.Image:
    """Any PIL mode as RGB of 8 bits."""
    from PIL import ImageMath

    if image.mode.startswith("I"):
        # PIL would clip 16 bits at 255, which turns nearly everything white.
        grey = ImageMath.lambda_eval(lambda given: given["i"] / 257, i=image.convert("I"))
        return grey.convert("L").convert("RGB")
    if image.mode == "F":
        raise ValueError("its values are 32-bit floats, whose range is not known; save it with 8 or 16 bits")
    return image.convert("RGB")
