"""Trains the pocket generator: SDXL's UNet, small, on captioned posters as latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from prefgen.pocket.shapes import FOLDER, SIZE_CONDITION, UNET
from train.data.posters import Attributes, random_caption
from train.diffusion import Painted, diffusion_loss
from train.loop import LoopConfig, fit, generator_of
from train.pocket import text
from train.pocket.latents import latent_pool

FILE = FOLDER / "unet.safetensors"
CONFIG = LoopConfig(steps=2000, learning_rate=1.2e-3, ema=0.98, save_every=200)
BATCH = 32
SHIFT = 2.0
NO_CAPTION, SUBJECT_ALONE = 0.1, 0.35  # shares of captions that are empty, and that name the subject alone


def schedule() -> DDPMScheduler:
    """SDXL's noise schedule with v-prediction."""
    return DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction"
    )


def sizes(batch: int) -> Tensor:
    """The size conditioning core feeds for a 96 px image, (B, 6)."""
    return torch.tensor([SIZE_CONDITION] * batch, dtype=torch.float32)


def training_caption(row: np.ndarray, rng: np.random.Generator) -> str:
    """Empty, the subject alone, or the subject with a random few of the other attributes."""
    kind = rng.random()
    if kind < NO_CAPTION:
        return ""
    return random_caption(Attributes.from_indices(row), rng, each=0.0 if kind < NO_CAPTION + SUBJECT_ALONE else 0.6)


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 51) -> None:
    """Train and write unet.safetensors, in diffusers' key names."""
    torch.manual_seed(seed)
    unet, scheduler = UNet2DConditionModel(**UNET.diffusers_kwargs()).to(memory_format=torch.channels_last), schedule()
    pool, encode = latent_pool(folder), text.load()

    def loss_of(model, step):
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(len(pool), size=BATCH)
        context, pooled = encode([training_caption(pool.indices[i], rng) for i in chosen])
        latents = pool.latents[torch.from_numpy(chosen)].float()
        painted = Painted(latents, context, pooled, sizes(BATCH))
        return {"loss": diffusion_loss(model, scheduler, painted, generator_of(seed, step), SHIFT)}

    unet = fit(unet, loss_of, config, folder / "generator")
    save(unet)


def save(unet: UNet2DConditionModel) -> None:
    """Write unet.safetensors, in half precision and diffusers' key names."""
    save_file({k: v.half().contiguous() for k, v in unet.state_dict().items()}, FILE)


def load() -> UNet2DConditionModel:
    """The shipped UNet, frozen."""
    unet = UNet2DConditionModel(**UNET.diffusers_kwargs())
    unet.load_state_dict({k: v.float() for k, v in load_file(FILE).items()})
    return unet.requires_grad_(False).eval()
