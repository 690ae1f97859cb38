"""Few-step sampling through ComfyUI's guider, with and without gradients.

Conditioning, CFG, LoRAs and patches work as with core's sampler nodes. Core's samplers run in inference mode, without
gradients, so core's guider is given the differentiable sampler in this module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import comfy.model_management
import comfy.sample
import comfy.samplers
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...prefgen.errors import ModelError
from ..attention.picture_identity import Picture, remember_noise
from ..validation import require_cfg, require_conditioning, require_latent, require_sigmas
from .checkpointing import clone_with_checkpointing
from .gradients import clone_if_inference, differentiable_attention, disable_weight_streaming, make_differentiable
from .inplace_autograd import functional_inplace_ops, protect_patch_inputs

Render = Callable[[Tensor], Tensor]
"""A differentiable function from noise to latents, both (B, C, h, w)."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class FewStepSampling:
    """Settings for sampling a MODEL with a few Euler steps.

    Attributes:
        model: The MODEL with all its patches.
        positive: CONDITIONING of the prompt.
        negative: CONDITIONING of the negative prompt, or None if `cfg` is 1.
        latent: The LATENT to start from; an empty one for text to image.
        sigmas: Decreasing noise levels, (steps + 1,).
        cfg: Guidance scale.
        seed: Seed of the initial noise.
        checkpointing: Whether blocks run again during the backward pass to save memory.

    Raises:
        ModelError: An input is invalid.
    """

    model: ModelPatcher
    positive: list
    negative: list | None
    latent: dict
    sigmas: Tensor
    cfg: float = 1.0
    seed: int = 0
    checkpointing: bool = False

    def __post_init__(self) -> None:
        require_sigmas(self.sigmas)
        require_cfg(self.cfg, self.negative is not None)
        require_latent(self.latent)
        require_conditioning("positive", self.positive, self.model)
        require_conditioning("negative", self.negative or (), self.model)

    @property
    def initial_latent(self) -> Tensor:
        """The latent's samples, with the MODEL's number of channels."""
        # In newer versions of core, an empty latent records for which VAE its size was computed.
        ratios = {key: value for key, value in self.latent.items() if key.startswith("downscale_ratio")}
        samples = comfy.sample.fix_empty_latent_channels(self.model, self.latent["samples"], **ratios)
        channels = self.model.get_model_object("latent_format").latent_channels
        if samples.shape[1] != channels:
            raise ModelError(
                f"The latent has {samples.shape[1]} channels; expected {channels}. Encode the image with the MODEL's "
                "VAE."
            )
        return samples

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype in which the MODEL computes."""
        return self.model.get_model_object("manual_cast_dtype") or self.model.model_dtype()

    @property
    def pictures(self) -> list[Picture]:
        """The picture of each row. It determines the codebook entries and the mask, whatever the noise is."""
        indices = self.latent.get("batch_index", range(len(self.latent["samples"])))
        return [Picture.at(self.seed, int(index)) for index in indices]

    def seed_noise(self) -> Tensor:
        """Return the noise that core's samplers draw for the seed, so that the first image equals KSampler's."""
        return self._draw_noise(self.seed)

    def extra_noise(self, index: int) -> Tensor:
        """Return another initial noise. Its seed is not near `seed`, because the next queued prompt uses seed + 1."""
        (seed,) = np.random.SeedSequence([self.seed % 2**64, index]).generate_state(1, np.uint64)
        return self._draw_noise(int(seed))

    def _draw_noise(self, seed: int) -> Tensor:
        return comfy.sample.prepare_noise(self.initial_latent, seed, self.latent.get("batch_index"))

    def sample(self, noise: Tensor) -> Tensor:
        """Return the latents that core's sampler nodes generate from the noise, bit for bit."""
        return self._run_guider(self.model, noise, comfy.samplers.sampler_object("euler"))

    def differentiate(self, noise: Tensor, callback: Callable[[Tensor, Render], Result]) -> Result:
        """Run a callback within core's guider, with a differentiable sampler. Call this inside `enable_gradients`.

        Args:
            noise: Initial noise, (B, C, h, w).
            callback: Receives the noise on the MODEL's device, and a differentiable function from noise to latents.

        Returns:
            The result of the callback.
        """
        model = disable_weight_streaming(self.model).clone()
        model.model_options["transformer_options"]["optimized_attention_override"] = differentiable_attention
        sampler = DifferentiableEuler(callback)
        self._run_guider(clone_with_checkpointing(model) if self.checkpointing else model, noise, sampler)
        return sampler.result

    def _run_guider(self, model: ModelPatcher, noise: Tensor, sampler: comfy.samplers.Sampler) -> Tensor:
        guider = comfy.samplers.CFGGuider(model)
        prompts = {"positive": self.positive} | ({} if self.negative is None else {"negative": self.negative})
        guider.inner_set_conds(prompts)
        guider.set_cfg(self.cfg)
        mask = self.latent.get("noise_mask")
        remember_noise(noise, self.pictures)
        samples = guider.sample(
            noise, self.initial_latent, sampler, self.sigmas, denoise_mask=mask, disable_pbar=True, seed=self.seed
        )
        return samples.to(comfy.model_management.intermediate_device())


class DifferentiableEuler(comfy.samplers.Sampler):
    """Core's Euler sampler with gradients, which a callback runs any number of times within one call of the guider.

    Attributes:
        callback: Called once by `sample` with the noise and the method `render`.
        result: The callback's result.
    """

    def __init__(self, callback: Callable[[Tensor, Render], Result]) -> None:
        self.callback = callback
        self.result: Result | None = None

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """Prepare the models that the guider has loaded, and run the callback. Core's guider calls this."""
        self.base = model_wrap.inner_model
        # Conditioning can include additional models, such as ControlNets.
        for model in (self.base, *(patcher.model for patcher in model_wrap.loaded_models)):
            make_differentiable(model)
        self.sigmas, self.latent = clone_if_inference(sigmas), clone_if_inference(latent_image)
        noise = clone_if_inference(noise)
        self.denoiser = comfy.samplers.KSamplerX0Inpaint(model_wrap, self.sigmas)
        self.denoiser.latent_image = self.latent
        options = protect_patch_inputs(extra_args["model_options"])
        self.arguments = {**extra_args, "model_options": options, "denoise_mask": clone_if_inference(denoise_mask)}
        self.is_max_denoise = self.max_denoise(model_wrap, self.sigmas)
        self.has_controlnet = any("control" in cond for conds in model_wrap.conds.values() for cond in conds or ())
        self.result = self.callback(noise, self.render)
        return noise

    def render(self, noise: Tensor) -> Tensor:
        """Generate latents from noise, both (B, C, h, w), in the VAE's scale."""
        self.denoiser.noise = noise
        sampling = self.base.model_sampling
        start = sampling.noise_scaling(self.sigmas[0], noise, self.latent, self.is_max_denoise)
        with functional_inplace_ops(self.base, self.has_controlnet):
            x = euler(self.denoiser, start, self.sigmas, self.arguments)
        return self.base.process_latent_out(sampling.inverse_noise_scaling(self.sigmas[-1], x))


def euler(denoise: Callable[..., Tensor], x: Tensor, sigmas: Tensor, arguments: dict) -> Tensor:
    """Run the steps of core's `euler` sampler, in the same order of operations."""
    ones = x.new_ones(len(x))
    for sigma, next_sigma in pairwise(sigmas):
        denoised = denoise(x, sigma * ones, **arguments)
        x = x + (x - denoised) / sigma * (next_sigma - sigma)
    return x
