"""Samples codebook entries reproducibly for each image of a batch.

The keys and values of all entries are computed beforehand. Each image's keys and values are mixed from them once, at
the start of sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...prefgen.adapter import CodebookLogits, gumbel_noise
from .picture_identity import Picture, identify_pictures, sampled_pictures


def add_codebook_sampling(model: ModelPatcher, logits: CodebookLogits, variety: float) -> str:
    """Patch `model` in place, so that it samples codebook entries for each image.

    Args:
        logits: The user's logits over the codebook entries.
        variety: Scale of the Gumbel noise. 1 samples entries according to their probabilities; 0 takes the most likely
            ones.

    Returns:
        The key in transformer_options under which the images' keys and values are stored by block.
    """
    identify_pictures(model)
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

    def __call__(self, executor, *args, **kwargs) -> Tensor:
        guider = executor.class_obj
        options = guider.model_options["transformer_options"]
        options[self.key] = self._sample(sampled_pictures(options), guider)
        return executor(*args, **kwargs)

    def _sample(self, pictures: Sequence[Picture], guider) -> dict[str, tuple[Tensor, Tensor]]:
        device, dtype = guider.model_patcher.load_device, guider.model_patcher.model_dtype()
        # Attention does not run in 8-bit dtypes. With 8-bit weights, the patch casts to the dtype of its queries.
        target = {"device": device} | ({"dtype": dtype} if dtype.itemsize > 1 else {})
        # Ordinary tensors, through which the gradient of the noise optimisation can flow.
        with torch.inference_mode(False), torch.no_grad():
            seeds = [(picture.seed, picture.number) for picture in pictures]
            gumbel = self.variety * gumbel_noise(seeds, self.logits.logits.shape[-1])
            return {block: (k.to(**target), v.to(**target)) for block, (k, v) in self.logits.sample(gumbel).items()}
