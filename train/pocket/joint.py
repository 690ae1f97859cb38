"""Trains the generator on together with its first text encoder.

CLIP learned early what a caption says of colours and late what it says of things, and the UNet can only paint what the
text states hold. So `clip_l` learns with the UNet; `clip_g`, whose pooled space `sem` is aligned to, stays CLIP's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from train.diffusion import Painted, diffusion_loss
from train.loop import LoopConfig, fit, generator_of
from train.pocket import generator, text
from train.pocket.latents import latent_pool

CONFIG = LoopConfig(steps=500, learning_rate=1e-3, warmup=30, ema=0.98, save_every=100)


class Painter(nn.Module):
    """What is trained together. `clip_l`'s last layer and projection are read by nothing and stay as they are."""

    def __init__(self, unet: nn.Module, clip_l: nn.Module):
        super().__init__()
        self.unet, self.clip_l = unet.requires_grad_(True), clip_l.requires_grad_(True)
        for unread in (
            clip_l.text_model.encoder.layers[-1],
            clip_l.text_model.final_layer_norm,
            clip_l.text_projection,
        ):
            unread.requires_grad_(False)


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 52) -> None:
    """Train, and write unet.safetensors and text_encoders.safetensors anew."""
    torch.manual_seed(seed)
    scheduler, pool, encode = generator.schedule(), latent_pool(folder), text.load()
    painter = Painter(generator.load().to(memory_format=torch.channels_last), encode.clip_l)

    def loss_of(painter, step):
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(len(pool), size=generator.BATCH)
        captions = [generator.training_caption(pool.indices[i], rng) for i in chosen]
        context, pooled = text.TextEncoders(painter.clip_l, encode.clip_g)(captions)
        latents = pool.latents[torch.from_numpy(chosen)].float()
        painted = Painted(latents, context, pooled, generator.sizes(generator.BATCH))
        return {"loss": diffusion_loss(painter.unet, scheduler, painted, generator_of(seed, step), generator.SHIFT)}

    painter = fit(painter, loss_of, config, folder / "joint")
    generator.save(painter.unet)
    save_file(text.to_file(painter.clip_l, encode.clip_g), text.FILE)
