"""Trains the pocket VAE, a thin TAESD, on crops of drawn posters."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from prefgen.pocket.shapes import FOLDER, SDXL_LATENT_SCALE
from train.loop import LoopConfig, device_of, fit, generator_of
from train.pocket.poster_batches import drawn_batch
from train.pocket.taesd import ThinTAESD

CONFIG = LoopConfig(steps=4500, learning_rate=2e-3, weight_decay=0.0, ema=0.995, bfloat16=True)
BATCH, CROPS, CROP = 12, 2, 48


def crops(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Cut `CROPS` random crops out of every image: (B, 3, H, W) -> (CROPS B, 3, size, size)."""
    positions = images.shape[-1] - size + 1
    places = torch.randint(positions, (CROPS * len(images), 2), generator=generator).tolist()
    return torch.stack([images[i // CROPS, :, y : y + size, x : x + size] for i, (y, x) in enumerate(places)])


def reconstruction_loss(decoded: Tensor, real: Tensor) -> Tensor:
    """Return the sum of the L1 losses of pixels, of pixel differences (edges) and of a quarter-size copy (colours)."""
    pixels = F.l1_loss(decoded, real) + 2 * F.mse_loss(decoded, real)
    edges = F.l1_loss(decoded.diff(dim=-1), real.diff(dim=-1)) + F.l1_loss(decoded.diff(dim=-2), real.diff(dim=-2))
    return pixels + edges + F.l1_loss(F.avg_pool2d(decoded, 4), F.avg_pool2d(real, 4))


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 21) -> dict[str, float]:
    """Train, write vae.safetensors, and return the PSNR in dB of reconstructed new drawings."""
    torch.manual_seed(seed)
    model = ThinTAESD().to(memory_format=torch.channels_last)

    def loss_of(model, step):
        generator = generator_of(seed, step)
        images, _ = drawn_batch(BATCH, seed, step)
        real = crops(images, CROP, generator).to(device_of(model), memory_format=torch.channels_last)
        latents = model.encode(real).float()
        # Noise makes the decoder tolerate the small errors in latents from a diffusion model. Its size is our choice.
        size = 0.1 * torch.rand(len(latents), 1, 1, 1, generator=generator)
        noisy = latents + (size * torch.randn(latents.shape, generator=generator)).to(latents)
        decoded = model.decode(noisy).float()
        reconstruction = reconstruction_loss(decoded, real)
        mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        moments = mean.square().mean() + (deviation - 1).square().mean()
        loss = reconstruction + 0.02 * moments
        return {"loss": loss, "mse": F.mse_loss(decoded, real), "deviation": deviation.mean()}

    model = fit(model, loss_of, config, folder / "vae")
    save_file(to_core(model), FOLDER / "vae.safetensors")
    return {"psnr": psnr(model)}


def to_core(model: ThinTAESD) -> dict[str, Tensor]:
    """Return the file's tensors: weights in half precision, and the factor that scales their latents to SDXL's."""
    state = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    return state | {"vae_scale": torch.tensor(SDXL_LATENT_SCALE), "vae_shift": torch.tensor(0.0)}


def load() -> ThinTAESD:
    """Load the shipped VAE, frozen. Its latents have a standard deviation of about 1."""
    model = ThinTAESD.of(load_file(FOLDER / "vae.safetensors"))
    return model.requires_grad_(False).eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def psnr(model: ThinTAESD, seed: int = 91, count: int = 128) -> float:
    """Return the peak signal-to-noise ratio of whole reconstructed drawings, in dB."""
    images, _ = drawn_batch(count, seed, 0)
    decoded = model.decode(model.encode(images)).clamp(0, 1)
    return round(-10 * float(F.mse_loss(decoded, images).log10()), 2)
