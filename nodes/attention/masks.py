"""Where in the image the user's branch counts: a MASK, at the grid of every block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...prefgen.errors import ImageError
from .cond_tracking import Area, areas_of, latent_of


class SpatialMask:
    """A MASK (H, W) or (B, H, W) in [0, 1]: 1 where the user counts.

    Raises ImageError for another rank, no pixels, or NaN; and when used, for one that does not fit what is sampled.
    """

    def __init__(self, mask: Tensor) -> None:
        if mask.ndim not in (2, 3) or not mask.numel() or not torch.isfinite(mask).all():
            raise ImageError(
                f"The mask has shape {tuple(mask.shape)}{'' if mask.numel() else ', no pixels,'} or holds NaN, "
                "expected a finite MASK of shape (height, width) or (batch, height, width): connect another."
            )
        with torch.inference_mode(False):  # ordinary tensors: a later gradient goes through the branch
            self._mask = mask.reshape(-1, 1, *mask.shape[-2:]).float().clamp(0, 1).clone()
        self._grids: dict[tuple, Tensor] = {}

    def on(self, options: dict, images: int, like: Tensor) -> Tensor:
        """The mask for one block's queries: (P, 1 or images, N, 1), one for each of the batch's prompts where they
        paint areas of their own, and else one for all, P = 1.

        options: a block's transformer_options. images: in the batch. like: gives device and dtype. It is resized once
        for every grid, by the mean of what a cell covers.
        """
        areas = areas_of(options)
        places = areas if len(set(areas)) > 1 else areas[:1]
        grids = [self._on(area, latent_of(options), options["activations_shape"][-2:], images, like) for area in places]
        return torch.stack(grids) if len(grids) > 1 else grids[0][None]  # a view: every block asks, at every step

    def _on(self, area: Area | None, latent: tuple, grid: tuple, images: int, like: Tensor) -> Tensor:
        key = (area, latent, tuple(grid), images, like.device, like.dtype)
        if key not in self._grids:
            self._require_fit(latent, images)
            with torch.inference_mode(False), torch.no_grad():
                mask = self._mask
                if area is not None:
                    height, width, top, left = area
                    whole = F.interpolate(mask, size=latent, mode="area")
                    mask = whole[..., top : top + height, left : left + width]
                made = F.interpolate(mask, size=tuple(grid), mode="area").flatten(1)[..., None]
                self._grids[key] = made.to(like.device, like.dtype)
        return self._grids[key]

    def _require_fit(self, latent: tuple[int, int], images: int) -> None:
        count, _, height, width = self._mask.shape
        # a latent has a cell for 8 pixels, so that sizes agree to a cell
        if abs(height * latent[1] / width - latent[0]) > 1:
            raise ImageError(
                f"The mask is {width} x {height} pixels and the image that is sampled {latent[1] * 8} x "
                f"{latent[0] * 8}; expected the same proportions: make the mask as large as the image."
            )
        if count not in (1, images):
            raise ImageError(
                f"Found {count} masks for {images} images in the batch, expected one for all or one for each: "
                "give as many masks as images."
            )
