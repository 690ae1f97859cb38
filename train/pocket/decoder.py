"""Continues the training of the pocket VAE's decoder with a frozen encoder, so that latents do not change."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from train.loop import LoopConfig, device_of, fit, generator_of
from train.pocket import vae
from train.pocket.poster_batches import drawn_batch

CONFIG = LoopConfig(steps=3000, learning_rate=2e-3, weight_decay=0.0, ema=0.995, bfloat16=True)
BATCH, CROP = 6, 64


class Decoder(nn.Module):
    """The trainable decoder of a VAE."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.taesd_decoder = model.taesd_decoder.requires_grad_(True)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.taesd_decoder(latents)


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 22) -> dict[str, float]:
    """Train, write vae.safetensors with the new decoder, and return the PSNR of reconstructions in dB."""
    torch.manual_seed(seed)
    model = vae.load()

    def loss_of(decoder, step):
        generator = generator_of(seed, step)
        images, _ = drawn_batch(BATCH, seed, step)
        real = vae.crops(images, CROP, generator).to(device_of(decoder), memory_format=torch.channels_last)
        with torch.no_grad():
            latents = model.to(real.device).encode(real).float()
        latents = latents + (0.05 * torch.randn(latents.shape, generator=generator)).to(latents)
        decoded = decoder(latents).float()
        return {"loss": vae.reconstruction_loss(decoded, real), "mse": F.mse_loss(decoded, real)}

    model.taesd_decoder = fit(Decoder(model), loss_of, config, folder / "decoder").taesd_decoder
    save_file(vae.to_core(model), vae.FOLDER / "vae.safetensors")
    return {"psnr": vae.psnr(model)}
