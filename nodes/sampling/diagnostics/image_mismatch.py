"""Detects that core's image of the optimised noise differs from the image that was scored."""

from __future__ import annotations

from torch import Tensor

from .stateful_patches import STATEFUL_PATCHES

MAX_DIFFERENCE = 0.03
"""Largest mean pixel difference of equal images (our default). Rounding in half precision stays below 0.01."""


def describe_mismatch(images: Tensor, scored_images: Tensor) -> str:
    """Return a notice if the final images are not the scored ones, otherwise "".

    Args:
        images: Images that core generated from the optimised noise, (B, H, W, 3).
        scored_images: Images that the reward scored, (B, 3, H, W).
    """
    scored = scored_images.movedim(1, -1)
    if images.shape != scored.shape:
        return ""
    difference = (images.cpu() - scored.cpu()).abs().mean().item()
    if difference <= MAX_DIFFERENCE:
        return ""
    return (
        f"PrefGen: the image differs from the scored image (by {difference:.2f} of 1 a pixel), probably because of "
        f"{STATEFUL_PATCHES}. Remove the patch, or rely on Preference Score."
    )
