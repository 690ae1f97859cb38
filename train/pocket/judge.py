"""Trains the judge, the validation judge and other attribute classifiers, on drawn posters only."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from train.data.posters import ATTRIBUTES
from train.evaluate.judge import SHAPES, WEIGHTS, Judge
from train.loop import LoopConfig, device_of, fit, generator_of
from train.pocket.poster_batches import drawn_batch, soften

CONFIG = LoopConfig(steps=500, learning_rate=2e-3, ema=0.99)
BATCH = 64
SEEDS = {"judge": 11, "validation_judge": 12}


def train(folder: Path, name: str = "judge", config: LoopConfig = CONFIG) -> dict[str, float]:
    """Train one of the two judges, write its weights, and return its per-attribute accuracy on new drawings."""
    judge = train_reader(folder / name, SHAPES[name], SEEDS[name], config)
    save_file({k: v.half().contiguous() for k, v in judge.state_dict().items()}, WEIGHTS[name])
    return accuracy(judge, seed=90)


def train_reader(folder: Path, shape: dict[str, int], seed: int, config: LoopConfig = CONFIG) -> Judge:
    """Train an attribute classifier with the given width and depth."""
    torch.manual_seed(seed)
    judge = Judge(**shape).to(memory_format=torch.channels_last)

    def loss_of(model, step):
        images, indices = drawn_batch(BATCH, seed, step)
        device = device_of(model)
        logits = model(soften(images, generator_of(seed, step)).to(device))
        targets = torch.from_numpy(indices).T.to(device)
        return {"loss": sum(F.cross_entropy(v, t) for v, t in zip(logits.values(), targets, strict=True))}

    return fit(judge, loss_of, config, folder)


@torch.inference_mode()
def accuracy(judge: Judge, seed: int, count: int = 1024) -> dict[str, float]:
    """Return for each attribute the share of new drawings for which the judge predicts the correct value."""
    images, indices = drawn_batch(count, seed, 0)
    read = torch.tensor([a.indices for a in judge.predict(images)])
    right = (read == torch.from_numpy(indices)).float().mean(0)
    return {name: round(float(r), 4) for name, r in zip(ATTRIBUTES, right, strict=True)}
