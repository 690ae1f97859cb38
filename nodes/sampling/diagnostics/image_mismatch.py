"""Detects whether the image that core generates from the optimised noise differs from the scored image."""

from __future__ import annotations

from torch import Tensor

from .stateful_patches import STATEFUL_PATCHES

MAX_DIFFERENCE = 0.03
"""Maximum mean pixel difference of equal images. The limit is our choice; half-precision rounding stays below 0.01."""


def describe_mismatch(images: Tensor, scored_images: Tensor) -> str:
    """Return a notice if the final images differ from the scored images, otherwise "".

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
        f"PrefGen: the image differs from the scored image (mean pixel difference {difference:.2f}), probably because "
        f"of {STATEFUL_PATCHES}. Remove the patch, or rely on Preference Score."
    )
