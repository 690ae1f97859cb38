"""The adapter's branch inside ComfyUI's SDXL UNet: one attn2 patch a cross-attention block.

Keys and values come ready-made (``PreferenceAdapter.keys_values``), so a denoising step costs each block one small
attention and no projection. Patches that were there before are called first and kept; those of packs that put theirs
into a block's patch (`add`, as ComfyUI_IPAdapter_plus does) find a place in ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import comfy.model_base
import torch
from comfy.ldm.modules.attention import SpatialTransformer, optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor

from ...prefgen.adapter import AdapterConfig, Spoken, decoupled_attention
from ...prefgen.adapter.codebook import KeysValues
from ...prefgen.errors import ModelError
from .codebook_sampling import draw_words
from .cond_tracking import NEGATIVE, POSITIVE, know_rows, sides_of
from .masks import SpatialMask

ALWAYS = float("inf")

Patch = Callable[[Tensor, Tensor, Tensor, dict], Tensor]


def text_attention(q: Tensor, k: Tensor, v: Tensor, options: dict) -> Tensor:
    """What an unpatched block does, to the bit."""
    precision = options["attn_precision"]
    return optimized_attention(q, k, v, options["n_heads"], attn_precision=precision, transformer_options=options)


@dataclass(frozen=True, eq=False)
class UserPatch:
    """An attn2 patch: text attention (or the patch before), then the user's branch.

    Attributes:
        k, v: (1, T, width), the strengths already in `v`, for the positive prompt's rows.
        window: the entry of transformer_options that says whether this step is within start and end; None is always.
        previous: the patch that held this block before, if any.
        negative: (k, v) for the negative prompt's rows; None leaves them alone.
        mask: where in the image the branch counts; None is everywhere.
        drawn: (entry of transformer_options, block), where each picture's own k and v lie, (N, T, width). None, nothing
            there, or another number of pictures (a pack that evaluates a part of a batch): all have these.
        added: what other packs have put behind ours, (callback, its arguments) each.
    """

    k: Tensor
    v: Tensor
    window: str | None = None
    previous: Patch | None = None
    negative: tuple[Tensor, Tensor] | None = None
    mask: SpatialMask | None = None
    drawn: tuple[str, str] | None = None
    added: list[tuple[Callable[..., Tensor], dict]] = field(default_factory=list)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, options: dict) -> Tensor:
        out = (self.previous or text_attention)(q, k, v, options)
        if not self.window or options.get(self.window, True):
            out = self._with_user(out, q, options)
        return self._with_added(out, q, k, v, options) if self.added else out

    def _with_user(self, out: Tensor, q: Tensor, options: dict) -> Tensor:
        sides = sides_of(options)
        images = len(q) // len(sides)  # ComfyUI has a row for every prompt of every image, prompt by prompt
        of_side = {POSITIVE: self._liked(options, images), NEGATIVE: self.negative}
        users = [of_side.get(side) for side in sides]
        mask = None if self.mask is None else self.mask.on(options, images, q)
        # not in place: the noise optimisation needs the text's attention unchanged for its backward pass
        if None not in users:
            return out + self._branch(q, users, mask, options)
        masks = [mask] * len(users) if mask is None or len(mask) == 1 else mask.split(1)
        chunks = zip(users, out.chunk(len(users)), q.chunk(len(users)), masks, strict=True)
        return torch.cat(
            [
                text if user is None else text + self._branch(queries, [user], where, options)
                for user, text, queries, where in chunks
            ]
        )

    def _liked(self, options: dict, images: int) -> tuple[Tensor, Tensor]:
        entry, block = self.drawn or ("", "")
        own = options[entry][block] if entry in options else ()
        return own if own and len(own[0]) == images else (self.k, self.v)

    def _branch(self, q: Tensor, users: list[tuple[Tensor, Tensor]], mask: Tensor | None, options: dict) -> Tensor:
        images = len(q) // len(users)
        k, v = (torch.cat([x.expand(images, -1, -1) for x in side]) for side in zip(*users, strict=True))
        out = decoupled_attention(q, k.to(q), v.to(q), options["n_heads"])
        return out if mask is None else (out.unflatten(0, (len(users), images)) * mask).flatten(0, 1)

    def _with_added(self, out: Tensor, q: Tensor, k: Tensor, v: Tensor, options: dict) -> Tensor:
        sigma = float(options["sigmas"].max()) if "sigmas" in options else ALWAYS
        for callback, given in self.added:
            if given.get("sigma_end", 0.0) <= sigma <= given.get("sigma_start", ALWAYS):
                out = out + callback(out, q, k, v, options, **given)
        return out.to(q.dtype)

    def add(self, callback: Callable[..., Tensor], **given) -> None:
        """What another pack calls to have its branch beside ours: `callback(out, q, k, v, options, **given)` is added
        to the block's attention in the steps between `sigma_start` and `sigma_end`."""
        self.added.append((callback, given))

    def copy(self) -> UserPatch:
        """A patch to which others may `add` without changing this one."""
        return replace(self, added=list(self.added))

    def to(self, target: torch.device | torch.dtype | str) -> UserPatch:
        """ComfyUI moves and casts patches with this. It does so in inference mode, whose tensors know no gradient.

        It names the type that a MODEL's weights are kept in; keys and values are few, and stay as they are where that
        has less than 16 bits.
        """
        previous = self.previous.to(target) if hasattr(self.previous, "to") else self.previous
        if isinstance(target, torch.dtype) and target.itemsize < 2:
            return replace(self, previous=previous, added=list(self.added))
        with torch.inference_mode(False), torch.no_grad():
            k, v = self.k.to(target), self.v.to(target)
            negative = self.negative and (self.negative[0].to(target), self.negative[1].to(target))
        return replace(self, k=k, v=v, previous=previous, negative=negative, added=list(self.added))


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
    model: ModelPatcher,
    keys_values: KeysValues,
    start: float = 0.0,
    end: float = 1.0,
    negative: KeysValues | None = None,
    mask: SpatialMask | None = None,
    spoken: Spoken | None = None,
    variety: float = 1.0,
) -> ModelPatcher:
    """A clone of the MODEL in which every named block has the user's branch.

    Args:
        keys_values: block name -> (K, V), each (1, T, width), strengths already in V.
        start, end: the part of the denoising, as fractions, in which the branch is active.
        negative: the same for the negative prompt's rows, from which guidance leads away.
        mask: where in the image the branch counts.
        spoken, variety: what the positive rows of each picture draw in place of `keys_values`, see `draw_words`.
    """
    model = model.clone()
    know_rows(model)
    window = _add_window(model, start, end) if (start, end) != (0.0, 1.0) else None
    entry = draw_words(model, spoken, variety) if spoken else None
    before = _attn2_patches(model)
    for name, (k, v) in keys_values.items():
        side, number, index = name.split(".")
        block = (side, int(number), int(index))
        # ComfyUI prefers a block's own patch to one for the whole layer, so ours would hide either
        previous = before.get(block, before.get(block[:2]))
        drawn = entry and (entry, name)
        patch = UserPatch(k, v, window, previous, negative and negative[name], mask, drawn)
        model.set_model_attn2_replace(patch, *block)
    if not model.get_callbacks(CallbacksMP.ON_CLONE, "prefgen"):
        model.add_callback_with_key(CallbacksMP.ON_CLONE, "prefgen", _own_patches)
    return model


def _attn2_patches(model: ModelPatcher) -> dict[tuple, Patch]:
    return model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})


def _own_patches(_: ModelPatcher, clone: ModelPatcher) -> None:
    """A clone gets patches of its own: another pack's `add` on the clone must not reach the MODEL upstream."""
    patches = _attn2_patches(clone)
    patches |= {block: patch.copy() for block, patch in patches.items() if isinstance(patch, UserPatch)}


def _add_window(model: ModelPatcher, start: float, end: float) -> str:
    applied = model.get_wrappers(WrappersMP.DIFFUSION_MODEL, "prefgen")
    key = f"prefgen_window_{len(applied)}"
    sampling = model.get_model_object("model_sampling")
    window = Window(key, sampling.percent_to_sigma(start), sampling.percent_to_sigma(end))
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "prefgen", window)
    return key
