"""Trains the pocket VAE: a TAESD a half as wide, in core ComfyUI's key names.

The narrow network is trained through diffusers' AutoencoderTiny on crops; `prefgen.pocket` pads it with zeros into
core's own 64-channel class, which computes the same.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from prefgen.pocket import weights
from train.loop import LoopConfig, fit, generator_of
from train.pocket.batches import drawn_batch

CHANNELS = 32
# Latents that SDXL's samplers see are the file's latents times this; unit deviation is what they expect.
SDXL_SCALE = 0.13025
CONFIG = LoopConfig(steps=6000, learning_rate=2e-3, weight_decay=0.0, ema=0.995)
BATCH, CROP = 8, 48


def build() -> AutoencoderTiny:
    """The untrained narrow TAESD."""
    widths = (CHANNELS,) * 4
    return AutoencoderTiny(encoder_block_out_channels=widths, decoder_block_out_channels=widths)


def crops(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Four random crops of every image, at multiples of 8 pixels or not: (B, 3, H, W) -> (4B, 3, size, size)."""
    room = images.shape[-1] - size + 1
    places = torch.randint(room, (4 * len(images), 2), generator=generator)
    return torch.stack([images[i // 4, :, y : y + size, x : x + size] for i, (y, x) in enumerate(places.tolist())])


def reconstruction_loss(made: Tensor, real: Tensor) -> Tensor:
    """L1 on pixels, on horizontal and vertical differences, and on a quarter-size copy: flat areas, edges, colours."""
    pixels = F.l1_loss(made, real) + 2 * F.mse_loss(made, real)
    edges = F.l1_loss(made.diff(dim=-1), real.diff(dim=-1)) + F.l1_loss(made.diff(dim=-2), real.diff(dim=-2))
    return pixels + edges + F.l1_loss(F.avg_pool2d(made, 4), F.avg_pool2d(real, 4))


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 21) -> dict[str, float]:
    """Train, write vae.safetensors, return the reconstruction's PSNR in dB on fresh drawings."""
    torch.manual_seed(seed)
    model = build().to(memory_format=torch.channels_last)

    def loss_of(model, step):
        generator = generator_of(seed, step)
        images, _ = drawn_batch(BATCH, seed, step)
        real = crops(images, CROP, generator).contiguous(memory_format=torch.channels_last)
        latents = model.encoder(real * 2 - 1)
        # A decoder that forgives small errors is what a diffusion model's latents need; default ours.
        noisy = latents + 0.1 * torch.rand(len(latents), 1, 1, 1, generator=generator) * torch.randn(latents.shape, generator=generator)
        made = model.decoder(noisy) / 2 + 0.5
        reconstruction = reconstruction_loss(made, real)
        mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        moments = mean.square().mean() + (deviation - 1).square().mean()
        return {"loss": reconstruction + 0.02 * moments, "mse": F.mse_loss(made, real), "deviation": deviation.mean()}

    model = fit(model, loss_of, config, folder / "vae")
    save_file(to_core(model), weights("vae"))
    return {"psnr": psnr(model)}


def to_core(model: AutoencoderTiny) -> dict[str, Tensor]:
    """diffusers' keys to core's: the decoder there counts its clamp as layer 0."""
    state = {"vae_scale": torch.tensor(SDXL_SCALE), "vae_shift": torch.tensor(0.0)}
    for key, value in model.state_dict().items():
        part, _, index, rest = key.split(".", 3)
        state[f"taesd_{part}.{int(index) + (part == 'decoder')}.{rest}"] = value.half().contiguous()
    return state


def load() -> AutoencoderTiny:
    """The shipped VAE as diffusers' narrow model, frozen; its latents have unit deviation."""
    state = {}
    for key, value in load_file(weights("vae")).items():
        if key.startswith("taesd_"):
            part, index, rest = key.removeprefix("taesd_").split(".", 2)
            state[f"{part}.layers.{int(index) - (part == 'decoder')}.{rest}"] = value.float()
    model = build()
    model.load_state_dict(state)
    return model.requires_grad_(False).eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def psnr(model: AutoencoderTiny, seed: int = 91, count: int = 128) -> float:
    """Peak signal-to-noise ratio of whole reconstructed drawings, in dB."""
    images, _ = drawn_batch(count, seed, 0)
    made = (model.decoder(model.encoder(images * 2 - 1)) / 2 + 0.5).clamp(0, 1)
    return round(-10 * float(F.mse_loss(made, images).log10()), 2)
