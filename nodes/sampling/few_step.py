"""Gradients through ComfyUI's own sampling: conditioning, CFG, LoRAs and patches stay what the graph made them.

The executor runs nodes in inference mode, whose tensors autograd refuses, and core's samplers run without gradient. So
a sampler of our own is handed to core's guider, outside inference mode, with weights that are ordinary tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import comfy.model_management
import comfy.sample
import comfy.samplers
import numpy as np
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from torch import Tensor, nn

from ...prefgen.errors import ModelError
from ..validation import check_cfg, check_latent, check_sigmas
from .checkpointing import checkpointed
from .inplace_autograd import out_of_place, patches_out_of_place

Render = Callable[[Tensor], Tensor]


@contextmanager
def gradients() -> Iterator[None]:
    """Inside, tensors can carry gradients, as they cannot where ComfyUI runs a node.

    Core is told so by the switch of its own trainer: it then leaves out fused kernels that have no gradient (Flux's).
    """
    management = comfy.model_management
    before, management.in_training = getattr(management, "in_training", False), True
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        management.in_training = before


def make_differentiable(module: nn.Module) -> None:
    """Turn a module's inference tensors into ordinary ones, in place and with the same values, and freeze it.

    Tensors made in inference mode (every model that a node loaded) may not take part in a backward pass.
    """
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None and weight.is_inference():
                part._parameters[name] = nn.Parameter(weight.clone(), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_inference():
                part._buffers[name] = buffer.clone()
    module.requires_grad_(False)


def ordinary(x: Tensor | None) -> Tensor | None:
    """A tensor that autograd may keep for its backward pass."""
    return x.clone() if x is not None and x.is_inference() else x


@dataclass(frozen=True)
class FewSteps:
    """A few Euler steps from a noise, as a graph of guider, sampler, sigmas and latent describes them.

    Attributes:
        model: the MODEL, with all its patches.
        positive, negative: CONDITIONING; without a negative the positive is followed alone, and `cfg` is 1.
        latent: the LATENT to start from; an empty one for text to image.
        sigmas: (steps + 1,), falling.
        seed: handed to samplers that ask for one; Euler does not.
        recompute: whether blocks run again in the backward pass, to save the memory of what they would keep.
    """

    model: ModelPatcher
    positive: list
    negative: list | None
    latent: dict
    sigmas: Tensor
    cfg: float = 1.0
    seed: int = 0
    recompute: bool = False

    def __post_init__(self) -> None:
        check_sigmas(self.sigmas)
        check_cfg(self.cfg, self.negative is not None)
        check_latent(self.latent)

    @property
    def start(self) -> Tensor:
        """The latent's samples, in the number of channels that the MODEL has."""
        # an empty latent says for which VAE it is as large as it is, since core began to ask
        ratios = {key: value for key, value in self.latent.items() if key.startswith("downscale_ratio")}
        samples = comfy.sample.fix_empty_latent_channels(self.model, self.latent["samples"], **ratios)
        channels = self.model.get_model_object("latent_format").latent_channels
        if samples.shape[1] != channels:
            raise ModelError(
                f"The latent has {samples.shape[1]} channels and the MODEL works on {channels}: "
                "encode the image with the VAE that belongs to the MODEL."
            )
        return samples

    def seed_noise(self) -> Tensor:
        """The noise that core's samplers draw for this seed, so that the unoptimised image is KSampler's."""
        return self._noise_of(self.seed)

    def fresh_noise(self, k: int) -> Tensor:
        """The k-th other noise to start from. Of a seed far from this one: the next queue takes the seed beside it."""
        (other,) = np.random.SeedSequence([self.seed % 2**64, k]).generate_state(1, np.uint64)
        return self._noise_of(int(other))

    def _noise_of(self, seed: int) -> Tensor:
        return comfy.sample.prepare_noise(self.start, seed, self.latent.get("batch_index"))

    def paint(self, noise: Tensor) -> Tensor:
        """What a stock graph paints from this noise, to the bit; latents as a LATENT holds them."""
        return self._sample(self.model, noise, comfy.samplers.sampler_object("euler"))

    def differentiate(self, noise: Tensor, work: Callable[[Tensor, Render], object]) -> object:
        """The answer of `work` (see `DifferentiableEuler`), given the noise. To be called inside `gradients`."""
        model = whole(self.model).clone()
        model.model_options["transformer_options"]["optimized_attention_override"] = attention_with_gradient
        sampler = DifferentiableEuler(work)
        self._sample(checkpointed(model) if self.recompute else model, noise, sampler)
        return sampler.answer

    def _sample(self, model: ModelPatcher, noise: Tensor, sampler: comfy.samplers.Sampler) -> Tensor:
        guider = comfy.samplers.CFGGuider(model)
        prompts = {"positive": self.positive} | ({} if self.negative is None else {"negative": self.negative})
        guider.inner_set_conds(prompts)
        guider.set_cfg(self.cfg)
        mask = self.latent.get("noise_mask")
        samples = guider.sample(
            noise, self.start, sampler, self.sigmas, denoise_mask=mask, disable_pbar=True, seed=self.seed
        )
        return samples.to(comfy.model_management.intermediate_device())


class DifferentiableEuler(comfy.samplers.Sampler):
    """Core's Euler steps with their gradient, run as often as `work` likes within one call of the guider.

    Args:
        work: is given the noise (B, C, H, W) on the MODEL's device and a function from noise to the latents that the
            VAE takes; its answer is kept in `answer`.
    """

    def __init__(self, work: Callable[[Tensor, Render], object]) -> None:
        self.work = work
        self.answer: object = None

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        base = model_wrap.inner_model
        # with what conditions bring along: a ControlNet's weights
        for model in (base, *(patcher.model for patcher in model_wrap.loaded_models)):
            make_differentiable(model)
        sigmas, noise, latent = ordinary(sigmas), ordinary(noise), ordinary(latent_image)
        model = comfy.samplers.KSamplerX0Inpaint(model_wrap, sigmas)
        model.latent_image = latent
        options = patches_out_of_place(extra_args["model_options"])
        arguments = {**extra_args, "model_options": options, "denoise_mask": ordinary(denoise_mask)}
        full = self.max_denoise(model_wrap, sigmas)
        controlled = any("control" in cond for conds in model_wrap.conds.values() for cond in conds or ())

        def render(noise: Tensor) -> Tensor:
            model.noise = noise
            start = base.model_sampling.noise_scaling(sigmas[0], noise, latent, full)
            with out_of_place(base, controlled):
                x = euler(model, start, sigmas, arguments)
            return base.process_latent_out(base.model_sampling.inverse_noise_scaling(sigmas[-1], x))

        self.answer = self.work(noise, render)
        return noise


def euler(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor, arguments: dict) -> Tensor:
    """The steps of core's `euler` sampler, in its order of operations."""
    ones = x.new_ones(len(x))
    for sigma, following in pairwise(sigmas):
        denoised = model(x, sigma * ones, **arguments)
        x = x + (x - denoised) / sigma * (following - sigma)
    return x


DIFFERENTIABLE = ("attention_pytorch", "attention_sub_quad", "attention_split", "attention_basic", "attention_xformers")
"""Core's attention functions that have a gradient. Sage's has none and says nothing; Flash's ends in an error."""


def attention_with_gradient(attention: Callable[..., Tensor], *args, **kwargs) -> Tensor:
    """What core calls in the place of its attention, or of another pack's: the same, if it has a gradient."""
    return (attention if attention.__name__ in DIFFERENTIABLE else attention_pytorch)(*args, **kwargs)


def whole(patcher: ModelPatcher) -> ModelPatcher:
    """The same model with weights that stay on the device, where core would else move them in and out by itself. One
    that core cannot build anew is left to it."""
    if patcher.is_dynamic() and patcher.cached_patcher_init is not None:
        return patcher.clone(disable_dynamic=True)
    return patcher


def compute_dtype(model: ModelPatcher) -> torch.dtype:
    """What the MODEL computes in."""
    return model.get_model_object("manual_cast_dtype") or model.model_dtype()


def check_decoder(vae: VAE, model: ModelPatcher) -> None:
    """Raises ModelError for a VAE that cannot belong to the MODEL."""
    channels = model.get_model_object("latent_format").latent_channels
    if vae.latent_channels != channels or vae.latent_dim != 2:
        found = f"{vae.latent_channels} channels" + ("" if vae.latent_dim == 2 else f" in {vae.latent_dim} dimensions")
        raise ModelError(
            f"The VAE decodes latents of {found} and the MODEL makes ones of {channels}: connect the VAE that belongs "
            "to the MODEL."
        )


def load_decoder(vae: VAE, recompute: bool = False, beside: Sequence[ModelPatcher] = ()) -> Render:
    """Load the VAE and return latents -> images (B, 3, H, W) in [0, 1], differentiable.

    recompute: as in `FewSteps`. beside: what is needed with it, whole. Core makes room for each call by moving out
    what is in no need of this call; so they are asked for together, or one would go for another.

    Values beyond 0 and 1 are clamped as core does it, but keep their gradient: a poster's flat colours lie at the
    edges, and would never move again.
    """
    patcher = whole(vae.patcher)
    patcher = checkpointed(patcher) if recompute else patcher
    comfy.model_management.load_models_gpu([patcher, *beside], force_full_load=True)
    make_differentiable(patcher.model)

    def decode(latents: Tensor) -> Tensor:
        decoded = patcher.model.decode(latents.to(vae.device, vae.vae_dtype)).float()
        images = (decoded + 1) / 2
        return images + (images.clamp(0, 1) - images).detach()

    return decode
