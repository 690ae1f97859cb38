"""Ridge regression in closed form, for what an adapter's linear maps begin or end with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ridge(parts: Sequence[Tensor], wanted: Tensor, penalty: float) -> list[tuple[Tensor, Tensor]]:
    """Regress what `wanted` (N, out) is above its mean on all parts (N, D) at once, inputs standardised first.

    Returns each part's weight (out, D) and bias (out,): at its own mean a part adds nothing.
    """
    means = [x.mean(0) for x in parts]
    deviations = [x.std(0).clamp(min=1e-3 * float(x.std())) for x in parts]
    z = torch.cat([(x - mean) / deviation for x, mean, deviation in zip(parts, means, deviations, strict=True)], dim=1)
    solved = torch.linalg.solve(z.T @ z + penalty * torch.eye(z.shape[1]), z.T @ (wanted - wanted.mean(0))).T
    weights = [
        own / deviation
        for own, deviation in zip(solved.split([x.shape[1] for x in parts], dim=1), deviations, strict=True)
    ]
    return [(weight, -weight @ mean) for weight, mean in zip(weights, means, strict=True)]
