"""Provides posters as latents for training the generator and the adapter. Posters are drawn and encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import trange

from train.data.posters import ATTRIBUTES, SIZE
from train.pocket import vae
from train.pocket.poster_batches import drawn_batch


@dataclass(frozen=True)
class LatentPool:
    """Latents (N, 4, 12, 12) in half precision, and the attribute indices (N, 6) of their posters."""

    latents: Tensor
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.latents)

    def without(self, subjects: Sequence[str]) -> LatentPool:
        """Return the pool without posters of the given subjects."""
        names = list(ATTRIBUTES["subject"])
        mask = ~np.isin(self.indices[:, 0], [names.index(subject) for subject in subjects])
        return LatentPool(self.latents[torch.from_numpy(mask)], self.indices[mask])


def latent_pool(folder: Path, count: int = 40_960, seed: int = 41, batch: int = 64) -> LatentPool:
    """Load the pool from `folder`. If it does not exist, draw, encode and write it first."""
    path = folder / f"latents-{SIZE}px-{seed}-{count}.safetensors"
    if not path.exists():
        model, rows = vae.load(), []
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for step in trange(count // batch, desc="encoding posters", mininterval=10):
                images, indices = drawn_batch(batch, seed, step)
                latents = model.encode(images.contiguous(memory_format=torch.channels_last))
                rows.append((latents.half(), torch.from_numpy(indices)))
        latents, indices = (torch.cat(column).contiguous() for column in zip(*rows, strict=True))
        save_file({"latents": latents, "indices": indices}, path)
    state = load_file(path)
    return LatentPool(state["latents"], state["indices"].numpy())
