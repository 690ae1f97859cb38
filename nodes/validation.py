"""What a graph hands to a few-step sampling that is to be differentiated, checked before anything is loaded: through a
link, and in the HTTP API, come numbers of any kind and tensors of any shape."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..prefgen.errors import ModelError
from ..prefgen.validation import format_value, matches_type


def check_sigmas(sigmas: Tensor) -> None:
    """Raises ModelError for sigmas that Euler cannot step through: it divides by every one but the last."""
    if sigmas.ndim != 1 or len(sigmas) < 2:
        found = f"sigmas of shape {tuple(sigmas.shape)}" if sigmas.ndim != 1 else f"{len(sigmas)} sigmas"
        raise ModelError(
            f"Found {found}, expected one more than there are steps, in a row, and one step at least: give "
            "the scheduler a step and a denoise above 0, or leave the sigmas out."
        )
    if not torch.isfinite(sigmas).all() or (sigmas[:-1] == 0).any():
        raise ModelError(
            f"Found the sigmas {', '.join(map(format_value, sigmas.tolist()[:8]))}, expected finite ones "
            "and 0 in the last place alone: give others, or leave them out."
        )


def check_cfg(cfg: float, has_negative: bool) -> None:
    """Raises ModelError for no number, and for one that needs a negative prompt where there is none."""
    if not matches_type(cfg, float) or not math.isfinite(cfg):
        raise ModelError(f"cfg is {format_value(cfg)}, expected a number: set 1 for models distilled to few steps.")
    if not has_negative and cfg != 1.0:
        raise ModelError(
            f"cfg is {cfg:g} and no negative prompt is connected: connect one, or set cfg to 1 (right for "
            "models distilled to few steps)."
        )


def check_steps(steps: int) -> None:
    """Raises ModelError for what cannot be a number of steps."""
    if not matches_type(steps, int) or steps < 1:
        raise ModelError(f"The image cannot be painted in {format_value(steps)} steps: give 1 to 4.")


def check_latent(latent: dict) -> None:
    """Raises ModelError for a LATENT that holds no images."""
    samples, index = latent.get("samples"), latent.get("batch_index")
    if not isinstance(samples, Tensor) or samples.ndim != 4 or not samples.numel():
        found = f"shape {tuple(samples.shape)}" if isinstance(samples, Tensor) else "no samples"
        raise ModelError(
            f"The latent has {found}, expected batch, channels, height and width, none of them 0: connect one of "
            "images, such as Empty Latent Image; videos are not optimised."
        )
    if not torch.isfinite(samples).all():
        raise ModelError("The latent has NaN or infinite values: check the node that made it.")
    if index is not None and len(index) != len(samples):
        raise ModelError(
            f"The latent has {len(samples)} images and a batch_index for {len(index)}: make it anew, or take it "
            "through Latent From Batch."
        )
