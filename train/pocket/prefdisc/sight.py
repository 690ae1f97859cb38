"""Stage A: the vision tower and the connector learn to see attributes; then what they see is kept.

Reading a taste out of a history is learnt from millions of images, seeing them from tens of thousands: so the tower is
trained first, for a few minutes, and the second stage reads a table of its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prefgen.prefdisc.model import PrefDisc
from train.data.agents import random_indices
from train.data.posters import ATTRIBUTES
from train.loop import LoopConfig, fit, generator_of
from train.pocket.batches import draw_all, soften
from train.pocket.prefdisc.shapes import LATENTS, WIDTH, new_prefdisc

SUBJECTS = len(ATTRIBUTES["subject"])
SEED = 31


@dataclass(frozen=True)
class SightConfig:
    """posters: drawn once and kept (a multiple of the number of subjects). views: softened copies of each in the
    table. Defaults ours."""

    posters: int = 9600
    views: int = 2
    batch: int = 64
    loop: LoopConfig = LoopConfig(steps=600, learning_rate=2e-3, warmup=50, ema=0.99)  # noqa: RUF009 (frozen)


class Sight(nn.Module):
    """PrefDisc's eyes with a linear reader of each attribute on top, which is thrown away afterwards."""

    def __init__(self, prefdisc: PrefDisc) -> None:
        super().__init__()
        self.prefdisc = prefdisc
        self.readers = nn.ModuleList(nn.Linear(LATENTS * WIDTH, len(values)) for values in ATTRIBUTES.values())

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, 96, 96) -> logits (B, values) of each attribute."""
        seen = self.prefdisc.features(images).flatten(1)
        return [reader(seen) for reader in self.readers]


@dataclass(frozen=True)
class PosterTable:
    """Posters as the connector shows them to the decoder.

    attributes (N, 6): indices, with subject i % 12 in row i. features (N, views, latents, D).
    """

    attributes: np.ndarray
    features: Tensor


def draw_posters(count: int, seed: int, file: Path | None = None) -> tuple[Tensor, np.ndarray]:
    """As many posters of every subject: uint8 (count, 3, 96, 96) and attribute indices; kept in `file` where given."""
    if file and file.exists():
        kept = np.load(file)
        return torch.from_numpy(kept["images"]), kept["attributes"]
    rng = np.random.default_rng(seed)
    attributes = random_indices((count,), rng)
    attributes[:, 0] = np.arange(count) % SUBJECTS
    parts = [(draw_all(attributes[i : i + 256], rng) * 255).round().byte() for i in range(0, count, 256)]
    images = torch.cat(parts)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, images=images.numpy(), attributes=attributes)
    return images, attributes


def train_sight(folder: Path, config: SightConfig) -> tuple[PrefDisc, PosterTable]:
    """Train the tower and the connector on drawn posters, softened; return the model and the table they see."""
    images, attributes = draw_posters(config.posters, SEED, folder / "posters.npz")
    torch.manual_seed(SEED)
    sight = Sight(new_prefdisc())
    sight.prefdisc.requires_grad_(False)
    for part in (sight.prefdisc.base.model.vision_model, sight.prefdisc.base.model.connector):
        part.requires_grad_(True)
    truth = torch.from_numpy(attributes)

    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        generator = generator_of(SEED, step)
        rows = torch.randint(len(images), (config.batch,), generator=generator)
        read = model(soften(images[rows].float() / 255, generator))
        losses = [F.cross_entropy(logits, truth[rows, i]) for i, logits in enumerate(read)]
        right = [(logits.argmax(-1) == truth[rows, i]).float().mean() for i, logits in enumerate(read)]
        return {"loss": sum(losses), **dict(zip(ATTRIBUTES, right, strict=True))}

    sight = fit(sight, loss_of, config.loop, folder / "sight")
    return sight.prefdisc, look(sight.prefdisc, images, attributes, config.views)


@torch.no_grad()
def look(prefdisc: PrefDisc, images: Tensor, attributes: np.ndarray, views: int, seed: int = SEED + 1) -> PosterTable:
    """Every poster through the tower, `views` times, each softened another way (0: once, as drawn)."""
    parts = []
    for start in range(0, len(images), 64):
        batch = images[start : start + 64].float() / 255
        generator = generator_of(seed, start)
        shown = [soften(batch, generator) for _ in range(views)] or [batch]
        parts.append(torch.stack([prefdisc.features(view) for view in shown], dim=1))
    return PosterTable(attributes, torch.cat(parts))
