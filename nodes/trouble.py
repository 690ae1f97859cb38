"""What can go wrong with an optimisation that no check of its inputs foresees: too little memory, a model that is not
made for few steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
import torch
import torch.nn.functional as F
from torch import Tensor

from ..prefgen.errors import ModelError

SHARP = 0.15
"""Least detail of a sharp picture (default ours; by the pocket generator, whose latents have 0.3 and more of it after
enough steps and 0.12 after one)."""


@contextmanager
def enough_memory(what: str, advice: str) -> Iterator[None]:
    """Turn an allocator's error inside into one that says what to lower, and give back what models hold.

    Raises ModelError in its place.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        comfy.model_management.unload_all_models()
        comfy.model_management.soft_empty_cache()
        told = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise ModelError(f"There is not enough memory for {what} ({told}): {advice}.") from error


def _out_of_memory(error: Exception) -> bool:
    # Core's own test takes every error for one where torch knows no other class of them.
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "out of memory" in str(error) or "can't allocate memory" in str(error)


def detail(latents: Tensor) -> float:
    """The deviation of latents (B, C, H, W) from themselves at half the resolution. MODELs hold latents scaled to a
    deviation of about 1, so this is a number of its own.

    A model that was not distilled answers the first step from pure noise with the mean of all images that it could
    be, in which nothing is fine.
    """
    latents = latents.float()
    coarse = F.interpolate(F.avg_pool2d(latents, 2), size=latents.shape[-2:], mode="bilinear")
    return (latents - coarse).square().mean().sqrt().item()


def notice_of(latents: Tensor, steps: int) -> str:
    """What to say of a first image whose latents (B, C, H, W), as the MODEL holds them, are too soft; "" if not.

    A notice and no error: with more steps or by the optimisation itself it may still come to something.
    """
    if latents.ndim != 4 or min(latents.shape[-2:]) < 4 or (found := detail(latents)) >= SHARP:
        return ""
    return (
        f"PrefGen: what the MODEL paints in {steps} step{'s' * (steps > 1)} is soft (detail {found:.2f}, sharp from "
        f"{SHARP:g} on): it looks like one that was not distilled for few steps. Use a Turbo, Lightning, Hyper or "
        "schnell model or LoRA, or more steps."
    )
