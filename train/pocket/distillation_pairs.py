"""Generates pairs of noise and latents on which the few-step student is trained.

The teacher generates the latents once, with many steps and guidance. The pairs are cached, so that an interrupted run
can resume.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from train.data.agents import random_indices
from train.data.posters import Attributes, random_caption
from train.evaluate.pictures.tensor_cache import cached_tensors
from train.pocket.bfloat16 import speed_up_bfloat16
from train.pocket.generator import training_caption
from train.pocket.sampling import PocketGenerator, Sampling, seed_noise

SHARD = 64
"""Number of pairs in one batch and one file."""


@dataclass(frozen=True)
class Pairs:
    """Latents of the teacher with their noise seeds and captions.

    Attributes:
        latents: Latents that the teacher generates, (N, 4, 12, 12).
        seeds: Seeds of the noise.
        captions: Captions of the latents.
        indices: Attribute indices that the captions were created from, (N, 6).
    """

    latents: Tensor
    seeds: tuple[int, ...]
    captions: tuple[str, ...]
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.seeds)

    def noise(self, rows: np.ndarray) -> Tensor:
        """Return the noise of the pairs in the given rows, (n, 4, 12, 12)."""
        return seed_noise([self.seeds[i] for i in rows])


def teacher_pairs(
    folder: Path, teacher: PocketGenerator, sampling: Sampling, count: int, seed: int, whole: bool = False
) -> Pairs:
    """Load pairs from `folder`, and generate missing pairs.

    Args:
        folder: Folder for the pairs. Its name must identify the teacher's weights, see `cached_tensors`.
        teacher: The generator.
        sampling: Sampler settings of the teacher.
        count: Number of pairs, a multiple of `SHARD`.
        seed: Random seed.
        whole: Whether captions name all six attributes, so that all attributes can be evaluated. Otherwise captions
            vary as in the generator's training.
    """
    latents, seeds, captions, indices = [], [], [], []
    for shard in trange(count // SHARD, desc="painting with the teacher", unit_scale=SHARD, mininterval=5):
        rng = np.random.default_rng([seed, shard])
        rows = random_indices((SHARD,), rng)
        if whole:
            shard_captions = [random_caption(Attributes.from_indices(row), rng, each=1.0) for row in rows]
        else:
            shard_captions = [training_caption(row, rng, done=1.0) for row in rows]
        shard_seeds = [seed * 1_000_003 + shard * SHARD + i for i in range(SHARD)]
        file = folder / f"{seed}-{shard}.safetensors"
        arguments = teacher, sampling, shard_captions, shard_seeds
        tensors = cached_tensors(file, lambda arguments=arguments: {"latents": paint_latents(*arguments).half()})
        latents.append(tensors["latents"].float())
        seeds += shard_seeds
        captions += shard_captions
        indices.append(rows)
    return Pairs(torch.cat(latents), tuple(seeds), tuple(captions), np.concatenate(indices))


@torch.no_grad()
def paint_latents(teacher: PocketGenerator, sampling: Sampling, captions: list[str], seeds: list[int]) -> Tensor:
    """Generate latents (B, 4, 12, 12) of captions from seeded noise in bfloat16, and return them on the CPU."""
    speed_up_bfloat16(teacher.unet)  # repeated calls change nothing
    with torch.autocast(teacher.unet.device.type, torch.bfloat16):
        return teacher.sampler(captions, sampling)(seed_noise(seeds)).float().cpu()
