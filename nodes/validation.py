"""Validates the inputs of a sampling. Links can carry tensors of any shape."""

from __future__ import annotations

import torch
from torch import Tensor

from ..prefgen.errors import ModelError
from ..prefgen.validation import format_value


def require_sigmas(sigmas: Tensor) -> None:
    """Raise ModelError unless Euler can step through the sigmas: it divides by every sigma but the last."""
    if sigmas.ndim != 1 or len(sigmas) < 2 or not torch.isfinite(sigmas).all() or (sigmas[:-1] == 0).any():
        raise ModelError(
            f"sigmas is {format_value(sigmas.tolist())}; expected at least 2 finite values, and 0 only at the end. "
            "Set the scheduler's steps and denoise above 0, or disconnect it."
        )


def require_cfg(cfg: float, has_negative: bool) -> None:
    """Raise ModelError unless cfg is 1 where there is no negative prompt."""
    if not has_negative and cfg != 1.0:
        raise ModelError(f"cfg is {cfg:g}; expected 1 without a negative prompt. Connect one, or set cfg to 1.")


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
