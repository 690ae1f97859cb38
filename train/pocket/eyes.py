"""Three readers of drawn posters, neither of them a judge: by what they see in a painting, others learn to see and to
paint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train.data.posters import ATTRIBUTES
from train.evaluate.judge import Judge
from train.pocket.judge import train_reader

SHAPES = ((16, 4), (24, 3), (32, 4))
"""Width and depth of each: none has a judge's shape or seed."""
SEED = 43
_SIZES = [len(values) for values in ATTRIBUTES.values()]


def train_eyes(folder: Path) -> list[Judge]:
    """The three, trained where they are not in `folder` yet."""
    return [
        train_reader(folder / f"eyes{i}", {"width": width, "depth": depth}, SEED + i).eval()
        for i, (width, depth) in enumerate(SHAPES)
    ]


@torch.no_grad()
def seen_by(eyes: list[Judge], images: Tensor) -> Tensor:
    """What the eyes see, on average: probabilities (N, values) of uint8 images, attribute by attribute."""
    parts = []
    for batch in images.split(256):
        own = [torch.cat([v.softmax(-1) for v in one(batch.float() / 255).values()], dim=1) for one in eyes]
        parts.append(torch.stack(own).mean(0))
    return torch.cat(parts)


def read_by(eyes: list[Judge], images: Tensor) -> np.ndarray:
    """The attributes (N, 6) that the eyes see most likely in uint8 images."""
    return torch.stack([part.argmax(-1) for part in seen_by(eyes, images).split(_SIZES, dim=1)], dim=1).numpy()
