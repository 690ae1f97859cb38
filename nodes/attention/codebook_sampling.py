"""Samples codebook entries for each image of a batch, reproducibly from its seed.

The keys and values of all entries are computed beforehand. Each image's keys and values are mixed from them once, when
its sampling begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...prefgen.adapter import CodebookLogits, gumbel_noise

MAX_BATCH = 64
"""Maximum batch size that LatentFromBatch supports."""
COMPARED_VALUES = 16
"""Number of values by which two noises are compared."""


def add_codebook_sampling(model: ModelPatcher, logits: CodebookLogits, variety: float) -> str:
    """Make every sampling of `model` sample codebook entries for its images, in place.

    Args:
        logits: The user's logits.
        variety: Scale of the Gumbel noise. 1 samples entries by their probabilities; 0 takes the most likely ones.

    Returns:
        The key of transformer_options that holds the images' keys and values by block.
    """
    key = f"prefgen_codebook_{len(model.get_wrappers(WrappersMP.OUTER_SAMPLE, 'prefgen'))}"
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "prefgen", CodebookSampler(key, logits, variety))
    return key


@dataclass(frozen=True, eq=False)
class CodebookSampler:
    """An OUTER_SAMPLE wrapper that stores each image's keys and values in transformer_options.

    See ``add_codebook_sampling`` for the attributes.
    """

    key: str
    logits: CodebookLogits
    variety: float

    def __call__(self, executor, noise: Tensor, *args, **kwargs) -> Tensor:
        guider = executor.class_obj
        seed = args[6] if len(args) > 6 else kwargs.get("seed")  # core passes it by position
        guider.model_options["transformer_options"][self.key] = self._sample(noise, seed, guider)
        return executor(noise, *args, **kwargs)

    def _sample(self, noise: Tensor, seed: int | None, guider) -> dict[str, tuple[Tensor, Tensor]]:
        device, dtype = guider.model_patcher.load_device, guider.model_patcher.model_dtype()
        # 8-bit weights are not a format for computing; the patch then casts to the dtype of its queries.
        target = {"device": device} | ({"dtype": dtype} if dtype.itemsize > 1 else {})
        # Normal tensors, through which the gradient of the noise optimisation can pass.
        with torch.inference_mode(False), torch.no_grad():
            seed = int(seed or 0) % 2**64  # other packs pass negative seeds or None
            seeds = [(seed, index) for index in batch_indices(noise, seed)]
            gumbel = self.variety * gumbel_noise(seeds, self.logits.logits.shape[-1])
            return {block: (k.to(**target), v.to(**target)) for block, (k, v) in self.logits.sample(gumbel).items()}


def batch_indices(noise: Tensor, seed: int) -> list[int]:
    """Return the index of each image in the batch from which it was taken.

    An image that LatentFromBatch takes from a batch keeps its noise, and a sampler learns no more than that. So the
    batch's noises are generated from the seed as core does, and compared. Noise from another source is numbered in
    order.

    Args:
        noise: (N, C, H, W) initial noise.
        seed: Seed of the noise.
    """
    wanted = noise.flatten(1)[:, :COMPARED_VALUES].cpu()
    generator, indices = torch.Generator().manual_seed(seed), {}
    for index in range(max(MAX_BATCH, len(noise))):
        values = torch.randn(noise.shape[1:], generator=generator).flatten()[:COMPARED_VALUES].to(wanted.dtype)
        indices |= {n: index for n, start in enumerate(wanted) if torch.equal(start, values)}
        if len(indices) == len(noise):
            break
    return [indices.get(n, n) for n in range(len(noise))]
