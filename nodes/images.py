"""Converts between ComfyUI's IMAGE (B, H, W, C), the library's images (B, 3, H, W) and PIL images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from ..prefgen.errors import ImageError
from ..prefgen.images import check_images
from ..prefgen.validation import require


def list_images(batches: Sequence[torch.Tensor], name: str) -> list[torch.Tensor]:
    """Join a list of IMAGEs of any sizes into one list of images (3, H, W), and check their pixels.

    Use `split_batches` instead if the library checks the pixels itself. The arguments are the same.

    Raises:
        ImageError: There is no image, a tensor is not an IMAGE, or a pixel is NaN or infinite.
    """
    images = split_batches(batches, name)
    require(images, ImageError, f"The input {name} has no image; expected at least one. Connect an image.")
    for image in images:
        check_images(image, f"The input {name}")
    return images


def split_batches(batches: Sequence[torch.Tensor], name: str) -> list[torch.Tensor]:
    """Join a list of IMAGEs of any sizes into one list of images (3, H, W), without alpha channels.

    Args:
        batches: IMAGEs (B, H, W, 3 or 4).
        name: The input's name.

    Raises:
        ImageError: A tensor is not an IMAGE.
    """
    return [image for batch in batches for image in to_library_layout(batch, name)]


def batches_by_size(images: Sequence[torch.Tensor]) -> list[tuple[list[int], torch.Tensor]]:
    """Group images (3, H, W) by size. Returns the indices of each group, and its images as a batch (B, 3, H, W)."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(index)
    return [(indices, torch.stack([images[index] for index in indices])) for indices in groups.values()]


def to_library_layout(image: torch.Tensor, name: str) -> torch.Tensor:
    """Convert an IMAGE to the library's layout, without its alpha channel.

    Args:
        image: (B, H, W, 3 or 4).
        name: The input's name.

    Returns:
        float32 (B, 3, H, W).

    Raises:
        ImageError: The tensor is not an IMAGE.
    """
    if not isinstance(image, torch.Tensor) or image.ndim != 4 or image.shape[-1] not in (3, 4):
        shape = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        raise ImageError(f"The input {name} has shape {shape}; expected an IMAGE of shape (batch, height, width, 3).")
    return image[..., :3].movedim(-1, 1).float()


def to_comfy(images: torch.Tensor) -> torch.Tensor:
    """Convert (B, 3, H, W) to an IMAGE."""
    return images.movedim(1, -1).contiguous()


def to_pil(image: torch.Tensor) -> Image.Image:
    """Convert one image (3, H, W) in [0, 1] to 8 bits, rounded."""
    pixels = (image.clamp(0, 1) * 255).round().to("cpu", torch.uint8).movedim(0, -1).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels), "RGB")


def from_pil(image: Image.Image) -> torch.Tensor:
    """Convert one PIL image to an IMAGE (1, H, W, 3)."""
    return torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255.0)[None]
