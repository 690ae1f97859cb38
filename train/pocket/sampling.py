"""Samples from the pocket generator with diffusers, exactly as ComfyUI's KSampler (`euler`, `normal`) does.

The settings are those of workflows/api/quickstart.json and the demo. A test compares the images with ComfyUI's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from prefgen.adapter import PreferenceAdapter, gumbel_noise
from prefgen.adapter.diffusers import UserBranch
from prefgen.adapter.model import KeysValues
from prefgen.errors import ModelError
from prefgen.pocket.shapes import LATENT_CHANNELS, LATENT_SIZE
from train.pocket import generator, text, vae
from train.pocket.taesd import ThinTAESD


@dataclass(frozen=True)
class Sampling:
    """Settings of the KSampler. The negative prompt is empty."""

    steps: int = 12
    cfg: float = 2.5

    def __post_init__(self) -> None:
        if self.steps < 1 or not math.isfinite(self.cfg):
            raise ModelError(
                f"steps and cfg are {self.steps} and {self.cfg:g}; expected at least 1 step and a finite cfg."
            )

    def sigmas(self) -> Tensor:
        """Return sigmas (steps + 1,) that fall to 0 at equally spaced timesteps (ComfyUI's `normal` scheduler)."""
        every = _sigmas()
        times = torch.linspace(len(every) - 1, 0, self.steps)
        low, share = times.long(), times.frac()
        logs = every.log()
        levels = torch.lerp(logs[low], logs[(low + 1).clamp(max=len(every) - 1)], share).exp()
        return torch.cat([levels, levels.new_zeros(1)])


@dataclass(frozen=True)
class FewStepSampling(Sampling):
    """Sampler settings of the ReNO node: few steps of ComfyUI's `simple` scheduler without guidance."""

    steps: int = 4
    cfg: float = 1.0

    def sigmas(self) -> Tensor:
        """Return sigmas (steps + 1,) that fall to 0, evenly spaced in the schedule (`simple` scheduler)."""
        every = _sigmas()
        chosen = [-(1 + int(i * len(every) / self.steps)) for i in range(self.steps)]
        return torch.cat([every[chosen], every.new_zeros(1)])


@dataclass(frozen=True)
class PocketGenerator:
    """The frozen pocket UNet, text encoders and VAE on one device."""

    unet: UNet2DConditionModel
    encode: text.TextEncoders
    vae: ThinTAESD

    @classmethod
    def load(cls, device: torch.device | str = "cpu") -> PocketGenerator:
        """Load the shipped generator."""
        unet = generator.load().to(device, memory_format=torch.channels_last)
        return cls(unet, text.load(), vae.load().to(device))

    @torch.no_grad()
    def paint(
        self,
        prompts: Sequence[str],
        noise: Tensor,
        sampling: Sampling | None = None,
        branch: UserBranch | None = None,
        users: KeysValues | None = None,
    ) -> Tensor:
        """Generate images (B, 3, 96, 96) in [0, 1] on the CPU from unit Gaussian noise (B, 4, 12, 12).

        See `sampler` for the other arguments.
        """
        return self.painter(prompts, sampling, branch, users)(noise).cpu()

    def painter(
        self,
        prompts: Sequence[str],
        sampling: Sampling | None = None,
        branch: UserBranch | None = None,
        users: KeysValues | None = None,
    ) -> Callable[[Tensor], Tensor]:
        """Return a differentiable function from noise (B, 4, 12, 12) to images (B, 3, 96, 96) in [0, 1].

        See `sampler` for the arguments.
        """
        sample = self.sampler(prompts, sampling, branch, users)
        return lambda noise: self.decode(sample(noise))

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (B, 4, 12, 12) to images (B, 3, 96, 96) in [0, 1], with gradients."""
        images = self.vae.decode(latents.contiguous(memory_format=torch.channels_last))
        # Clamp the values, but pass the gradient through. Otherwise saturated colours would get no gradient.
        return images + (images.clamp(0, 1) - images).detach()

    def sampler(
        self,
        prompts: Sequence[str],
        sampling: Sampling | None = None,
        branch: UserBranch | None = None,
        users: KeysValues | None = None,
    ) -> Callable[[Tensor], Tensor]:
        """Return a differentiable function from noise to latents (B, 4, 12, 12) on the generator's device.

        Args:
            prompts: B prompts. They are encoded once, in this call.
            sampling: Sampler settings.
            branch: Adapter branch of this UNet (`install_in_diffusers`). Required if `users` is given.
            users: Keys and values of the users, (B, T, width) for each block. As in the node, they apply only to the
                conditional half of the batch. None generates images without a user.
        """
        device, sampling = self.unet.device, sampling or Sampling()
        # At cfg 1 ComfyUI skips the empty prompt, because its weight is 0.
        guided = sampling.cfg != 1
        with torch.no_grad():
            texts = [*prompts, *[""] * len(prompts)] if guided else prompts
            conditioning = unet_conditioning(self.encode, texts, device)
        sigmas = sampling.sigmas()
        users = _extend_to_guidance(users) if users and guided else users

        def sample(noise: Tensor) -> Tensor:
            x = noise.to(device) * (1 + sigmas[0] ** 2).sqrt()
            with branch.keys_values(users) if branch and users else nullcontext():
                for sigma, following in pairwise(sigmas.tolist()):
                    latents = torch.cat([x, x]) if guided else x
                    denoised = denoise(self.unet, latents, sigma, timestep(sigma), conditioning)
                    if guided:
                        prompted, empty = denoised.chunk(2)
                        denoised = empty + (prompted - empty) * sampling.cfg
                    x = x + (x - denoised) / sigma * (following - sigma)
            return x

        return sample


def unet_conditioning(encode: text.TextEncoders, prompts: Sequence[str], device: torch.device) -> dict:
    """Return the UNet's conditioning for B prompts."""
    context, pooled = (part.to(device) for part in encode(list(prompts)))
    added = {"text_embeds": pooled, "time_ids": generator.sizes(len(prompts)).to(device)}
    return {"encoder_hidden_states": context, "added_cond_kwargs": added}


def denoise(
    unet: UNet2DConditionModel, x: Tensor, sigma: float | Tensor, time: int | Tensor, conditioning: Mapping
) -> Tensor:
    """Return the denoised latents of x (B, 4, 12, 12) by v-prediction (Salimans & Ho 2022), in k-diffusion's scale.

    Args:
        unet: The denoiser.
        x: Noisy latents.
        sigma: Noise level, a number or (B, 1, 1, 1).
        time: Timestep of `sigma`, a number or (B,).
        conditioning: Conditioning from `unet_conditioning`.
    """
    v = unet(x / (1 + sigma**2) ** 0.5, time, **conditioning, return_dict=False)[0]
    return x / (1 + sigma**2) - v * sigma / (1 + sigma**2) ** 0.5


def seed_noise(seeds: Sequence[int]) -> Tensor:
    """Return the noise (B, 4, 12, 12) that KSampler draws for each seed with a batch size of 1."""
    shape = (LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def codebook_noise(adapter: PreferenceAdapter, seeds: Sequence[int]) -> Tensor | None:
    """Return the Gumbel noise (B, W) with which the node samples codebook entries for each seed at variety 1.

    Returns None for an adapter without a codebook.
    """
    sizes = adapter.config.codebook_sizes
    return gumbel_noise([(seed, 0) for seed in seeds], sum(sizes)) if sizes else None


def _extend_to_guidance(users: KeysValues) -> KeysValues:
    """Extend keys and values from B to 2B rows. The unconditional half gets values of zero, which add nothing."""
    return {name: (torch.cat([k, k]), torch.cat([v, torch.zeros_like(v)])) for name, (k, v) in users.items()}


def _sigmas() -> Tensor:
    """Return the sigmas of the schedule's 1,000 timesteps in ascending order."""
    alphas_cumprod = generator.schedule().alphas_cumprod
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


def timestep(sigma: float) -> int:
    """Return the timestep with the nearest sigma on a log scale, as ComfyUI does."""
    return int((_sigmas().log() - torch.tensor(sigma).log()).abs().argmin())
