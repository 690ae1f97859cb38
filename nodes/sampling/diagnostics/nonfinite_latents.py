"""Rejects latents with NaN or infinite values, which no reward can score."""

from __future__ import annotations

import torch
from torch import Tensor

from ....prefgen.errors import ModelError


def require_finite_latents(latents: Tensor) -> None:
    """Raise ModelError if the MODEL generated latents with NaN or infinite values."""
    if not torch.isfinite(latents.detach()).all():
        raise ModelError(
            "The MODEL generated NaN or infinite values. Lower the learning rate, check that latent, noise mask and "
            "prompts (weights such as (word:1e9)) are finite, or run the MODEL in float32 or bfloat16."
        )
