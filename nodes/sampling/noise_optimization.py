"""ReNO within ComfyUI: optimises the initial noise of a few-step sampling for a reward."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import comfy.model_management
import latent_preview
import torch
from comfy.sd import VAE
from torch import Tensor

from ...prefgen.reno import RenoConfig, RenoResult, RenoStep, optimize_noise
from ...prefgen.rewards import Reward
from ..attention.picture_identity import Picture
from .decoder import load_decoder, require_matching_vae
from .diagnostics.blurry_images import describe_blur
from .diagnostics.image_mismatch import describe_mismatch
from .diagnostics.nonfinite_gradients import explain_nonfinite_gradients
from .diagnostics.nonfinite_latents import require_finite_latents
from .diagnostics.out_of_memory import explain_out_of_memory
from .diagnostics.stateful_patches import explain_stateful_patches
from .few_step import FewStepSampling, Render
from .gradients import enable_gradients
from .rewards import RewardSettings

LOSS_SCALE = 2.0**12
"""Loss scale if a model computes in float16, whose smallest positive number is 6e-8. The value is our choice."""

LESS_MEMORY = "Lower the latent's width, height or batch size, or the steps, or enable checkpointing."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OptimizedImages:
    """Images generated from the optimised noise.

    Attributes:
        images: Images that core generated from the noise, (B, H, W, 3).
        latents: Latents of the images, (B, C, h, w).
        pictures: Identity of the picture in each row of the noise.
        result: The optimised noise and the rewards.
        notices: Notices for the user.
    """

    images: Tensor
    latents: Tensor
    pictures: Sequence[Picture]
    result: RenoResult
    notices: list[str]


class NoiseOptimization:
    """Optimises the initial noise of a few-step sampling for a reward.

    The methods run in the order in which they are defined: `run` calls `prepare`, then core's guider. The guider loads
    the MODEL and calls `optimize` once, which calls `generate`, the reward and `on_step` in every iteration. Finally,
    `run` generates images from the best noise without gradients.
    """

    def __init__(self, sampling: FewStepSampling, vae: VAE, rewards: RewardSettings, config: RenoConfig) -> None:
        """Raises ModelError if the VAE is not compatible with the MODEL."""
        require_matching_vae(vae, sampling.model)
        self.sampling = sampling
        self.vae = vae
        self.rewards = rewards
        self.config = config
        self.notices: list[str] = []

    def run(self) -> OptimizedImages:
        """Optimise the noise, and generate images from the best noise.

        Raises:
            ModelError: There is not enough memory, or the MODEL does not work with gradients.
            RewardError: The reward or its gradient is invalid.
        """
        size = " x ".join(map(str, self.sampling.initial_latent.shape))
        task = f"optimising noise of {size} in {len(self.sampling.sigmas) - 1} steps"
        with explain_out_of_memory(task, LESS_MEMORY), enable_gradients(), explain_stateful_patches():
            self.prepare()
            result = self.sampling.differentiate(self.sampling.seed_noise().clone(), self.optimize).cpu()
        latents = self.sampling.sample(result.noise)
        images = self.vae.decode(latents)
        self.add_notice(describe_mismatch(images, result.images))
        return OptimizedImages(images, latents, self.sampling.pictures, result, self.notices)

    def prepare(self) -> None:
        """Load the reward, and choose the loss scale."""
        scorer = self.rewards.load_scorer()
        if torch.float16 in (self.sampling.compute_dtype, self.vae.vae_dtype, scorer.dtype):
            self.config = replace(self.config, loss_scale=LOSS_SCALE)
        self.reward: Reward = self.rewards.load_reward(scorer)
        self.show_preview: Callable = latent_preview.prepare_callback(self.sampling.model, self.config.iterations)

    def optimize(self, noise: Tensor, render: Render) -> RenoResult:
        """Optimise noise (B, C, h, w). Core's guider calls this once, with the MODEL loaded.

        Args:
            noise: Initial noise on the MODEL's device.
            render: Differentiable function from noise to latents.
        """
        decode = load_decoder(self.vae, self.sampling.checkpointing, self.rewards.patchers())
        self.latents = noise  # Shown as the preview.

        def generate(noise: Tensor) -> Tensor:
            return self.generate(noise, render, decode)

        with explain_nonfinite_gradients(self.sampling.model, self.config.loss_scale):
            return optimize_noise(noise, generate, self.reward, self.config, self.on_step, self.sampling.extra_noise)

    def generate(self, noise: Tensor, render: Render, decode: Callable[[Tensor], Tensor]) -> Tensor:
        """Generate images (B, 3, H, W) in [0, 1] from noise (B, C, h, w)."""
        latents = render(noise)
        require_finite_latents(latents)
        self.latents = self.sampling.model.model.process_latent_in(latents.detach())
        return decode(latents)

    def on_step(self, step: RenoStep) -> None:
        """Handle interrupts, check the first images, and show progress and a preview."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        if step.index == 0:
            self.add_notice(describe_blur(self.latents, len(self.sampling.sigmas) - 1))
        self.show_preview(step.index, self.latents, None, step.total)

    def add_notice(self, notice: str) -> None:
        """Log a notice and keep it for the user, unless it is empty."""
        if notice:
            log.warning(notice)
            self.notices.append(notice)
