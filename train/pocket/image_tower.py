"""Trains the pocket CLIP's image tower on, with the text towers locked: the generator is made for those and keeps them.

Locked-image tuning the other way round (Zhai et al. 2022 lock the image tower): the text space stays, images move.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from prefgen.pocket.shapes import CLIP_G
from train.data.posters import ATTRIBUTES, Attributes, random_caption
from train.loop import LoopConfig, fit, generator_of
from train.pocket import clip
from train.pocket.batches import drawn_batch, soften

CONFIG = LoopConfig(steps=600, learning_rate=8e-4, ema=0.99)
BATCH = 64


class ImageTower(nn.Module):
    """The tower, and a linear reader of every attribute, so that the embedding holds them all."""

    def __init__(self):
        super().__init__()
        self.vision = clip.load_vision().requires_grad_(True)
        self.heads = nn.ModuleDict({n: nn.Linear(CLIP_G.hidden, len(v)) for n, v in ATTRIBUTES.items()})
        self.scale = nn.Parameter(torch.tensor(2.5))


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 33) -> dict[str, float]:
    """Train, write clip_vision.safetensors, return zero-shot accuracies and those of the linear readers."""
    torch.manual_seed(seed)
    model = ImageTower()

    def loss_of(model, step):
        images, indices = drawn_batch(BATCH, seed, step)
        rng = np.random.default_rng([seed, step, 1])
        captions = [random_caption(Attributes.from_indices(row), rng, subject=0.8, each=0.8) for row in indices]
        seen = model.vision(soften(images, generator_of(seed, step)) * 2 - 1).image_embeds
        contrast = clip.contrastive_loss(seen, clip.encode_text(captions), model.scale)
        heads = list(zip(model.heads.values(), torch.from_numpy(indices).T, strict=True))
        # The readers see the direction alone, which is what a mean of normalised embeddings keeps.
        direction = F.normalize(seen, dim=-1) * 8
        logits = [head(direction) for head, _ in heads]
        read = sum(F.cross_entropy(x, target) for x, (_, target) in zip(logits, heads, strict=True))
        right = torch.stack([(x.argmax(-1) == t).float().mean() for x, (_, t) in zip(logits, heads, strict=True)])
        return {"loss": 0.5 * contrast + read, "clip": contrast, "right": right.mean(), "least": right.min()}

    model = fit(model, loss_of, config, folder / "image_tower")
    clip.save_vision(model.vision)
    return clip.zero_shot()
