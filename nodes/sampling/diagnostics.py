"""What can go wrong with an optimisation that no check of its inputs foresees: too little memory, a model that is not
made for few steps, patches that remember."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
import torch
import torch.nn.functional as F
from torch import Tensor

from ...prefgen.errors import ModelError

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


ANOTHER = 0.03
"""Mean difference of pixels from which an image is another than the one that was judged (default ours; kernels of half
precision that round in other ways differ by less than 0.01)."""

REMEMBERS = (
    "a patch on the MODEL keeps something from one step for the next, which an optimisation repeats (EasyCache, "
    "LazyCache, APG with momentum): take it off the MODEL that comes here"
)


@contextmanager
def stateless() -> Iterator[None]:
    """Turn autograd's errors about what was kept from another iteration, or written over, into one that says what does
    that. Raises ModelError in their place."""
    try:
        yield
    except RuntimeError as error:
        told = str(error)
        if "through the graph a second time" in told:
            raise ModelError(f"The gradient leads back into an earlier iteration: {REMEMBERS}.") from error
        if "modified by an inplace operation" in told:
            raise ModelError(
                "Something on the MODEL writes over what the gradient needs: take off the patches that came last, one "
                "by one, or say which one it is where PrefGen's issues are."
            ) from error
        raise


def check_painted(latents: Tensor) -> None:
    """Raises ModelError for latents that are not finite."""
    if not torch.isfinite(latents.detach()).all():
        raise ModelError(
            "The MODEL painted NaN or infinite values: lower the learning rate, check that latent, noise mask and "
            "prompts (weights such as (word:1e9)) are finite, or run the MODEL in float32 or bfloat16."
        )


def notice_of_another(images: Tensor, judged: Tensor) -> str:
    """What to say where the images (B, H, W, 3) that core paints from the optimised noise are not the ones (B, 3, H, W)
    that were judged; "" where they are."""
    judged = judged.movedim(1, -1)
    if images.shape != judged.shape or (apart := (images.cpu() - judged.cpu()).abs().mean().item()) <= ANOTHER:
        return ""
    return (
        f"PrefGen: the image differs from the one whose score is shown (by {apart:.2f} of 1 a pixel): {REMEMBERS}, or "
        "trust Preference Score."
    )


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
