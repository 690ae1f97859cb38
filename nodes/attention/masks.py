"""Masks that limit the user's attention to a region of the image, resized to the grid of every block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...prefgen.errors import ImageError
from .cond_tracking import Area, cond_areas, latent_size
from .picture_identity import rows_of_batch, sampled_pictures


class SpatialMask:
    """A MASK (H, W) or (B, H, W) in [0, 1]; 1 where the image is personalised.

    Raises:
        ImageError: The MASK has an unexpected number of dimensions or values that are not finite. `resized_for` raises
            it if the MASK does not match the sampled images.
    """

    def __init__(self, mask: Tensor) -> None:
        if mask.ndim not in (2, 3) or not mask.numel() or not torch.isfinite(mask).all():
            raise ImageError(
                f"The mask has shape {tuple(mask.shape)} or contains NaN or infinite values; expected finite values of "
                "shape ([batch,] height, width)."
            )
        with torch.inference_mode(False):  # gradients must be able to flow through it later
            self._mask = mask.reshape(-1, 1, *mask.shape[-2:]).float().clamp(0, 1).clone()
        self._resized: dict[tuple, Tensor] = {}

    @property
    def is_black(self) -> bool:
        """True if the mask is 0 everywhere, so that nothing is personalised."""
        return not self._mask.any()

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
        frames = self._frames(options, images)
        masks = []
        for area in areas:
            expected, actual = tuple(area[:2]) if area else size, tuple(options["original_shape"][-2:])
            if actual != expected:
                raise ImageError(
                    f"The mask cannot be used here: a node pack samples the image of {expected[1] * 8} x "
                    f"{expected[0] * 8} pixels in tiles of {actual[1] * 8} x {actual[0] * 8}. Remove the mask or that "
                    "pack's node."
                )
            masks.append(self._resize(area, size, grid, frames, like))
        return torch.stack(masks) if len(masks) > 1 else masks[0][None]  # a view, not a copy, to save time

    def _resize(self, area: Area | None, size: tuple, grid: tuple, frames: tuple[int, ...], like: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return self._computed(area, size, grid, frames).to(like.device, like.dtype)
        key = (area, size, grid, frames, like.device, like.dtype)
        if key not in self._resized:
            with torch.inference_mode(False), torch.no_grad():
                self._resized[key] = self._computed(area, size, grid, frames).to(like.device, like.dtype)
        return self._resized[key]

    def _computed(self, area: Area | None, size: tuple, grid: tuple, frames: tuple[int, ...]) -> Tensor:
        self._require_fit(size)
        mask = self._mask[list(frames)]
        if area is not None:
            height, width, top, left = area
            mask = F.interpolate(mask, size=size, mode="area")[..., top : top + height, left : left + width]
        return F.interpolate(mask, size=grid, mode="area").flatten(1)[..., None]

    def _frames(self, options: dict, images: int) -> tuple[int, ...]:
        """Return the index of each image's mask: the row in the sampled batch, or the index in the original batch."""
        count, pictures = len(self._mask), sampled_pictures(options)
        if count == 1:
            return (0,)
        batch = len(pictures) or images
        rows = rows_of_batch(options, images, batch)
        if rows is not None and count == batch:
            return tuple(rows)
        indices = [pictures[row].index for row in rows or ()] if pictures else []
        if indices and all(index is not None and index < count for index in indices):
            return tuple(indices)
        raise ImageError(f"The number of masks is {count}; expected 1 or {batch}, one for each image of the batch.")

    def _require_fit(self, size: tuple[int, int]) -> None:
        height, width = self._mask.shape[-2:]
        actual, expected = f"{width} x {height} pixels", f"{size[1] * 8} x {size[0] * 8}"
        if abs(height * size[1] / width - size[0]) > 1:  # latents round sizes to multiples of 8 pixels
            raise ImageError(
                f"The mask is {actual}; expected the proportions of the image, {expected}. Make the mask as large as "
                "the image."
            )
        if height - size[0] * 8 >= 8:
            raise ImageError(
                f"The mask is {actual}, larger than the sampled image, {expected}. If this is a tile or a crop of a "
                "larger image, crop the mask in the same way; otherwise scale the mask to the image."
            )
