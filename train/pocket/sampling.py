"""Paints with the pocket generator as ComfyUI does: its KSampler's `euler` with the `normal` scheduler, in diffusers.

The numbers are those of workflows/api/quickstart.json and the demo; a test compares the pictures with core's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from prefgen.adapter.diffusers import UserBranch
from prefgen.adapter.model import KeysValues
from prefgen.pocket.shapes import LATENT_CHANNELS, LATENT_SIZE
from train.pocket import generator, text, vae
from train.pocket.taesd import ThinTAESD


@dataclass(frozen=True)
class Sampling:
    """KSampler's settings. The negative prompt is the empty one."""

    steps: int = 12
    cfg: float = 2.5

    def sigmas(self) -> Tensor:
        """Noise levels (steps + 1,), falling to 0: even steps of time (core's `normal` scheduler)."""
        every = _sigmas()
        times = torch.linspace(len(every) - 1, 0, self.steps)
        low, share = times.long(), times.frac()
        logs = every.log()
        levels = torch.lerp(logs[low], logs[(low + 1).clamp(max=len(every) - 1)], share).exp()
        return torch.cat([levels, levels.new_zeros(1)])


@dataclass(frozen=True)
class PocketGenerator:
    """The pocket's UNet, text encoders and VAE, frozen, on one device."""

    unet: UNet2DConditionModel
    encode: text.TextEncoders
    vae: ThinTAESD

    @classmethod
    def load(cls, device: torch.device | str = "cpu") -> PocketGenerator:
        """The shipped one."""
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
        """Images (B, 3, 96, 96) in [0, 1], on the CPU.

        Args:
            noise: (B, 4, 12, 12) of unit deviation; see `seed_noise`.
            branch: the adapter's hold on this UNet (`install_in_diffusers`), where there are users.
            users: the users' keys and values, (B, T, width) a block. They go to the prompted rows alone, as the node's
                do; None paints for nobody.
        """
        device, sampling = self.unet.device, sampling or Sampling()
        context, pooled = (part.to(device) for part in self.encode([*prompts, *[""] * len(prompts)]))
        sizes = generator.sizes(2 * len(prompts)).to(device)
        given = {"encoder_hidden_states": context, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}
        sigmas = sampling.sigmas()
        x = noise.to(device) * (1 + sigmas[0] ** 2).sqrt()
        with branch.keys_values(_prompted_rows_alone(users)) if branch and users else nullcontext():
            for sigma, following in pairwise(sigmas.tolist()):
                scaled = torch.cat([x, x]) / (1 + sigma**2) ** 0.5
                v = self.unet(scaled, _timestep(sigma), **given, return_dict=False)[0]
                # What core calls the denoised latent, of v-prediction: Salimans & Ho 2022, in k-diffusion's scale.
                denoised = torch.cat([x, x]) / (1 + sigma**2) - v * sigma / (1 + sigma**2) ** 0.5
                prompted, empty = denoised.chunk(2)
                denoised = empty + (prompted - empty) * sampling.cfg
                x = x + (x - denoised) / sigma * (following - sigma)
        return self.vae.decode(x.contiguous(memory_format=torch.channels_last)).clamp(0, 1).cpu()


def seed_noise(seeds: Sequence[int]) -> Tensor:
    """The noise that KSampler draws for each seed in a batch of one: (B, 4, 12, 12)."""
    shape = (LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def _prompted_rows_alone(users: KeysValues) -> KeysValues:
    """Keys and values of B rows -> of 2B, the second half without a user: values of zero add nothing."""
    return {name: (torch.cat([k, k]), torch.cat([v, torch.zeros_like(v)])) for name, (k, v) in users.items()}


def _sigmas() -> Tensor:
    """Noise level of each of the schedule's 1,000 times, rising."""
    kept = generator.schedule().alphas_cumprod
    return ((1 - kept) / kept).sqrt()


def _timestep(sigma: float) -> int:
    """The schedule's time whose noise level is nearest, on a log scale, as core looks it up."""
    return int((_sigmas().log() - torch.tensor(sigma).log()).abs().argmin())
