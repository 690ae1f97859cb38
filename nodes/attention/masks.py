"""Masks that limit the user's attention to a region of the image, resized to the grid of every block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...prefgen.errors import ImageError
from .cond_tracking import Area, cond_areas, latent_size


class SpatialMask:
    """A MASK (H, W) or (B, H, W) in [0, 1]; 1 where the image is personalised.

    Raises ImageError if its values are not finite or its shape does not fit, either itself or what is sampled.
    """

    def __init__(self, mask: Tensor) -> None:
        if mask.ndim not in (2, 3) or not mask.numel() or not torch.isfinite(mask).all():
            raise ImageError(
                f"The mask has shape {tuple(mask.shape)} or NaN; expected finite values ([batch,] height, width)."
            )
        with torch.inference_mode(False):  # a later gradient must be able to pass
            self._mask = mask.reshape(-1, 1, *mask.shape[-2:]).float().clamp(0, 1).clone()
        self._resized: dict[tuple, Tensor] = {}

    def resized_for(self, options: dict, images: int, like: Tensor) -> Tensor:
        """Resize the mask to the queries of a block. Each size is computed once.

        Args:
            options: The block's transformer_options.
            images: Number of images in the batch.
            like: A tensor with the device and dtype of the result.

        Returns:
            (P, 1 or images, N, 1). P is the number of conds if their areas differ, otherwise 1.
        """
        areas = cond_areas(options)
        if len(set(areas)) == 1:
            areas = areas[:1]
        size, grid = latent_size(options), tuple(options["activations_shape"][-2:])
        masks = [self._resize(area, size, grid, images, like) for area in areas]
        return torch.stack(masks) if len(masks) > 1 else masks[0][None]  # a view: called in every block and step

    def _resize(self, area: Area | None, size: tuple, grid: tuple, images: int, like: Tensor) -> Tensor:
        key = (area, size, grid, images, like.device, like.dtype)
        if key not in self._resized:
            self._require_fit(size, images)
            with torch.inference_mode(False), torch.no_grad():
                mask = self._mask
                if area is not None:
                    height, width, top, left = area
                    mask = F.interpolate(mask, size=size, mode="area")
                    mask = mask[..., top : top + height, left : left + width]
                resized = F.interpolate(mask, size=grid, mode="area").flatten(1)[..., None]
                self._resized[key] = resized.to(like.device, like.dtype)
        return self._resized[key]

    def _require_fit(self, size: tuple[int, int], images: int) -> None:
        count, _, height, width = self._mask.shape
        if abs(height * size[1] / width - size[0]) > 1:  # rounding to cells of 8 pixels
            raise ImageError(
                f"The mask is {width} x {height} pixels; expected the proportions of the image, {size[1] * 8} x "
                f"{size[0] * 8}. Make the mask as large as the image."
            )
        if count not in (1, images):
            raise ImageError(
                f"The number of masks is {count}; expected 1 or {images}, one for each image of the batch."
            )
