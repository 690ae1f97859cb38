"""Identifies every sampled picture, so that it keeps its codebook entries and its mask when a batch is split.

A sampler only receives the noise, the latent and the seed. Therefore a picture is identified by one of these:

1. Noise that core drew from the seed: the index of the picture in the batch for which the noise was drawn.
2. Optimised noise, or a latent that a personalised MODEL generated and that gets no new noise: the original picture.
3. Anything else: a number computed from the content of the noise, or of the latent if no noise is added.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

MAX_BATCH = 4096
"""Maximum number of batch indices to search for a picture: the largest batch size of ComfyUI's empty latents."""
MAX_SEARCHED_VALUES = 2**25
"""Maximum number of random values that a search draws. Drawing them takes about half a second."""
COMPARED_VALUES = 16
"""Number of leading values that must be equal for two noise tensors to count as the same."""
MAX_REMEMBERED = 2**14
"""Maximum number of latents and noise tensors whose pictures are remembered."""

_PICTURES = "prefgen_pictures"


@dataclass(frozen=True)
class Picture:
    """The identity of a picture.

    Attributes:
        seed: Seed of the sampler.
        number: The index if it is known, otherwise a number computed from the content.
        index: Index in the batch for which its noise was drawn; None if unknown.
    """

    seed: int
    number: int
    index: int | None = None

    @classmethod
    def at(cls, seed: int, index: int) -> Picture:
        """Return the picture at an index of the batch for which the noise was drawn."""
        return cls(seed % 2**64, index, index)


_remembered: OrderedDict[bytes, Picture] = OrderedDict()


def identify_pictures(model: ModelPatcher) -> None:
    """Make `sampled_pictures` available to the MODEL's patches and to later OUTER_SAMPLE wrappers, in place."""
    if not model.get_wrappers(WrappersMP.OUTER_SAMPLE, _PICTURES):
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, _PICTURES, _record_pictures)


def sampled_pictures(options: Mapping) -> Sequence[Picture]:
    """Return the pictures of the whole sampled batch, or () if they are unknown.

    Args:
        options: A block's transformer_options.
    """
    return options.get(_PICTURES, ())


def rows_of_batch(options: Mapping, images: int, batch: int) -> list[int] | None:
    """Return which rows of a sampled batch a call of the UNet evaluates, or None if they are unknown.

    Args:
        options: A block's transformer_options. ComfyUI's context windows and AnimateDiff's store in them which frames
            the call evaluates.
        images: Number of images in the call.
        batch: Number of images in the sampled batch.
    """
    window = options.get("context_window")
    anchor = getattr(window, "causal_anchor_index", None)
    candidates = (
        range(batch),
        ([] if anchor is None or anchor < 0 else [anchor]) + list(getattr(window, "index_list", ())),
        (options.get("ad_params") or {}).get("sub_idxs") or (),
    )
    return next((list(rows) for rows in candidates if len(rows) == images), None)


def remember_noise(noise: Tensor, pictures: Iterable[Picture]) -> None:
    """Remember which pictures belong to noise (N, C, h, w) that was not drawn from their seed."""
    for row, picture in zip(noise, pictures, strict=True):
        _remember(_keys(row[None], picture.seed), [picture])


def find_pictures(noise: Tensor, latent: Tensor, seed: int | None) -> tuple[Picture, ...]:
    """Identify the sampled pictures.

    Args:
        noise: (N, C, h, w) initial noise; zeros if no noise is added.
        latent: (N, C, h, w) latents to start from.
        seed: Seed of the sampler. Some node packs pass a negative seed or None.
    """
    seed = int(seed or 0) % 2**64
    if not noise.any():
        keys = _keys(latent.expand(max(len(noise), len(latent)), *latent.shape[1:]))
        return tuple(_remembered.get(key) or _from_content(key, seed) for key in keys)
    keys = _keys(noise, seed)
    pictures = {n: _remembered[key] for n, key in enumerate(keys) if key in _remembered}
    if len(pictures) < len(noise):
        pictures = {n: Picture.at(seed, index) for n, index in _drawn_indices(noise, seed).items()} | pictures
    return tuple(pictures.get(n) or _from_content(key, seed) for n, key in enumerate(keys))


def _record_pictures(executor, noise: Tensor, latent: Tensor, *args, **kwargs) -> Tensor:
    """Wrap OUTER_SAMPLE: identify the pictures, and remember which latents are generated for them."""
    guider = executor.class_obj
    args = list(args)
    seed = args[5] if len(args) > 5 else kwargs.get("seed")  # ComfyUI passes all arguments by position
    pictures = find_pictures(noise, latent, seed)
    guider.model_options["transformer_options"][_PICTURES] = pictures
    last_denoised: list[Tensor] = []
    if len(args) > 3:
        args[3] = _keep_denoised(args[3], last_denoised)
    output = executor(noise, latent, *args, **kwargs)
    # The denoised latent is the second output of SamplerCustom.
    latents = [output, *(guider.model_patcher.model.process_latent_out(x.cpu()) for x in last_denoised)]
    for rows in latents:
        _remember(_keys(rows), pictures)
    return output


def _keep_denoised(callback, last: list[Tensor]):
    """Wrap a sampler's callback: keep the latest prediction of the denoised latent."""

    def keep(step, denoised, *args, **kwargs):
        last[:] = [denoised]
        return callback(step, denoised, *args, **kwargs) if callback else None

    return keep


def _drawn_indices(noise: Tensor, seed: int) -> dict[int, int]:
    """Return the batch index of each row of noise (N, C, h, w) that ComfyUI drew from the seed.

    ComfyUI draws either the whole batch at once, or one picture at a time up to the highest `batch_index`.
    """

    def starts(rows: Tensor) -> list[bytes]:
        return [row.flatten()[:COMPARED_VALUES].float().cpu().numpy().tobytes() for row in rows]

    wanted = starts(noise)
    whole = starts(torch.randn(noise.shape, generator=torch.Generator().manual_seed(seed)).to(noise.dtype))
    indices = {n: n for n, start in enumerate(wanted) if start == whole[n]}
    generator = torch.Generator().manual_seed(seed)
    for index in range(max(len(noise), min(MAX_BATCH, MAX_SEARCHED_VALUES // noise[0].numel()))):
        if len(indices) == len(noise):
            break
        (start,) = starts(torch.randn((1, *noise.shape[1:]), generator=generator).to(noise.dtype))
        indices = {n: index for n, other in enumerate(wanted) if other == start} | indices
    return indices


def _from_content(key: bytes, seed: int) -> Picture:
    return Picture(seed, int.from_bytes(key, "little"))


def _keys(rows: Tensor, seed: int | None = None) -> list[bytes]:
    """Return a key for the content of each row (N, C, h, w): a latent, or noise for a given seed."""
    # Compare in float16, because ComfyUI may store latents as float16 between two samplers.
    kind = b"latent" if seed is None else seed.to_bytes(8, "little")
    values = rows.detach().to("cpu", torch.float16).contiguous().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=16, person=kind).digest() for row in values]


def _remember(keys: Iterable[bytes], pictures: Iterable[Picture]) -> None:
    for key, picture in zip(keys, pictures, strict=False):
        _remembered[key] = picture
        _remembered.move_to_end(key)
    while len(_remembered) > MAX_REMEMBERED:
        _remembered.popitem(last=False)
