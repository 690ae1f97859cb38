"""Positions of image patches, and the vision tower's forward pass with them.

An image of any shape shares one table of learned positions: each axis of the image is divided into as many buckets as
the table has rows, and a patch gets the position of its bucket. Releases of transformers disagree about patches on a
bucket's edge. Versions 4.55 to 4.57 put them into the bucket below, and versions 5.0 to 5.20 round the coordinates to
the pixels' dtype, so that bfloat16 moves half of the patches of a 980 px image. Here the positions are computed in
float32 on the CPU, as in transformers 5.23, so that scores depend neither on the version nor on the dtype or device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers.models.idefics2.modeling_idefics2 import Idefics2VisionTransformer


def vision_states(tower: Idefics2VisionTransformer, pixels: Tensor) -> Tensor:
    """Compute the tower's last states (B, patches, D) of normalised pixels (B, 3, H, W), without padding."""
    embeddings = tower.embeddings
    patches = embeddings.patch_embedding(pixels)
    positions = position_ids(*patches.shape[-2:], embeddings.num_patches_per_side).to(pixels.device)
    states = patches.flatten(2).transpose(1, 2) + embeddings.position_embedding(positions)
    return tower.post_layernorm(tower.encoder(inputs_embeds=states, attention_mask=None)[0])


def position_ids(rows: int, columns: int, side: int) -> Tensor:
    """Compute the positions (rows * columns,) of an image's patches in a table of side * side positions."""
    return (_buckets(rows, side)[:, None] * side + _buckets(columns, side)).flatten()


def _buckets(count: int, side: int) -> Tensor:
    """Return the bucket, of `side`, of each of `count` patches along an axis."""
    boundaries = torch.arange(1 / side, 1.0, 1 / side, dtype=torch.float32)
    step = 1.0 / torch.tensor(count)
    starts = (torch.arange(count, dtype=torch.float32) * step).clamp(max=1.0 - 1e-6)
    return torch.bucketize(starts, boundaries, right=True)
