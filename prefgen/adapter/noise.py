"""Gumbel noise that images use to sample codebook entries."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


def gumbel_noise(seeds: Iterable[tuple[int, int]], entries: int) -> Tensor:
    """Sample standard Gumbel noise (N, entries) that is reproducible for each image.

    Args:
        seeds: Seed and index in the batch of each of the N images.
        entries: Number of codebook entries.
    """
    rows = [np.random.default_rng(seed).gumbel(size=entries) for seed in seeds]
    return torch.from_numpy(np.stack(rows)).float()
