"""Words drawn for each picture: what a sampling draws follows its seed, so that a seed stays a picture.

Keys and values of all words come ready-made, and each picture's are mixed from them once, where its sampling begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...prefgen.adapter import Spoken, gumbel_noise

FARTHEST = 64
"""Places in a batch that LatentFromBatch reaches."""
TELLING = 16
"""Values that tell one noise from another."""


@dataclass(frozen=True, eq=False)
class DrawnWords:
    """A wrapper of sampling that lays each picture's keys and values down in transformer_options under `entry`, by
    block. variety: times the noise of the draw, see `choose` of prefgen/adapter/codebook.py."""

    entry: str
    spoken: Spoken
    variety: float

    def __call__(self, executor, noise: Tensor, *args, **kwargs) -> Tensor:
        guider = executor.class_obj
        options = guider.model_options["transformer_options"]
        # core calls it by position up to the seed
        options[self.entry] = self._keys_values(noise, args[6] if len(args) > 6 else kwargs.get("seed"), guider)
        return executor(noise, *args, **kwargs)

    def _keys_values(self, noise: Tensor, seed: int | None, guider) -> dict[str, tuple[Tensor, Tensor]]:
        device, dtype = guider.model_patcher.load_device, guider.model_patcher.model_dtype()
        # weights of 8 bits are no format to compute in, and the branch then casts to that of its queries
        target = {"device": device} | ({"dtype": dtype} if dtype.itemsize > 1 else {})
        # ordinary tensors, which the noise optimisation's gradient may pass
        with torch.inference_mode(False), torch.no_grad():
            seed = int(seed or 0) % 2**64  # other packs give negative seeds, or none
            drawn_by = [(seed, place) for place in places_of(noise, seed)]
            pairs = self.spoken.drawn(self.variety * gumbel_noise(drawn_by, self.spoken.votes.shape[-1]))
            return {block: (k.to(**target), v.to(**target)) for block, (k, v) in pairs.items()}


def places_of(noise: Tensor, seed: int) -> list[int]:
    """Which of the seed's pictures these are: of noise (N, C, H, W) the places in the row of noises that core draws of
    the seed. A picture that is taken out of a batch (LatentFromBatch) keeps the noise of its place there, and that is
    all that samplers are told of it. Noise of another source is taken in its order."""
    starts = noise.flatten(1)[:, :TELLING].cpu()
    drawing, found = torch.Generator().manual_seed(seed), {}
    for place in range(max(FARTHEST, len(noise))):
        drawn = torch.randn(noise.shape[1:], generator=drawing).flatten()[:TELLING].to(starts.dtype)
        found |= {k: place for k, start in enumerate(starts) if torch.equal(start, drawn)}
        if len(found) == len(noise):
            break
    return [found.get(k, k) for k in range(len(noise))]


def draw_words(model: ModelPatcher, spoken: Spoken, variety: float) -> str:
    """Have every sampling of `model` draw its words, in place. The entry of transformer_options with keys and values.

    variety: 1 draws a word with the odds that the user's votes give it; towards 0, the likeliest more and more.
    """
    entry = f"prefgen_words_{len(model.get_wrappers(WrappersMP.OUTER_SAMPLE, 'prefgen'))}"
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "prefgen", DrawnWords(entry, spoken, variety))
    return entry
