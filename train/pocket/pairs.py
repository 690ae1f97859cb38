"""What the pocket generator makes of a noise and a caption: the pairs that a few-step student learns from.

Where a caption leaves attributes open the generator's picture is undecided, half a pattern and half a close view, and
nobody reads it as another does. So it paints twice from a noise: the second time with a caption that also names what
is read in the first, which is a picture like it, but one that has decided (default ours).

Painted once for all, in the generator's own many steps and with its guidance, and kept: a run that was killed goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from train.data.agents import random_indices
from train.data.posters import ATTRIBUTES, Attributes, caption
from train.evaluate.judge import Judge
from train.evaluate.pictures.kept import kept
from train.pocket.bfloat16 import quicken
from train.pocket.eyes import read_by
from train.pocket.generator import training_names
from train.pocket.sampling import PocketGenerator, Sampling, seed_noise

SHARD = 64
"""Pairs in one forward and in one file."""


@dataclass(frozen=True)
class Pairs:
    """latents (N, 4, 12, 12): what the teacher makes of the noise of `seeds` (N,) for a caption. indices (N, 6): the
    attributes that it painted, those that the caption names and those that it decided for."""

    latents: Tensor
    seeds: tuple[int, ...]
    captions: tuple[str, ...]
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.seeds)

    def noise(self, rows: np.ndarray) -> Tensor:
        """The noise of some, (n, 4, 12, 12)."""
        return seed_noise([self.seeds[i] for i in rows])


def teacher_pairs(
    folder: Path,
    teacher: PocketGenerator,
    sampling: Sampling,
    count: int,
    seed: int,
    eyes: list[Judge],
    whole: bool = False,
) -> Pairs:
    """Pairs from `folder`, painted where they are not there yet. count: a multiple of `SHARD`. eyes: what reads the
    first of both pictures. whole: captions name all six attributes, so that every one can be judged; otherwise they are
    of every kind, as in the generator's training.

    The folder's name has to say which weights the teacher has, and which eyes: see `kept`.
    """
    latents, seeds, captions, indices = [], [], [], []
    for shard in trange(count // SHARD, desc="painting with the teacher", unit_scale=SHARD, mininterval=5):
        rng = np.random.default_rng([seed, shard])
        rows = random_indices((SHARD,), rng)
        names = [tuple(ATTRIBUTES) if whole else training_names(rng, done=1.0) for _ in rows]
        own = [seed * 1_000_003 + shard * SHARD + i for i in range(SHARD)]
        told = (teacher, sampling, eyes, rows, names, own)
        made = kept(folder / f"{seed}-{shard}.safetensors", lambda told=told: paint_decided(*told))
        latents.append(made["latents"].float())
        seeds += own
        captions += captions_of(rows, names)
        indices.append(made["indices"].numpy())
    return Pairs(torch.cat(latents), tuple(seeds), tuple(captions), np.concatenate(indices))


def captions_of(rows: np.ndarray, names: list[tuple[str, ...]]) -> list[str]:
    """A caption of each row's attribute indices (B, 6) that names these of them."""
    return [caption(Attributes.from_indices(row), own) for row, own in zip(rows, names, strict=True)]


def paint_decided(
    teacher: PocketGenerator,
    sampling: Sampling,
    eyes: list[Judge],
    rows: np.ndarray,
    names: list[tuple[str, ...]],
    seeds: list[int],
) -> dict[str, Tensor]:
    """Latents (B, 4, 12, 12) in half precision of posters of which captions name a part, and their `indices` (B, 6):
    for what no name tells, what the eyes see in the teacher's first picture."""
    everything = tuple(ATTRIBUTES)
    named = np.array([[name in own for name in everything] for own in names])
    if not named.all():
        first = paint_latents(teacher, sampling, captions_of(rows, names), seeds)
        images = teacher.decode(first.to(teacher.unet.device)).cpu()
        rows = np.where(named, rows, read_by(eyes, (images * 255).round().byte()))
    latents = paint_latents(teacher, sampling, captions_of(rows, [everything] * len(rows)), seeds)
    return {"latents": latents.half(), "indices": torch.from_numpy(rows)}


@torch.no_grad()
def paint_latents(teacher: PocketGenerator, sampling: Sampling, captions: list[str], seeds: list[int]) -> Tensor:
    """Latents (B, 4, 12, 12) of these captions from these seeds' noise, in bfloat16's speed, on the CPU."""
    quicken(teacher.unet)  # changes nothing where it has been done
    with torch.autocast(teacher.unet.device.type, torch.bfloat16):
        return teacher.sampler(captions, sampling)(seed_noise(seeds)).float().cpu()
