"""Computes the diffusion loss of diffusers' SDXL UNets. The targets are images or the UNet's own predictions.

Training on the UNet's own predictions is context distillation (Askell et al. 2021, arXiv 2112.00861, introduced for
language models): the frozen UNet's prediction for a full caption is the target for the same UNet with a shorter prompt
and user tokens.
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


TextConditioning = tuple[Tensor, Tensor]
"""Context (B, 77, C) and pooled text (B, D) of B captions."""


@dataclass(frozen=True)
class DiffusionBatch:
    """Images as latents, with their conditioning.

    Attributes:
        latents: Scaled latents (B, 4, h, w).
        context: Token states of the captions (B, 77, C).
        pooled: Pooled text of the captions (B, D).
        sizes: SDXL's size conditioning (B, 6).
        teacher_captions: Conditioning of more detailed captions of the same images, for context distillation.
    """

    latents: Tensor
    context: Tensor
    pooled: Tensor
    sizes: Tensor
    teacher_captions: TextConditioning | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> DiffusionBatch:
        """Return a copy on a device and in a precision."""
        parts = [part.to(device, dtype) for part in (self.latents, self.context, self.pooled, self.sizes)]
        teacher = self.teacher_captions and tuple(part.to(device, dtype) for part in self.teacher_captions)
        return DiffusionBatch(*parts, teacher)


@dataclass(frozen=True)
class NoisyBatch:
    """Noisy latents (B, 4, h, w), their timesteps (B,) int64, and the target of the prediction (B, 4, h, w)."""

    latents: Tensor
    timesteps: Tensor
    target: Tensor


def sample_timesteps(scheduler: DDPMScheduler, count: int, generator: torch.Generator, shift: float = 1.0) -> Tensor:
    """Sample timesteps of the schedule, (count,) int64.

    Args:
        scheduler: Defines the number of timesteps.
        count: Number of timesteps.
        generator: Random generator on the CPU.
        shift: Shift towards noise (Esser et al. 2024, equation 23). 1 samples uniformly. Small images need a larger
            shift, because their composition is determined early in sampling.
    """
    u = torch.rand(count, generator=generator)
    return (scheduler.config.num_train_timesteps * shift * u / (1 + (shift - 1) * u)).long()


def add_noise(
    scheduler: DDPMScheduler, batch: DiffusionBatch, generator: torch.Generator, shift: float = 1.0
) -> NoisyBatch:
    """Add noise to the latents. The target is the noise (Ho et al. 2020) or the velocity (Salimans & Ho 2022).

    Args:
        scheduler: Noise schedule and prediction type.
        batch: The images.
        generator: Random generator on the CPU, so that all machines draw the same noise.
        shift: Timestep shift, see `sample_timesteps`.

    Raises:
        ModelError: The scheduler predicts neither the noise nor the velocity.
    """
    latents = batch.latents
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    timesteps = sample_timesteps(scheduler, len(latents), generator, shift).to(latents.device)
    prediction = scheduler.config.prediction_type
    if prediction not in ("epsilon", "v_prediction"):
        raise ModelError(f"The scheduler's prediction_type is {prediction!r}; expected 'epsilon' or 'v_prediction'.")
    target = noise if prediction == "epsilon" else scheduler.get_velocity(latents, noise, timesteps)
    return NoisyBatch(scheduler.add_noise(latents, noise, timesteps), timesteps, target)


def predict(
    unet: UNet2DConditionModel, latents: Tensor, timesteps: Tensor, captions: TextConditioning, sizes: Tensor
) -> Tensor:
    """Return the UNet's float32 prediction (B, 4, h, w) for noisy latents and captions."""
    context, pooled = captions
    added = {"text_embeds": pooled, "time_ids": sizes}
    return unet(latents, timesteps, context, added_cond_kwargs=added, return_dict=False)[0].float()


@torch.no_grad()
def distillation_target(unet: UNet2DConditionModel, noisy: NoisyBatch, batch: DiffusionBatch) -> NoisyBatch:
    """Replace the target with the UNet's prediction for the teacher captions.

    Raises:
        SettingsError: The batch has no teacher captions.
    """
    if batch.teacher_captions is None:
        raise SettingsError("target is 'caption', but the batch has no teacher captions. Set target=image.")
    target = predict(unet, noisy.latents, noisy.timesteps, batch.teacher_captions, batch.sizes)
    return replace(noisy, target=target)


def prediction_loss(unet: UNet2DConditionModel, noisy: NoisyBatch, batch: DiffusionBatch) -> Tensor:
    """Return the mean squared error between the UNet's prediction and its target."""
    prediction = predict(unet, noisy.latents, noisy.timesteps, (batch.context, batch.pooled), batch.sizes)
    return F.mse_loss(prediction, noisy.target.float())


def diffusion_loss(
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    batch: DiffusionBatch,
    generator: torch.Generator,
    shift: float = 1.0,
) -> Tensor:
    """Add noise to a batch and return its prediction loss. See `add_noise` for the arguments."""
    return prediction_loss(unet, add_noise(scheduler, batch, generator, shift), batch)
