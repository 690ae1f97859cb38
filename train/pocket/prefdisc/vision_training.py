"""Stage A: trains the vision tower and the connector to recognise attributes, and caches their outputs.

Learning tastes needs millions of images, but recognising attributes needs only tens of thousands. So the vision tower
is trained first for a few minutes, and stage B reads a table of its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prefgen.prefdisc.model import PrefDisc
from train.data.posters import ATTRIBUTES, draw_combinations
from train.loop import LoopConfig, device_of, fit, generator_of
from train.pocket.poster_batches import draw_all, soften
from train.pocket.prefdisc.architecture import LATENTS, WIDTH, new_prefdisc

SUBJECTS = len(ATTRIBUTES["subject"])
SIZES = [len(values) for values in ATTRIBUTES.values()]
SEED = 31


@dataclass(frozen=True)
class VisionConfig:
    """Settings of stage A. The defaults are our choice.

    Attributes:
        posters: Number of posters, a multiple of the number of subjects.
        views: Number of softened copies of each poster in the table.
        batch: Number of posters per step.
        loop: Length and optimiser.
    """

    posters: int = 36_000
    views: int = 2
    batch: int = 32
    loop: LoopConfig = LoopConfig(steps=7000, learning_rate=1e-3, warmup=100, ema=0.995)  # noqa: RUF009 (frozen)


class VisionTraining(nn.Module):
    """PrefDisc with linear attribute classifiers, which are discarded after training. Only the vision part is trained.

    A second classifier reads the mean over the tower's patches. So the tower can learn before the connector provides a
    useful gradient.
    """

    def __init__(self, prefdisc: PrefDisc) -> None:
        super().__init__()
        self.prefdisc = prefdisc
        values = sum(SIZES)
        self.reader = nn.Linear(LATENTS * WIDTH, values)
        self.patch_reader = nn.Linear(prefdisc.base.config.vision_config.hidden_size, values)
        prefdisc.requires_grad_(False)
        for part in (prefdisc.base.model.vision_model, prefdisc.base.model.connector):
            part.requires_grad_(True)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Encode images (B, 3, 96, 96).

        Returns:
            The connector's output (B, latents, D), and the logits (B, values) of each attribute, predicted from the
            connector's output and from the mean patch.
        """
        patches = self.prefdisc.patch_states(images)
        features = self.prefdisc.connect(patches)
        read = self.reader(features.flatten(1)), self.patch_reader(patches.mean(1))
        return features, *(logits.split(SIZES, dim=1) for logits in read)


@dataclass(frozen=True)
class PosterTable:
    """Connector outputs of posters.

    Attributes:
        attributes: Attribute indices (N, 6). Row i has subject i % 12.
        features: Connector outputs (N, views, latents, D).
    """

    attributes: np.ndarray
    features: Tensor


def draw_uint8(attributes: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Draw posters from attribute indices (N, 6) as uint8 (N, 3, 96, 96)."""
    starts = range(0, len(attributes), 256)
    return torch.cat([(draw_all(attributes[i : i + 256], rng) * 255).round().byte() for i in starts])


def draw_posters(count: int, seed: int, split: str, file: Path | None = None) -> tuple[Tensor, np.ndarray]:
    """Draw posters of a split, with the same number of posters for each subject.

    Args:
        count: Number of posters.
        seed: Random seed.
        split: Split of the attribute combinations.
        file: Cache file, or None.

    Returns:
        Images as uint8 (count, 3, 96, 96), and attribute indices (count, 6).
    """
    if file and file.exists():
        cached = np.load(file)
        return torch.from_numpy(cached["images"]), cached["attributes"]
    rng = np.random.default_rng(seed)
    attributes = draw_combinations(count, split, rng)
    images = draw_uint8(attributes, rng)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, images=images.numpy(), attributes=attributes)
    return images, attributes


def train_vision(folder: Path, config: VisionConfig) -> tuple[PrefDisc, PosterTable]:
    """Train the vision tower and the connector on softened posters. Returns the model and its table of posters."""
    images, attributes = draw_posters(config.posters, SEED, "train", folder / "posters.npz")
    torch.manual_seed(SEED)
    training = VisionTraining(new_prefdisc())
    truth = torch.from_numpy(attributes)

    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        generator, device = generator_of(SEED, step), device_of(model)
        rows = torch.randint(len(images), (config.batch,), generator=generator)
        _, read, by_patch = model(soften(images[rows].float() / 255, generator).to(device))
        values = truth[rows].T.to(device)
        losses = [F.cross_entropy(*both) for way in (read, by_patch) for both in zip(way, values, strict=True)]
        right = [(logits.argmax(-1) == own).float().mean() for logits, own in zip(read, values, strict=True)]
        return {"loss": sum(losses), **dict(zip(ATTRIBUTES, right, strict=True))}

    training = fit(training, loss_of, config.loop, folder / "sight")
    cache_file = folder / "features.pt"
    if not cache_file.exists():
        torch.save(encode_posters(training.prefdisc, images, attributes, config.views).features, cache_file)
    return training.prefdisc, PosterTable(attributes, torch.load(cache_file, weights_only=True))


@torch.no_grad()
def encode_posters(
    prefdisc: PrefDisc, images: Tensor, attributes: np.ndarray, views: int, seed: int = SEED + 1
) -> PosterTable:
    """Encode posters with the vision tower and the connector. The result is on the CPU.

    Args:
        prefdisc: The model.
        images: Posters as uint8 (N, 3, 96, 96).
        attributes: Attribute indices (N, 6).
        views: Number of differently softened copies of each poster. 0 encodes the unchanged poster once.
        seed: Random seed of the softening.
    """
    parts, device = [], device_of(prefdisc)
    for start in range(0, len(images), 64):
        batch = images[start : start + 64].float() / 255
        generator = generator_of(seed, start)
        copies = [soften(batch, generator) for _ in range(views)] or [batch]
        parts.append(torch.stack([prefdisc.features(view.to(device)).cpu() for view in copies], dim=1))
    return PosterTable(attributes, torch.cat(parts))
