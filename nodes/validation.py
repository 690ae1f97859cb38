"""Validates inputs for sampling, because links can carry tensors of any shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from comfy.model_base import SDXL, SDXLRefiner
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..prefgen.errors import ModelError
from ..prefgen.validation import format_value, require

POOLED = {"pooled_output", "unclip_conditioning"}
"""CONDITIONING options that can provide SDXL's pooled embedding. SDXL needs at least one of them."""


def require_sigmas(sigmas: Tensor) -> None:
    """Raise ModelError unless Euler can step through the sigmas: it divides by every sigma but the last."""
    if sigmas.ndim != 1 or len(sigmas) < 2 or not torch.isfinite(sigmas).all() or (sigmas[:-1] == 0).any():
        raise ModelError(
            f"sigmas is {format_value(sigmas.tolist())}; expected at least 2 finite values, and 0 only at the end. "
            "Set the scheduler's steps and denoise above 0, or disconnect sigmas."
        )


def require_cfg(cfg: float, has_negative: bool) -> None:
    """Raise ModelError if cfg is not 1 and there is no negative prompt."""
    if not has_negative and cfg != 1.0:
        raise ModelError(f"cfg is {cfg:g}; expected 1 without a negative prompt. Connect one, or set cfg to 1.")


def require_conditioning(name: str, conditioning: Sequence, model: ModelPatcher) -> None:
    """Raise ModelError unless a prompt was encoded with the type of text encoder that the MODEL needs.

    Args:
        name: Name of the input in the message.
        conditioning: Entries [embedding (1, T, D), options].
        model: The MODEL.
    """
    width = model.model.model_config.unet_config.get("context_dim")
    for embedding, options in conditioning:
        problem = ""
        if width and embedding is not None and embedding.shape[-1] != width:
            problem = f"is {embedding.shape[-1]} wide; expected {width}"
        elif isinstance(model.model, SDXL | SDXLRefiner) and not options.keys() & POOLED:
            problem = "has no pooled_output; expected one"
        require(not problem, ModelError, f"{name} {problem}. Encode the prompt with the CLIP of the MODEL.")


def require_latent(latent: dict) -> None:
    """Raise ModelError unless a LATENT holds finite images."""
    samples, index = latent.get("samples"), latent.get("batch_index")
    if not isinstance(samples, Tensor) or samples.ndim != 4 or not samples.numel():
        shape = tuple(samples.shape) if isinstance(samples, Tensor) else None
        raise ModelError(
            f"The latent has shape {shape}; expected (batch, channels, height, width). Connect images, not videos."
        )
    if not torch.isfinite(samples).all():
        raise ModelError("The latent has NaN or infinite values. Check the node that made it.")
    if index is not None and len(index) != len(samples):
        raise ModelError(f"The latent has {len(samples)} images and a batch_index for {len(index)}. Create it again.")
