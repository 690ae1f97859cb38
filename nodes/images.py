"""Between ComfyUI's IMAGE, (B, H, W, C), and the library's images, (B, 3, H, W)."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ..prefgen.errors import ImageError
from ..prefgen.images import check_images


def from_comfy(image: torch.Tensor, what: str) -> torch.Tensor:
    """An IMAGE as (B, 3, H, W), an alpha channel left out. Raises ImageError for another rank, channels, or NaN.

    what: the input's name, for the message. An empty batch passes: what it means is for the node to say.
    """
    if not isinstance(image, torch.Tensor) or image.ndim != 4 or image.shape[-1] not in (3, 4):
        found = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        raise ImageError(
            f"The input {what} has shape {found}, expected an IMAGE of shape (batch, height, width, 3): "
            "connect a node that puts out RGB images."
        )
    image = image[..., :3].movedim(-1, 1).float()
    return check_images(image, f"The input {what}", batch=True) if len(image) else image


def to_pil(image: torch.Tensor) -> Image.Image:
    """One image (3, H, W) in [0, 1] as a picture of 8 bits, rounded."""
    pixels = (image.clamp(0, 1) * 255).round().to("cpu", torch.uint8).movedim(0, -1).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels), "RGB")


def from_pil(picture: Image.Image) -> torch.Tensor:
    """A picture as an IMAGE of one, (1, H, W, 3)."""
    return torch.from_numpy(np.asarray(picture.convert("RGB"), np.float32) / 255.0)[None]


def to_comfy(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) as an IMAGE."""
    return images.movedim(1, -1).contiguous()
