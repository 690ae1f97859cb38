"""Detects blurry images from models that were not distilled for few-step sampling."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

MIN_DETAIL = 0.15
"""Minimum detail of a sharp image. The limit is our choice: latents of the pocket generator have a detail of at least
0.3 after enough steps, and of 0.12 after one step."""


def measure_detail(latents: Tensor) -> float:
    """Return the RMS difference between latents (B, C, H, W) and their upscaled half-resolution version.

    MODELs scale latents to a standard deviation of about 1, so the result needs no normalisation. In the first step, a
    model that was not distilled predicts the mean of all possible images, which has no fine detail.
    """
    latents = latents.float()
    coarse = F.interpolate(F.avg_pool2d(latents, 2), size=latents.shape[-2:], mode="bilinear")
    return (latents - coarse).square().mean().sqrt().item()


def describe_blur(latents: Tensor, steps: int) -> str:
    """Return a notice if the first images are blurry, otherwise "".

    This is not an error, because more steps or the optimisation itself may still sharpen the images.

    Args:
        latents: Latents of the first images in the MODEL's scale, (B, C, H, W).
        steps: Number of sampling steps.
    """
    if latents.ndim != 4 or min(latents.shape[-2:]) < 4 or (detail := measure_detail(latents)) >= MIN_DETAIL:
        return ""
    return (
        f"PrefGen: the MODEL's images after {steps} step{'s' * (steps > 1)} are blurry (detail {detail:.2f}; sharp "
        f"images have {MIN_DETAIL:g} or more). The MODEL was probably not distilled for few steps. Use a Turbo, "
        "Lightning, Hyper or schnell model or LoRA, or more steps."
    )
