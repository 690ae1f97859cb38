"""The diffusion loss, for any SDXL UNet of diffusers and any of its two predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from prefgen.errors import ModelError

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DConditionModel


@dataclass(frozen=True)
class Painted:
    """What is to be painted: latents (B, 4, h, w), as the UNet sees them; context (B, 77, C) and pooled (B, D): the
    captions; sizes (B, 6): SDXL's size condition."""

    latents: Tensor
    context: Tensor
    pooled: Tensor
    sizes: Tensor

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Painted:
        """The same on another device and in another precision."""
        return Painted(*(part.to(device, dtype) for part in vars(self).values()))


def timesteps(scheduler: DDPMScheduler, count: int, generator: torch.Generator, shift: float = 1.0) -> Tensor:
    """Times (count,) int64 of the schedule, drawn. shift: towards noise (Esser et al. 2024, equation 23): a small
    picture is decided early."""
    u = torch.rand(count, generator=generator)
    return (scheduler.config.num_train_timesteps * shift * u / (1 + (shift - 1) * u)).long()


def diffusion_loss(
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    painted: Painted,
    generator: torch.Generator,
    shift: float = 1.0,
) -> Tensor:
    """Mean squared error of what the UNet predicts: the noise (Ho et al. 2020), or the velocity (Salimans & Ho 2022).

    generator: on the CPU, so that every machine draws the same. shift: as in `timesteps`.
    """
    latents = painted.latents
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    steps = timesteps(scheduler, len(latents), generator, shift).to(latents.device)
    noisy = scheduler.add_noise(latents, noise, steps)
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise ModelError(f"The scheduler predicts {kind!r}, expected 'epsilon' or 'v_prediction': name an SDXL's.")
    target = noise if kind == "epsilon" else scheduler.get_velocity(latents, noise, steps)
    added = {"text_embeds": painted.pooled, "time_ids": painted.sizes}
    made = unet(noisy, steps, painted.context, added_cond_kwargs=added, return_dict=False)[0]
    return F.mse_loss(made.float(), target.float())
