"""Losses between mapped users and texts: MMD, and the two pointwise losses that the paper compares it with.

All three losses receive the same groups with the same scaling, so that only the objective differs. The scaling is our
choice; the paper does not describe it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from prefgen.losses import mmd
from train.align.config import AlignConfig

Objective = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


def build_objective(config: AlignConfig) -> Objective:
    """Return a function from groups of mapped users and of their texts, each (B, D_text), to a scalar loss."""
    if config.objective == "mmd":

        def distance(mapped: Tensor, texts: Tensor) -> Tensor:
            return mmd(mapped, texts, config.kernel)

    else:
        distance = {"mse": F.mse_loss, "cosine": cosine_loss}[config.objective]

    def loss(mapped: Sequence[Tensor], texts: Sequence[Tensor]) -> Tensor:
        return torch.stack([distance(*group) for group in zip(mapped, texts, strict=True)]).mean()

    return loss


def cosine_loss(mapped: Tensor, texts: Tensor) -> Tensor:
    """Return 1 - cosine similarity, averaged over users. (B, D), (B, D) -> scalar."""
    return (1 - F.cosine_similarity(mapped, texts, dim=-1)).mean()
