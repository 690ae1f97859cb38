"""Checks images, and reads them from files. The library holds images as float32 (..., 3, H, W) in [0, 1]."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import ImageError
from .image_repair import repaired
from .validation import errors_as

if TYPE_CHECKING:
    from PIL import Image

DECODE_ERRORS = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, OverflowError)
DECODE_ERRORS += (EOFError, MemoryError, ZeroDivisionError, struct.error)
"""Exceptions that decoders and EXIF readers raise for damaged files."""

SCALED_INTEGERS = ("PNG", "PPM")
"""Formats whose integers of more than 8 bits have a known range, 0 to 65,535. In a TIFF, 32-bit integers have none."""

MAX_EDGE = 2048
"""Maximum longest edge of a loaded image in pixels. Image encoders see at most 980. The limit is our choice."""


def check_images(images: Tensor, name: str = "The image", *, batch: bool = False) -> Tensor:
    """Return images unchanged, or raise an error where they cannot be used.

    Values outside [0, 1] are accepted: decoders overshoot a little, and clamping would cut gradients.

    Args:
        images: (3, H, W), or (B, 3, H, W) with `batch`.
        name: What the error message calls them.

    Raises:
        ImageError: The shape is wrong or empty, or the values are integers, NaN or infinite.
    """
    shape = tuple(getattr(images, "shape", ()))
    if len(shape) != 3 + batch or shape[-3] != 3 or 0 in shape:
        raise ImageError(f"{name} has shape {shape}; expected ({'batch, ' * batch}3, height, width), not empty.")
    if not images.is_floating_point():
        raise ImageError(f"{name} has {images.dtype} values; expected floats in [0, 1]. Divide 8-bit values by 255.")
    if not torch.isfinite(images.detach()).all():
        raise ImageError(f"{name} has NaN or infinite pixels. Check the node that made it, often a half-precision VAE.")
    return images


def read_image(path: Path, max_edge: int = MAX_EDGE) -> Tensor:
    """Read an image file as RGB.

    The EXIF orientation is applied. 16-bit greys keep their brightness, CMYK and palettes become RGB, transparency is
    dropped (as in ComfyUI's Load Image), and of an animation the first frame is read.

    Args:
        max_edge: The image is scaled down where its longest edge has more pixels.

    Returns:
        float32 (3, H, W) in [0, 1].

    Raises:
        ImageError: The file cannot be decoded completely, or has more pixels than PIL considers safe.
    """
    import numpy as np
    from PIL import Image

    errors = (*DECODE_ERRORS, Image.DecompressionBombError)
    with errors_as(ImageError, f"{path} could not be read as an image", "Replace or remove the file.", errors):
        if isinstance(path, Path) and path.exists() and not path.is_file():
            raise OSError("it is not a regular file")  # reading a pipe would block
        rgb, _ = decode_rgb(path, max_edge)
        rgb.thumbnail((max_edge, max_edge), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return torch.from_numpy(np.asarray(rgb, dtype=np.float32) / 255.0).permute(2, 0, 1).contiguous()


def decode_rgb(
    source: Path | io.BytesIO, max_edge: int, formats: Sequence[str] | None = None, max_pixels: float = math.inf
) -> tuple[Image.Image, str]:
    """Decode an image file to 8-bit RGB, turned as its EXIF says. Sound files that Pillow refuses are repaired first.

    Args:
        source: A path, or the bytes of a file.
        max_edge: Size that is needed. JPEGs are decoded directly to a half, a quarter or an eighth.
        formats: Accepted formats; None accepts all that Pillow reads.
        max_pixels: Maximum number of pixels, checked before decoding.

    Returns:
        The image, of any size, and its format.

    Raises:
        Exception: One of `DECODE_ERRORS`, or Pillow's DecompressionBombError.
    """
    from PIL import Image

    def decode(file: Path | io.BytesIO) -> tuple[Image.Image, str]:
        with Image.open(file, formats=formats) as opened:
            if opened.width * opened.height > max_pixels:
                raise Image.DecompressionBombError
            if opened.mode == "I" and opened.format not in SCALED_INTEGERS:
                raise ValueError("its values are 32-bit integers of unknown range; save it with 8 or 16 bits")
            opened.draft("RGB", (max_edge, max_edge))
            opened.load()
            return _to_rgb(_apply_orientation(opened)), opened.format

    try:
        return decode(source)
    except DECODE_ERRORS:
        data = repaired(source.read_bytes() if isinstance(source, Path) else source.getvalue())
        if data is None:
            raise
        return decode(io.BytesIO(data))


def _apply_orientation(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF says. An unreadable EXIF block is ignored."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except DECODE_ERRORS:
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import ImageMath

    if image.mode.startswith("I"):
        # PIL would clip 16-bit values at 255, which turns nearly everything white.
        grey = ImageMath.lambda_eval(lambda channels: channels["i"] / 257, i=image.convert("I"))
        return grey.convert("L").convert("RGB")
    if image.mode == "F":
        raise ValueError("its values are 32-bit floats of unknown range; save it with 8 or 16 bits")
    return image.convert("RGB")
