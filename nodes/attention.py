"""The adapter's branch inside ComfyUI's SDXL UNet: one attn2 patch a cross-attention block.

Keys and values come ready-made (``PreferenceAdapter.keys_values``), so a denoising step costs each block one small
attention and no projection. Patches that were there before are called first and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import comfy.model_base
import torch
from comfy.ldm.modules.attention import SpatialTransformer, optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..prefgen.adapter import AdapterConfig, decoupled_attention
from ..prefgen.errors import ModelError

COND = 0  # what ComfyUI writes into `cond_or_uncond` for the positive prompt's rows

Patch = Callable[[Tensor, Tensor, Tensor, dict], Tensor]


def text_attention(q: Tensor, k: Tensor, v: Tensor, options: dict) -> Tensor:
    """What an unpatched block does, to the bit."""
    precision = options["attn_precision"]
    return optimized_attention(q, k, v, options["n_heads"], attn_precision=precision, transformer_options=options)


@dataclass(frozen=True, eq=False)
class UserPatch:
    """An attn2 patch: text attention (or the patch before), then the user's branch on the positive prompt's rows.

    Attributes:
        k, v: (1, T, width), the strengths already in `v`.
        window: the entry of transformer_options that says whether this step is within start and end; None is always.
        previous: the patch that held this block before, if any.
    """

    k: Tensor
    v: Tensor
    window: str | None = None
    previous: Patch | None = None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, options: dict) -> Tensor:
        out = (self.previous or text_attention)(q, k, v, options)
        if self.window and not options.get(self.window, True):
            return out
        rows = options.get("cond_or_uncond") or [COND]
        # not in place: the noise optimisation needs the text's attention unchanged for its backward pass
        chunks = zip(rows, out.chunk(len(rows)), q.chunk(len(rows)), strict=True)
        merged = [
            self._add(text, queries, options["n_heads"]) if row == COND else text for row, text, queries in chunks
        ]
        return merged[0] if len(merged) == 1 else torch.cat(merged)

    def _add(self, text: Tensor, q: Tensor, heads: int) -> Tensor:
        return text + decoupled_attention(q, self.k.to(q), self.v.to(q), heads)

    def to(self, target: torch.device | torch.dtype | str) -> UserPatch:
        """ComfyUI moves and casts patches with this. It does so in inference mode, whose tensors know no gradient."""
        previous = self.previous.to(target) if hasattr(self.previous, "to") else self.previous
        with torch.inference_mode(False), torch.no_grad():
            return replace(self, k=self.k.to(target), v=self.v.to(target), previous=previous)


@dataclass(frozen=True)
class Window:
    """A UNet wrapper that says, once a step, whether its sigma lies within start and end.

    Once, since reading a sigma waits for the device; every block then reads the answer from transformer_options.
    """

    key: str
    sigma_start: float
    sigma_end: float

    def __call__(self, executor, x, timesteps, context, y, control, transformer_options, **kwargs) -> Tensor:
        sigma = float(transformer_options["sigmas"].max())
        transformer_options[self.key] = self.sigma_end <= sigma <= self.sigma_start
        return executor(x, timesteps, context, y, control, transformer_options, **kwargs)


def cross_attention_blocks(model: ModelPatcher) -> tuple[tuple[str, int], ...]:
    """Every cross-attention block of the MODEL as (name, width), as ``AdapterConfig.blocks`` has them.

    Raises:
        ModelError: the MODEL is not an SDXL UNet.
    """
    if not isinstance(model.model, comfy.model_base.SDXL):
        found = type(model.model.model_config).__name__
        raise ModelError(
            f"The MODEL is {found} and the preference adapter is made for SDXL's UNet: connect an SDXL checkpoint."
        )
    unet = model.model.diffusion_model
    sides = {"input": unet.input_blocks, "middle": [unet.middle_block], "output": unet.output_blocks}
    return tuple(
        (f"{side}.{number}.{index}", block.n_heads * block.d_head)
        for side, modules in sides.items()
        for number, module in enumerate(modules)
        for layer in module
        if isinstance(layer, SpatialTransformer)
        for index, block in enumerate(layer.transformer_blocks)
    )


def check_fits(model: ModelPatcher, config: AdapterConfig) -> None:
    """Raises:
    ModelError: the MODEL is not an SDXL UNet, or one of other shapes than the adapter was made for.
    """
    found = dict(cross_attention_blocks(model))
    context = model.model.model_config.unet_config["context_dim"]
    if found != dict(config.blocks) or context != config.context_dim:
        raise ModelError(
            f"The MODEL has {_shape(found, context)}, the adapter was made for "
            f"{_shape(dict(config.blocks), config.context_dim)}: use the adapter with the base model it was trained on."
        )


def _shape(blocks: dict[str, int], context: int) -> str:
    widths = "/".join(str(width) for width in sorted(set(blocks.values())))
    return f"{len(blocks)} cross-attention blocks {widths} wide over text {context} wide"


def patch_user_branch(
    model: ModelPatcher, keys_values: dict[str, tuple[Tensor, Tensor]], start: float = 0.0, end: float = 1.0
) -> ModelPatcher:
    """A clone of the MODEL in which every named block has the user's branch.

    Args:
        keys_values: block name -> (K, V), each (1, T, width), strengths already in V.
        start, end: the part of the denoising, as fractions, in which the branch is active.
    """
    model = model.clone()
    window = _add_window(model, start, end) if (start, end) != (0.0, 1.0) else None
    before = model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
    for name, (k, v) in keys_values.items():
        side, number, index = name.split(".")
        block = (side, int(number), int(index))
        # ComfyUI prefers a block's own patch to one for the whole layer, so ours would hide either
        previous = before.get(block, before.get(block[:2]))
        model.set_model_attn2_replace(UserPatch(k, v, window, previous), *block)
    return model


def _add_window(model: ModelPatcher, start: float, end: float) -> str:
    applied = model.get_wrappers(WrappersMP.DIFFUSION_MODEL, "prefgen")
    key = f"prefgen_window_{len(applied)}"
    sampling = model.get_model_object("model_sampling")
    window = Window(key, sampling.percent_to_sigma(start), sampling.percent_to_sigma(end))
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "prefgen", window)
    return key
