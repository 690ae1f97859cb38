"""The diffusion loss, for any SDXL UNet of diffusers and any of its two predictions; and a UNet that teaches itself.

Context distillation (Askell et al. 2021, arXiv 2112.00861, of language models): the frozen UNet's prediction with a
full caption becomes the target for the same UNet with a shorter prompt and a user's tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from prefgen.errors import ModelError
from train.settings import SettingsError

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DConditionModel


Captions = tuple[Tensor, Tensor]
"""Context (B, 77, C) and pooled (B, D)."""


@dataclass(frozen=True)
class Painted:
    """What is to be painted: latents (B, 4, h, w), as the UNet sees them; context (B, 77, C) and pooled (B, D): the
    captions; sizes (B, 6): SDXL's size condition. fuller: context and pooled of captions that say more of the same
    pictures, where the UNet is to be its own teacher."""

    latents: Tensor
    context: Tensor
    pooled: Tensor
    sizes: Tensor
    fuller: Captions | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Painted:
        """The same on another device and in another precision."""
        parts = [part.to(device, dtype) for part in (self.latents, self.context, self.pooled, self.sizes)]
        return Painted(*parts, self.fuller and tuple(part.to(device, dtype) for part in self.fuller))


@dataclass(frozen=True)
class Noised:
    """A batch with noise in it: noisy (B, 4, h, w), steps (B,) int64, and the target of its prediction."""

    noisy: Tensor
    steps: Tensor
    target: Tensor


def timesteps(scheduler: DDPMScheduler, count: int, generator: torch.Generator, shift: float = 1.0) -> Tensor:
    """Times (count,) int64 of the schedule, drawn. shift: towards noise (Esser et al. 2024, equation 23): a small
    picture is decided early."""
    u = torch.rand(count, generator=generator)
    return (scheduler.config.num_train_timesteps * shift * u / (1 + (shift - 1) * u)).long()


def noised(scheduler: DDPMScheduler, painted: Painted, generator: torch.Generator, shift: float = 1.0) -> Noised:
    """Noise the latents; the target is the noise (Ho et al. 2020), or the velocity (Salimans & Ho 2022).

    generator: on the CPU, so that every machine draws the same. shift: as in `timesteps`. Raises ModelError for a
    scheduler of another prediction.
    """
    latents = painted.latents
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    steps = timesteps(scheduler, len(latents), generator, shift).to(latents.device)
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise ModelError(f"The scheduler predicts {kind!r}, expected 'epsilon' or 'v_prediction': name an SDXL's.")
    target = noise if kind == "epsilon" else scheduler.get_velocity(latents, noise, steps)
    return Noised(scheduler.add_noise(latents, noise, steps), steps, target)


def predicted(unet: UNet2DConditionModel, noisy: Tensor, steps: Tensor, captions: Captions, sizes: Tensor) -> Tensor:
    """What the UNet predicts (B, 4, h, w) of noisy latents at `steps` with these captions, in single precision."""
    context, pooled = captions
    added = {"text_embeds": pooled, "time_ids": sizes}
    return unet(noisy, steps, context, added_cond_kwargs=added, return_dict=False)[0].float()


@torch.no_grad()
def taught(unet: UNet2DConditionModel, given: Noised, painted: Painted) -> Noised:
    """The same noise with another target: what the UNet predicts with the fuller captions. Raises SettingsError where
    there are none."""
    if painted.fuller is None:
        raise SettingsError("The target is a caption's and the batch has no fuller captions: set target=image.")
    return replace(given, target=predicted(unet, given.noisy, given.steps, painted.fuller, painted.sizes))


def prediction_loss(unet: UNet2DConditionModel, given: Noised, painted: Painted) -> Tensor:
    """Mean squared error of the prediction from its target."""
    made = predicted(unet, given.noisy, given.steps, (painted.context, painted.pooled), painted.sizes)
    return F.mse_loss(made, given.target.float())


def diffusion_loss(
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    painted: Painted,
    generator: torch.Generator,
    shift: float = 1.0,
) -> Tensor:
    """The loss of one batch; the arguments are those of `noised`."""
    return prediction_loss(unet, noised(scheduler, painted, generator, shift), painted)
