"""Adds the user's cross-attention to ComfyUI's SDXL UNet, with one attn2 patch for each cross-attention block.

Keys and values are computed beforehand (``PreferenceAdapter.keys_values``), so in a denoising step each block only
computes one small attention. Earlier patches of a block are called first. Node packs that extend an existing patch
through its `add` method, such as ComfyUI_IPAdapter_plus, can extend these patches too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP
from torch import Tensor

from ...prefgen.adapter import CodebookLogits, decoupled_attention
from ...prefgen.adapter.codebook import KeysValues
from .codebook_sampling import add_codebook_sampling
from .compiled_models import keep_guards
from .cond_tracking import NEGATIVE, POSITIVE, cond_names, track_conds
from .masks import SpatialMask
from .picture_identity import identify_pictures, rows_of_batch
from .step_window import add_step_window

Patch = Callable[[Tensor, Tensor, Tensor, dict], Tensor]


def patch_user_attention(
    model: ModelPatcher,
    keys_values: KeysValues,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    negative: KeysValues | None = None,
    mask: SpatialMask | None = None,
    codebook: CodebookLogits | None = None,
    variety: float = 1.0,
) -> ModelPatcher:
    """Clone the MODEL and add the user's attention to every block in `keys_values`.

    Args:
        keys_values: Block name -> keys and values (1, T, width) for the positive cond.
        start_percent, end_percent: Range of the denoising in which the attention is added, as fractions.
        negative: Keys and values for the negative cond, which guidance steers away from. None leaves the
            negative cond unchanged.
        mask: Region of the image that is personalised. None means the whole image.
        codebook, variety: Logits from which each image samples its own positive keys and values instead of
            `keys_values`; see ``add_codebook_sampling``.
    """
    model = model.clone()
    track_conds(model)
    keep_guards(model)
    if mask is not None:
        identify_pictures(model)
    window = add_step_window(model, start_percent, end_percent) if (start_percent, end_percent) != (0.0, 1.0) else None
    sampled = add_codebook_sampling(model, codebook, variety) if codebook else None
    patches = _attn2_patches(model)
    for name, (k, v) in keys_values.items():
        side, number, index = name.split(".")
        block = (side, int(number), int(index))
        # ComfyUI uses a block's own patch instead of one for the whole layer. The new patch would hide both,
        # so it calls the earlier one itself.
        previous = patches.get(block, patches.get(block[:2]))
        patch = UserAttentionPatch(
            k, v, window, previous, negative and negative[name], mask, sampled and (sampled, name)
        )
        model.set_model_attn2_replace(patch, *block)
    if not model.get_callbacks(CallbacksMP.ON_CLONE, "prefgen"):
        model.add_callback_with_key(CallbacksMP.ON_CLONE, "prefgen", _copy_patches)
    return model


@dataclass(frozen=True, eq=False)
class UserAttentionPatch:
    """An attn2 patch: text attention (or an earlier patch), plus attention to the user's keys and values.

    Attributes:
        k, v: (1, T, width) for the rows of the positive cond.
        window: Key in transformer_options that holds whether the step is in range. None means every step.
        previous: Earlier patch of the block.
        negative: Keys and values for the rows of the negative cond. None leaves these rows unchanged.
        mask: Region of the image that is personalised. None means the whole image.
        sampled: Key in transformer_options and block name under which the sampled keys and values (N, T, width) of the
            N images are stored. All images use k and v if this is None, if nothing is stored, or if it is unknown
            which part of the batch a call evaluates.
        extensions: Callbacks that other packs added, each with its arguments.
    """

    k: Tensor
    v: Tensor
    window: str | None = None
    previous: Patch | None = None
    negative: tuple[Tensor, Tensor] | None = None
    mask: SpatialMask | None = None
    sampled: tuple[str, str] | None = None
    extensions: list[tuple[Callable[..., Tensor], dict]] = field(default_factory=list)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, options: dict) -> Tensor:
        out = (self.previous or text_attention)(q, k, v, options)
        if not self.window or options.get(self.window, True):
            out = self._add_user_attention(out, q, options)
        return self._add_extensions(out, q, k, v, options) if self.extensions else out

    def _add_user_attention(self, out: Tensor, q: Tensor, options: dict) -> Tensor:
        conds = cond_names(options)
        images = len(q) // len(conds)  # rows are ordered by cond, then by image
        by_cond = {POSITIVE: self._positive(options, images), NEGATIVE: self.negative}
        keys_values = [by_cond.get(cond) for cond in conds]
        mask = None if self.mask is None else self.mask.resized_for(options, images, q)
        # Not in place: the backward pass of the noise optimisation needs the text attention.
        if None not in keys_values:
            return out + self._user_attention(q, keys_values, mask, options)
        masks = [mask] * len(conds) if mask is None or len(mask) == 1 else mask.split(1)
        chunks = zip(keys_values, out.chunk(len(conds)), q.chunk(len(conds)), masks, strict=True)
        return torch.cat(
            [
                text if pair is None else text + self._user_attention(queries, [pair], cond_mask, options)
                for pair, text, queries, cond_mask in chunks
            ]
        )

    def _positive(self, options: dict, images: int) -> tuple[Tensor, Tensor]:
        key, block = self.sampled or ("", "")
        sampled = options[key][block] if key in options else (self.k, self.v)
        batch = len(sampled[0])
        if batch in (1, images):
            return sampled
        rows = rows_of_batch(options, images, batch)
        return (self.k, self.v) if rows is None else (sampled[0][rows], sampled[1][rows])

    def _user_attention(
        self, q: Tensor, keys_values: list[tuple[Tensor, Tensor]], mask: Tensor | None, options: dict
    ) -> Tensor:
        images = len(q) // len(keys_values)
        k, v = (torch.cat([x.expand(images, -1, -1) for x in xs]) for xs in zip(*keys_values, strict=True))
        out = decoupled_attention(q, k.to(q), v.to(q), options["n_heads"])
        return out if mask is None else (out.unflatten(0, (len(keys_values), images)) * mask).flatten(0, 1)

    def _add_extensions(self, out: Tensor, q: Tensor, k: Tensor, v: Tensor, options: dict) -> Tensor:
        sigma = float(options["sigmas"].max()) if "sigmas" in options else float("inf")
        for callback, arguments in self.extensions:
            if arguments.get("sigma_end", 0.0) <= sigma <= arguments.get("sigma_start", float("inf")):
                out = out + callback(out, q, k, v, options, **arguments)
        return out.to(q.dtype)

    def add(self, callback: Callable[..., Tensor], **arguments) -> None:
        """Add `callback(out, q, k, v, options, **arguments)` to the block's attention; called by other packs.

        The callback is active in the steps from the argument `sigma_start` to the argument `sigma_end`.
        """
        self.extensions.append((callback, arguments))

    def copy(self) -> UserAttentionPatch:
        """Copy the patch, so that `add` on the copy does not change the original."""
        return replace(self, extensions=list(self.extensions))

    def to(self, target: torch.device | torch.dtype | str) -> UserAttentionPatch:
        """Move or cast the patch; called by ComfyUI.

        ComfyUI passes the dtype of the MODEL's weights. Keys and values are not cast to 8-bit dtypes. ComfyUI calls
        this in inference mode; the new tensors are created outside it, so that gradients can flow through them.
        """
        previous = self.previous.to(target) if hasattr(self.previous, "to") else self.previous
        patch = replace(self, previous=previous, extensions=list(self.extensions))
        if isinstance(target, torch.dtype) and target.itemsize < 2:
            return patch
        with torch.inference_mode(False), torch.no_grad():
            negative = self.negative and (self.negative[0].to(target), self.negative[1].to(target))
            return replace(patch, k=self.k.to(target), v=self.v.to(target), negative=negative)


def text_attention(q: Tensor, k: Tensor, v: Tensor, options: dict) -> Tensor:
    """Compute the attention of an unpatched block, with bit-identical results."""
    precision = options["attn_precision"]
    return optimized_attention(q, k, v, options["n_heads"], attn_precision=precision, transformer_options=options)


def _attn2_patches(model: ModelPatcher) -> dict[tuple, Patch]:
    return model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})


def _copy_patches(_: ModelPatcher, clone: ModelPatcher) -> None:
    """Give a clone its own patches, so that other packs' `add` on the clone does not reach the MODEL upstream."""
    patches = _attn2_patches(clone)
    patches |= {block: patch.copy() for block, patch in patches.items() if isinstance(patch, UserAttentionPatch)}
