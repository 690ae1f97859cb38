"""A differentiable VAE decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import comfy.model_management
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from torch import Tensor

from ...prefgen.errors import ModelError
from .checkpointing import clone_with_checkpointing
from .gradients import disable_weight_streaming, make_differentiable


def require_matching_vae(vae: VAE, model: ModelPatcher) -> None:
    """Raise ModelError if the VAE is not compatible with the latents of the MODEL."""
    channels = model.get_model_object("latent_format").latent_channels
    if vae.latent_channels != channels or vae.latent_dim != 2:
        shape = f"{vae.latent_channels} channels" + ("" if vae.latent_dim == 2 else f" in {vae.latent_dim} dimensions")
        raise ModelError(
            f"The VAE decodes latents of {shape}; expected {channels} channels in 2 dimensions. Connect its VAE."
        )


def load_decoder(
    vae: VAE, checkpointing: bool = False, reward_patchers: Sequence[ModelPatcher] = ()
) -> Callable[[Tensor], Tensor]:
    """Load the VAE together with the reward models, and return its decoder.

    All models are requested in one call, because core may unload models that a call does not mention.

    Args:
        vae: The VAE.
        checkpointing: Whether the VAE's blocks run again during the backward pass to save memory.
        reward_patchers: Models that the reward needs on the device at the same time.

    Returns:
        A differentiable function from latents (B, C, h, w) to images (B, 3, H, W) in [0, 1]. Values outside [0, 1] are
        clamped as in core but keep their gradient, because otherwise saturated pixels could never change.
    """
    patcher = disable_weight_streaming(vae.patcher)
    patcher = clone_with_checkpointing(patcher) if checkpointing else patcher
    comfy.model_management.load_models_gpu([patcher, *reward_patchers], force_full_load=True)
    make_differentiable(patcher.model)

    def decode(latents: Tensor) -> Tensor:
        decoded = patcher.model.decode(latents.to(vae.device, vae.vae_dtype)).float()
        images = (decoded + 1) / 2
        return images + (images.clamp(0, 1) - images).detach()

    return decode
