"""Between ComfyUI's IMAGE, (B, H, W, C), and the library's images, (B, 3, H, W)."""

from __future__ import annotations

import torch

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


def to_comfy(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) as an IMAGE."""
    return images.movedim(1, -1).contiguous()
