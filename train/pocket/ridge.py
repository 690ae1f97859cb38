"""Closed-form ridge regression for the linear maps of adapters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ridge(parts: Sequence[Tensor], targets: Tensor, penalty: float) -> list[tuple[Tensor, Tensor]]:
    """Fit one ridge regression of centred targets on several standardised inputs.

    Args:
        parts: Inputs, each (N, D).
        targets: Targets (N, out).
        penalty: Ridge penalty.

    Returns:
        A weight (out, D) and a bias (out,) for each input. An input that equals its mean contributes nothing.
    """
    means = [x.mean(0) for x in parts]
    deviations = [x.std(0).clamp(min=1e-3 * float(x.std())) for x in parts]
    z = torch.cat([(x - mean) / deviation for x, mean, deviation in zip(parts, means, deviations, strict=True)], dim=1)
    solved = torch.linalg.solve(z.T @ z + penalty * torch.eye(z.shape[1]), z.T @ (targets - targets.mean(0))).T
    weights = [
        own / deviation
        for own, deviation in zip(solved.split([x.shape[1] for x in parts], dim=1), deviations, strict=True)
    ]
    return [(weight, -weight @ mean) for weight, mean in zip(weights, means, strict=True)]
