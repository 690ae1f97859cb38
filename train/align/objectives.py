"""The alignment's loss between mapped users and texts: MMD, and the point-wise two that the paper compares it with.

All three see the same crowds in the same units, so that only the objective differs (default ours; the paper does not
say how it scaled them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from prefgen.losses import mmd
from train.align.config import AlignConfig

Objective = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


def objective(config: AlignConfig) -> Objective:
    """The loss of mapped users and of their texts, each a list of crowds (B, D_text) -> scalar."""
    if config.objective == "mmd":

        def distance(mapped: Tensor, texts: Tensor) -> Tensor:
            return mmd(mapped, texts, config.kernel)

    else:
        distance = {"mse": F.mse_loss, "cosine": cosine_loss}[config.objective]

    def loss(mapped: Sequence[Tensor], texts: Sequence[Tensor]) -> Tensor:
        return torch.stack([distance(*crowd) for crowd in zip(mapped, texts, strict=True)]).mean()

    return loss


def cosine_loss(mapped: Tensor, texts: Tensor) -> Tensor:
    """1 - cos, the mean over users. (B, D), (B, D) -> scalar."""
    return (1 - F.cosine_similarity(mapped, texts, dim=-1)).mean()
