"""Trains the pocket VAE: a TAESD thinner and shallower than core's, in core ComfyUI's key names.

TAESD is a chain of convolutions, ReLUs and residual blocks, so a thin one is core's 64-channel one with zeros around
it, and a block left out is a block of zeros (a ReLU). `prefgen.pocket` fills those in when the file is loaded; what is
trained here is the part that is not zero, a small part of the work.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from prefgen.pocket.shapes import FOLDER
from train.loop import LoopConfig, fit, generator_of
from train.pocket.batches import drawn_batch

WIDTHS = (16, 32, 48, 64)  # channels at full, half, quarter and eighth size
ENCODER_BLOCKS = (0, 1, 2, 3)  # residual blocks at each size; core has 1, 3, 3, 3
DECODER_BLOCKS = (1, 2, 2, 3)
# Core multiplies the VAE's latents by this on the way into SDXL; the file's own vae_scale undoes it, so that the
# encoder's output, of unit deviation, is what the UNet sees.
SDXL_SCALE = 0.13025
CONFIG = LoopConfig(steps=2600, learning_rate=2.5e-3, weight_decay=0.0, ema=0.99)
BATCH, CROP = 6, 48


class Block(nn.Module):
    """TAESD's residual block; core's key names are `conv.0`, `conv.2`, `conv.4`."""

    def __init__(self, channels: int):
        super().__init__()
        convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class Clamp(nn.Module):
    """TAESD's soft clamp of latents to (-3, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


def _blocks(channels: int, present: int, places: int) -> list[nn.Module]:
    """`places` entries as core counts them: residual blocks, then ReLUs where core's blocks will be zeros."""
    return [Block(channels) for _ in range(present)] + [nn.ReLU() for _ in range(places - present)]


class ThinTAESD(nn.Module):
    """Encoder and decoder with core's layer numbering. Images (B,3,H,W) in [0,1], latents (B,4,H/8,W/8)."""

    def __init__(self):
        super().__init__()
        w = WIDTHS
        encoder: list[nn.Module] = [nn.Conv2d(3, w[0], 3, padding=1), *_blocks(w[0], ENCODER_BLOCKS[0], 1)]
        for level in (1, 2, 3):
            encoder.append(nn.Conv2d(w[level - 1], w[level], 3, stride=2, padding=1, bias=False))
            encoder += _blocks(w[level], ENCODER_BLOCKS[level], 3)
        self.taesd_encoder = nn.Sequential(*encoder, nn.Conv2d(w[3], 4, 3, padding=1))
        decoder: list[nn.Module] = [Clamp(), nn.Conv2d(4, w[3], 3, padding=1), nn.ReLU()]
        for level in (3, 2, 1):
            decoder += _blocks(w[level], DECODER_BLOCKS[level], 3)
            decoder += [nn.Upsample(scale_factor=2), nn.Conv2d(w[level], w[level - 1], 3, padding=1, bias=False)]
        decoder += [*_blocks(w[0], DECODER_BLOCKS[0], 1), nn.Conv2d(w[0], 3, 3, padding=1)]
        self.taesd_decoder = nn.Sequential(*decoder)

    def encode(self, images: Tensor) -> Tensor:
        return self.taesd_encoder(images)

    def decode(self, latents: Tensor) -> Tensor:
        return self.taesd_decoder(latents)


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
    model = ThinTAESD().to(memory_format=torch.channels_last)

    def loss_of(model, step):
        generator = generator_of(seed, step)
        images, _ = drawn_batch(BATCH, seed, step)
        real = crops(images, CROP, generator).contiguous(memory_format=torch.channels_last)
        latents = model.encode(real)
        # A decoder that forgives small errors is what a diffusion model's latents need; default ours.
        noisy = latents + 0.1 * torch.rand(len(latents), 1, 1, 1, generator=generator) * torch.randn(latents.shape, generator=generator)
        made = model.decode(noisy)
        reconstruction = reconstruction_loss(made, real)
        mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        moments = mean.square().mean() + (deviation - 1).square().mean()
        return {"loss": reconstruction + 0.02 * moments, "mse": F.mse_loss(made, real), "deviation": deviation.mean()}

    model = fit(model, loss_of, config, folder / "vae")
    save_file(to_core(model), FOLDER / "vae.safetensors")
    return {"psnr": psnr(model)}


def to_core(model: ThinTAESD) -> dict[str, Tensor]:
    """The file's tensors: the weights in half precision, and the scale between them and SDXL's latents."""
    state = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    return state | {"vae_scale": torch.tensor(SDXL_SCALE), "vae_shift": torch.tensor(0.0)}


def load() -> ThinTAESD:
    """The shipped VAE, thin and frozen; its latents have about unit deviation."""
    model = ThinTAESD()
    model.load_state_dict({k: v.float() for k, v in load_file(FOLDER / "vae.safetensors").items() if k.startswith("taesd_")})
    return model.requires_grad_(False).eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def psnr(model: ThinTAESD, seed: int = 91, count: int = 128) -> float:
    """Peak signal-to-noise ratio of whole reconstructed drawings, in dB."""
    images, _ = drawn_batch(count, seed, 0)
    made = model.decode(model.encode(images)).clamp(0, 1)
    return round(-10 * float(F.mse_loss(made, images).log10()), 2)
